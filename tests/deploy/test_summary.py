"""What is told at the end."""

import pytest

from hs_deploy.summary import Totals, duration_text, left_text, summary, totals


def test_the_summary_has_tasks_failures_retries_time_rate_and_use() -> None:
    """One line. An attempt that was followed by another took time too, so it counts in the rate."""
    ended = Totals(succeeded=90, failed=8, retried=2, busy_s=15.0)

    text = summary(ended, elapsed_s=10.0, slots=2)

    assert text == "98 tasks, 8 failed, 2 retried, 10.0 s, 10 tasks/s, 75% of 2 slots used"


def test_a_run_of_nothing_has_a_summary_too() -> None:
    """No division by zero, and no use of no slots."""
    assert summary(Totals(), elapsed_s=0.0, slots=0) == "0 tasks, 0 failed, 0 retried, 0.00 s, 0.0 tasks/s"


def test_cancelled_tasks_are_mentioned_where_there_are_any() -> None:
    """They are neither failed nor succeeded."""
    assert "1 task, 0 failed, 1 cancelled" in summary(Totals(cancelled=1), elapsed_s=1, slots=1)


@pytest.mark.parametrize(
    ("left", "database", "text"),
    [
        (Totals(succeeded=3), "/x/tasks.db", ""),
        (
            Totals(new=2, running=1),
            "/x/tasks.db",
            "3 tasks left, to go on: hs-cluster --restart --database /x/tasks.db",
        ),
        (Totals(new=1), None, "1 task left; nothing was recorded (--no-db)"),
        (
            Totals(unread=True),
            "/x/tasks.db",
            "input that was not read left, to go on: hs-cluster --restart --database /x/tasks.db",
        ),
        (
            Totals(new=1, unread=True),
            "/a b/tasks.db",
            "1 task and input that was not read left, to go on: hs-cluster --restart --database '/a b/tasks.db'",
        ),
    ],
)
def test_what_is_left_is_said_with_its_place(left: Totals, database: str | None, text: str) -> None:
    """Whoever continues needs to know where."""
    assert left_text(left, database) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.123, "0.12 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (65, "1:05 min"),
        (3600, "1:00:00 h"),
        (108_000, "30:00:00 h"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """Two digits while they matter."""
    assert duration_text(seconds) == text


def test_a_report_replaces_only_what_it_says() -> None:
    """The last report has no workers in it; they were there all the same."""
    before = totals({"total": 5, "succeeded": 1, "workers": 1, "slots": 4}, Totals())

    after = totals({"total": 5, "succeeded": 5, "status": 0, "busy_s": 2.5}, before)

    assert after == Totals(total=5, succeeded=5, workers=1, slots=4, busy_s=2.5)
