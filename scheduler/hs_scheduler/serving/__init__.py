"""What a scheduler does for commands while it runs."""
