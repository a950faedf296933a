"""What concerns every part of the tests."""

import pytest

collect_ignore = [
    # Copied whole, but it asks for what later capabilities bring: the rest of the task commands.
    "accept/test_tasks.py",
]

OPEN = {
    # Of tests/accept/test_options.py, likewise: the rest of the options.
    "test_combinations_without_meaning_are_refused",
    "test_retries_are_rows_of_their_own",
    "test_the_failures_file_has_a_task_once_however_often_it_was_tried",
    "test_tags",
    "test_a_bad_tag_is_named_before_anything_starts",
    "test_groups_run_one_after_the_other",
    "test_a_failed_group_holds_the_next",
    "test_a_task_over_its_time_is_gone_with_its_children",
    "test_capture_keeps_what_a_task_said",
    "test_output_and_errors_go_to_files",
    "test_keep_order",
    "test_restart_runs_what_is_left_and_only_that",
    "test_settings_come_from_option_environment_and_files_in_that_order",
    "test_the_log_can_be_json",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is still to be built, test by test."""
    for item in items:
        if item.path.match("accept/test_options.py") and getattr(item, "originalname", item.name) in OPEN:
            item.add_marker(pytest.mark.skip(reason="still to be built"))
