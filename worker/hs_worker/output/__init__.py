"""Where it goes what tasks say."""
