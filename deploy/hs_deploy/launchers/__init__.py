"""Ways to start daemons somewhere."""
