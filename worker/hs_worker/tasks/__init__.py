"""What a worker decides about its tasks: which of them start, how they are stopped, and what became of them. No IO."""
