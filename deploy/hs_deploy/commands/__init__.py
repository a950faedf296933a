"""What `hs` does besides running clusters and daemons."""
