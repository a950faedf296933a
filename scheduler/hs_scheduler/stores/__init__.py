"""What a store is, and the three there are: SQLite, PostgreSQL, memory."""
