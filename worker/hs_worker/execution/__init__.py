"""Tasks as processes: how they are started, found again and ended."""
