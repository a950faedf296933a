"""What a task is to its users: fields, tags, conditions, filters, and what an outcome or a change makes of it."""
