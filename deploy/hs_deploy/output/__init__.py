"""What people see: the tasks' outputs in their order, the progress line, and the summary."""
