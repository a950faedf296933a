"""What is told at the end."""

import json

import pytest

from hs_deploy.output.summary import Totals, duration_text, findings, findings_text, left_text, summary, totals
from hs_deploy.supervision.reports import Reports


def test_the_summary_has_tasks_failures_retries_time_rate_and_use() -> None:
    """One line. An attempt that was followed by another took time too, so it counts in the rate."""
    ended = Totals(succeeded=90, failed=8, retried=2, busy_s=15.0)

    text = summary(ended, elapsed_s=10.0, slots=2)

    assert text == "98 tasks, 8 failed, 2 retried, 10.0 s, 10 tasks/s, 75% of 2 slots used"


def test_the_rate_is_that_of_this_start() -> None:
    """A queue may have run a million tasks before; and a scheduler that is started again has seen some of ours."""
    reports = Reports()
    for done in (90, 94, 95, 100):
        reports.read(json.dumps({"progress": {"succeeded": done}}).encode())

    text = summary(reports.totals, elapsed_s=10.0, slots=0, before=reports.before or 0)

    assert text == "100 tasks, 0 failed, 0 retried, 10.0 s, 1.0 tasks/s"


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


def test_outputs_that_were_not_printed_are_left_too() -> None:
    """Even where all tasks have ended."""
    assert left_text(Totals(succeeded=2), "x.db", unprinted=True).startswith(
        "outputs that were not printed left, to go"
    )
    text = left_text(Totals(new=2, unread=True), "x.db", unprinted=True)
    assert text.startswith("2 tasks, input that was not read and outputs that were not printed left, to go on: ")


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


ID = "01a20416-2b41-71a1-831a-e13a7940034a"


def test_what_failed_is_shown_by_cause_with_a_task_each() -> None:
    """How often, why, and where to look; no line is longer than the terminal is wide."""
    found = findings(
        {
            "failed": 32,
            "causes": [["exit status 1", 29, [ID, "x" * 100]], ["SIGKILL", 1, [ID, "kill -9 $$"]]],
        }
    )

    (block,) = findings_text(found, columns=80)

    assert block.splitlines() == [
        "failed:",
        f"  29 x exit status 1  {ID}  {'x' * 17}...",
        f"  1 x SIGKILL         {ID}  kill -9 $$",
        "  2 more, for other reasons, or in an earlier start",
    ]
    assert max(map(len, block.splitlines())) == 80


def test_only_the_most_frequent_causes_are_shown() -> None:
    """A thousand different exit statuses do not fill the screen; the rest is one number."""
    causes = [[f"exit status {status}", 10 - status, [ID, "false"]] for status in range(1, 9)]

    (block,) = findings_text(findings({"failed": 44, "causes": causes}), columns=80)

    assert len(block.splitlines()) == 1 + 5 + 1
    assert block.endswith("  9 more, for other reasons, or in an earlier start")


def test_what_was_retried_by_hand_is_no_failure_any_more() -> None:
    """The causes are counted as tasks fail; `hs task update --retry` may make them succeed after all."""
    causes = [["exit status 1", 40, [ID, "false"]]]

    (block,) = findings_text(findings({"failed": 15, "causes": causes}), columns=80)

    assert block.splitlines()[1:] == [
        f"  40 x exit status 1  {ID}  false",
        "  25 of them not any more: retried, changed or removed by hand",
    ]
    assert findings_text(findings({"failed": 0, "causes": causes}), columns=80) == []


@pytest.mark.parametrize(
    ("finished", "busy_s", "slowest", "shown"),
    [
        (100, 109.5, [10.0], ["10.0 s"]),  # ten times the others
        (100, 403.0, [7.0], []),  # not even twice
        (4, 121.0, [60.0, 60.0], ["1:00 min", "1:00 min"]),  # two of four: what they are compared with is the others
        (3, 33.0, [22.0, 10.0, 1.0], []),  # no others to compare with
        (1000, 1399.0, [100.0, 100.0, 100.0, 100.0, 4.0], ["1:40 min"] * 3),  # the first three are enough
        (100, 0.0, [], []),  # none took a second
    ],
)
def test_slow_tasks_are_shown_where_they_stand_out(
    finished: int, busy_s: float, slowest: list[float], shown: list[str]
) -> None:
    """Where all take about as long as each other, the slowest are no news."""
    report = {"finished": finished, "busy_s": busy_s, "slowest": [[took_s, [ID, "sleep"]] for took_s in slowest]}

    lines = [line for block in findings_text(findings(report), columns=80) for line in block.splitlines()[1:]]

    assert lines == [f"  {took}  {ID}  sleep" for took in shown]


def test_a_run_without_failures_has_nothing_to_show() -> None:
    """One line at the end is enough."""
    assert (
        findings_text(findings({"failed": 0, "causes": [], "slowest": [], "finished": 5, "busy_s": 1.0}), columns=80)
        == []
    )
