"""What is generated from the commands themselves: reference, man pages, table of settings. `make docs` writes them."""
