"""What the user may do to a task: every action on every state, and what is reported of it later."""

import pytest
from tests.scheduler.changing import (
    GIVEN,
    ONCE,
    T0,
    WORKER,
    assigned,
    chain,
    change,
    ended,
    new,
    on_hold,
    record,
    row,
    store,
)

from hs_common.tasks import OutcomeKind, Started
from hs_scheduler.stores.changes import Action
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.tasks.filters import Filter
from hs_scheduler.tasks.state import State

__all__ = ["store"]


LEFT = "left"

TABLE: dict[str, tuple[str, str, str, str, str, str]] = {
    # state          cancel       hold       release  retry  revert  delete
    "on hold":      ("CANCELLED", LEFT,      "NEW",   LEFT,  LEFT,   "gone"),
    "new":          ("CANCELLED", "ON_HOLD", LEFT,    LEFT,  LEFT,   "gone"),
    "assigned":     ("CANCELLED", LEFT,      LEFT,    LEFT,  LEFT,   LEFT),
    "running":      ("CANCELLED", LEFT,      LEFT,    LEFT,  LEFT,   LEFT),
    "succeeded":    (LEFT,        LEFT,      LEFT,    LEFT,  "NEW",  "gone"),
    "failed":       (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "cancelled":    (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "quarantined":  (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "rejected":     (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "never run":    (LEFT,        LEFT,      LEFT,    LEFT,  LEFT,   "gone"),
}  # fmt: skip
ACTIONS = (Action.CANCEL, Action.HOLD, Action.RELEASE, Action.RETRY, Action.REVERT, Action.DELETE)
CELLS = [
    pytest.param(given, action, cell, id=f"{given} {action}")
    for given, cells in TABLE.items()
    for action, cell in zip(ACTIONS, cells, strict=True)
]


@pytest.mark.parametrize(("given", "action", "cell"), CELLS)
def test_every_cell_of_the_table(store: SqlStore, given: str, action: Action, cell: str) -> None:
    task = GIVEN[given](store)
    before = row(store, task.row, "state", "next", "exit_status")

    done = change(store, action)

    after = row(store, task.row, "state", "next", "exit_status")
    match cell:
        case "left":
            assert (done.count, sum(done.left.values()), after) == (0, 1, before)
        case "gone":
            assert (done.deleted, after) == ((task.row,), None)
        case "+1":
            assert after == (before[0], task.row + 1, before[2])
            assert row(store, task.row + 1, "state", "attempt", "previous", "tag") == (0, 2, task.row, '{"kind": "x"}')
        case _:
            assert (State(after[0]).name, after[2]) == (cell, None)
    assert done.count == (cell != LEFT)
    assert done.cancelled == (((task.row, row(store, task.row, "dispatch")),) if cell == "CANCELLED" else ())


@pytest.mark.parametrize(("given", "action", "cell"), CELLS)
def test_saying_it_twice_changes_nothing_more(store: SqlStore, given: str, action: Action, cell: str) -> None:
    GIVEN[given](store)
    change(store, action)
    once = chain(store)

    assert change(store, action).count == 0
    assert chain(store) == once


@pytest.mark.parametrize("given", ["failed", "quarantined", "rejected", "never run"])
def test_what_failed_is_given_up_by_a_cancel_that_names_it(store: SqlStore, given: str) -> None:
    """It keeps what was recorded of it, fails no group any more, and may be retried. Only the whole line could be."""
    task = GIVEN[given](store)
    recorded = row(store, task.row, "exit_status", "reason", "completion_time", "dispatch")
    kept = given == "never run"

    done = change(store, Action.CANCEL, tasks=Filter(ended="failed"))

    assert (done.count, sum(done.left.values())) == ((0, 1) if kept else (1, 0))
    assert row(store, task.row, "exit_status", "reason", "completion_time", "dispatch") == recorded
    assert (store.counts.failed, store.counts.cancelled) == ((1, 0) if kept else (0, 1))
    assert store.failed_group() == (0 if kept else None)
    assert change(store, Action.RETRY).count == (not kept)


def test_an_attempt_that_follows_what_failed_is_given_up_with_it(store: SqlStore) -> None:
    """It is the same task."""
    ended(store, 3)
    change(store, Action.RETRY)

    assert change(store, Action.CANCEL, tasks=Filter(ended="failed")).count == 1
    assert [state for _, state, _, _ in chain(store)] == ["DONE", "CANCELLED"]


# --- Results that come late ---


@pytest.mark.parametrize(
    "kind", [OutcomeKind.FINISHED, OutcomeKind.CRASHED, OutcomeKind.HANDED_BACK, OutcomeKind.CANCELLED]
)
@pytest.mark.parametrize("given", ["assigned", "running"])
def test_what_a_cancelled_task_still_does_does_not_count(store: SqlStore, given: str, kind: OutcomeKind) -> None:
    task = GIVEN[given](store)
    change(store, Action.CANCEL)

    assert record(store, task, 1, kind, ONCE) == 0
    assert record(store, task, 0, kind, ONCE) == 0
    with store.transaction():
        store.release([(task.row, task.dispatch)])
        store.started(WORKER, "n1", [Started(task.row, task.dispatch, T0)])
    assert (chain(store), store.ready(9)) == ([(task.row, "CANCELLED", None, None)], [])


@pytest.mark.parametrize("status", [0, 1])
def test_a_result_of_before_a_revert_does_not_count(store: SqlStore, status: int) -> None:
    """It was committed, but its worker may not have heard so, and says it again."""
    task = ended(store)
    change(store, Action.REVERT)

    assert record(store, task, status) == 0
    (ready,) = store.ready(9)
    with store.transaction():
        store.assign([(8, [ready.task])], T0)
    assert record(store, task, status) == 0, "nor while it is out once more"
    assert record(store, ready.task, 0) == 1


def test_a_result_of_a_deleted_row_does_not_count(store: SqlStore) -> None:
    task = ended(store)
    change(store, Action.DELETE)

    assert record(store, task) == 0
    assert new(store).row > task.row, "its number is not used again"


def test_a_success_of_a_task_on_hold_counts(store: SqlStore) -> None:
    """It was taken for lost, and the user held it meanwhile; but a finished execution is a valid one."""
    task = assigned(store)
    with store.transaction():
        store.release([(task.row, task.dispatch)])
    change(store, Action.HOLD)

    assert record(store, task, 0) == 1
    assert chain(store) == [(task.row, "DONE", None, None)]


@pytest.mark.parametrize("given", ["assigned", "running"])
@pytest.mark.parametrize("end", ["late result", "handed back", "another cluster"])
def test_who_has_a_cancelled_task_is_told_until_it_lets_go(store: SqlStore, given: str, end: str) -> None:
    """The scheduler may be killed before it can say so, or be away while the user cancels."""
    store.take_epoch(b"1" * 16)
    task = GIVEN[given](store)
    change(store, Action.CANCEL)

    assert [(item.bundle, item.row, item.dispatch, item.wanted) for item in store.held()] == [(7, task.row, 1, False)]
    match end:
        case "late result":
            record(store, task, 0)
        case "handed back":
            with store.transaction():
                store.release([(task.row, 1)])
        case "another cluster":
            store.take_epoch(b"2" * 16)
    assert list(store.held()) == []
    assert chain(store) == [(task.row, "CANCELLED", None, None)]


def test_what_its_worker_gave_up_by_itself_is_settled(store: SqlStore) -> None:
    ended(store, kind=OutcomeKind.CANCELLED)
    assert list(store.held()) == []


def test_what_was_cancelled_before_it_went_out_is_nobodys(store: SqlStore) -> None:
    new(store)
    change(store, Action.CANCEL)
    assert list(store.held()) == []


# --- Holding ---


def test_a_task_on_hold_is_not_dispatched(store: SqlStore) -> None:
    task = on_hold(store)
    assert store.ready(9) == []

    change(store, Action.RELEASE)
    assert [item.task.row for item in store.ready(9)] == [task.row]


def test_a_task_on_hold_holds_later_groups(store: SqlStore) -> None:
    """What depends on it must not start."""
    on_hold(store)
    new(store, group=2)

    assert (store.failed_group(), store.counts.holding) == (0, 1)
