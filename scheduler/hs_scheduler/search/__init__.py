"""How tasks are looked up and shown."""
