"""What concerns every part of the tests."""

collect_ignore = [
    # Copied whole, but they ask for what later capabilities bring: the rest of the options, the rest of the task commands.
    "accept/test_options.py",
    "accept/test_tasks.py",
]
