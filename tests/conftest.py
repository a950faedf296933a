"""What concerns every part of the tests."""

import pytest

collect_ignore = [
    # Copied whole, but it asks for what later capabilities bring: the rest of the task commands.
    "accept/test_tasks.py",
]

OPEN = {
    # Of tests/accept/test_options.py, likewise: the rest of the options.
    "test_groups_run_one_after_the_other",
    "test_a_failed_group_holds_the_next",
    "test_capture_keeps_what_a_task_said",
    "test_keep_order",
    "test_restart_runs_what_is_left_and_only_that",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is still to be built, test by test."""
    for item in items:
        if item.path.match("accept/test_options.py") and getattr(item, "originalname", item.name) in OPEN:
            item.add_marker(pytest.mark.skip(reason="still to be built"))
