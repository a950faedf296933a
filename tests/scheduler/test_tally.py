"""What is counted for the end of a run."""

import pytest

from hs_common.outcomes import Successes, pack_outcomes, unpack_outcomes
from hs_common.tasks import Outcome, OutcomeKind
from hs_scheduler.stores.store import Applied
from hs_scheduler.stores.succeeded import Succeeded
from hs_scheduler.tally import CAUSES_MAX, OTHER, SLOWEST_MAX, Cause, Example, Slow, Tally, cause_of
from hs_scheduler.tasks.state import State


def an_outcome(*, status: int = 0, reason: str = "", took_s: float = 0.0, kind: int = OutcomeKind.FINISHED) -> Outcome:
    return Outcome(1, 1, int(kind), status, reason, 1.0, took_s, 0.0, 0.0, 0, b"", b"", b"")


def ended(row: int, *, status: int = 0, took_s: float = 0.0, retried: bool = False) -> Applied:
    outcome = an_outcome(status=status, took_s=took_s)
    return Applied(row, outcome, State.DONE, failed=bool(status), retried=retried)


def together(outcomes: list[Outcome]) -> Succeeded:
    successes = unpack_outcomes(pack_outcomes(outcomes))
    assert isinstance(successes, Successes)
    return Succeeded(successes)


def test_failures_are_counted_by_cause_with_the_first_as_example() -> None:
    """The most frequent cause first; attempts that are retried did not fail for good."""
    tally = Tally()

    wanted = tally.count(
        [ended(1, status=2 << 8), ended(2, status=9), ended(3, status=9), ended(4, status=9, retried=True), ended(5)]
    )
    for row in wanted:
        tally.describe(row, Example(f"id{row}", f"line {row}"))

    assert wanted == [1, 2]
    assert tally.causes() == [
        Cause("SIGKILL", 2, Example("id2", "line 2")),
        Cause("exit status 2", 1, Example("id1", "line 1")),
    ]


def test_lines_that_can_never_run_are_counted_by_reason() -> None:
    """They fail as they are read: no outcome comes of them."""
    tally = Tally()

    wanted = tally.reject([(3, "NUL in the line"), (4, "tag group:x: is not an integer"), (5, "NUL in the line")])

    assert wanted == [3, 4]
    assert tally.causes() == [Cause("rejected: NUL in the line", 2, None), Cause("rejected: tag group", 1, None)]
    assert (tally.busy_s, tally.finished) == (0.0, 0)


def test_causes_without_end_are_counted_as_one() -> None:
    """Memory has a bound, the sum is right all the same."""
    tally = Tally()
    tally.count(Applied(n, an_outcome(reason=f"reason {n}"), State.DONE, True, False) for n in range(100))

    causes = tally.causes()

    assert len(causes) == CAUSES_MAX + 1
    assert sum(cause.tasks for cause in causes) == 100
    assert causes[0][:2] == (OTHER, 100 - CAUSES_MAX)


def test_the_slowest_are_remembered_and_nothing_else() -> None:
    """Whoever drops out takes its example along."""
    tally = Tally()
    for row in range(1, 101):
        for wanted in tally.count([ended(row, took_s=float(row))]):
            tally.describe(wanted, Example(f"id{wanted}", ""))

    assert tally.slowest() == [Slow(float(n), Example(f"id{n}", "")) for n in range(100, 100 - SLOWEST_MAX, -1)]
    assert len(tally._examples) == SLOWEST_MAX
    assert (tally.busy_s, tally.finished) == (5050.0, 100)


def test_a_slow_failure_keeps_its_example_when_slower_ones_come() -> None:
    """It is the example of a cause as well."""
    tally = Tally()
    for row in range(1, 20):
        for wanted in tally.count([ended(row, took_s=float(row) + 1, status=int(row == 1))]):
            tally.describe(wanted, Example(f"id{wanted}", ""))

    assert tally.causes() == [Cause("SIGHUP", 1, Example("id1", ""))]


def test_successes_by_the_column_count_as_each_by_itself_does() -> None:
    """The slow one among them is found."""
    outcomes = [an_outcome(took_s=took_s)._replace(row=row) for row, took_s in ((1, 0.25), (2, 7.0), (3, 0.5))]
    tally = Tally()

    assert tally.count(together(outcomes)) == [2]
    assert tally.count(together(outcomes[:1])) == []
    assert (tally.busy_s, tally.finished, tally.slowest()) == (8.0, 4, [Slow(7.0, None)])


def test_short_tasks_are_nothing_to_be_looked_up() -> None:
    """What is slow among milliseconds interests nobody, and looking up costs time."""
    assert Tally().count([ended(1, took_s=0.9)]) == []


@pytest.mark.parametrize(
    ("outcome", "state", "text"),
    [
        (an_outcome(status=3 << 8), State.DONE, "exit status 3"),
        (an_outcome(status=15), State.DONE, "SIGTERM"),
        (an_outcome(status=40), State.DONE, "signal 40"),  # a real-time signal
        (an_outcome(status=2, reason="timeout"), State.DONE, "timeout"),
        (an_outcome(reason="output"), State.DONE, "output"),
        (an_outcome(kind=OutcomeKind.REJECTED, reason="template: {[1]}: no 1"), State.REJECTED, "rejected: template"),
        (an_outcome(kind=OutcomeKind.CRASHED), State.QUARANTINED, "quarantined: killed its workers"),
    ],
)
def test_a_cause_is_a_few_words(outcome: Outcome, state: State, text: str) -> None:
    """Without what differs from task to task, so that they can be counted together."""
    assert cause_of(outcome, state) == text
