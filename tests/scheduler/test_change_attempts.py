"""What the user may do to a task of several attempts."""

from typing import Any

import pytest
from tests.scheduler.changing import ONCE, T0, chain, change, ended, record, row, store

from hs_common.tasks import Task
from hs_scheduler.stores.changes import Action
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import Retry
from hs_scheduler.tasks.filters import Filter

__all__ = ["store"]


def test_a_reverted_task_is_as_it_was_submitted(store: SqlStore) -> None:
    task = ended(store, 3)
    change(store, Action.REVERT)

    columns = ("exit_status", "reason", "worker", "command", "outpath", "start_time", "completion_time", "crashes")
    assert row(store, task.row, *columns) == (None, None, None, None, None, None, None, 0)
    assert store.ready(9)[0].task.dispatch == 2


def failed_and_tried_again(store: SqlStore) -> tuple[Task, Task]:
    """Return the first attempt, which failed, and the second, which is out."""
    first = ended(store, 3, retry=ONCE)
    with store.transaction():
        (ready,) = store.ready(1)
        store.assign([(8, [ready.task])], T0)
    return first, ready.task


def failed_twice_and_tried_again(store: SqlStore) -> Task:
    """Return the third attempt, which is out."""
    _, second = failed_and_tried_again(store)
    record(store, second, 3, retry=Retry(2, eager=False))
    with store.transaction():
        (ready,) = store.ready(1)
        store.assign([(9, [ready.task])], T0)
    return ready.task


@pytest.mark.parametrize(
    ("action", "state"),
    [(Action.CANCEL, "CANCELLED"), (Action.HOLD, "ON_HOLD")],
)
def test_what_is_wanted_of_a_task_is_wanted_of_its_last_attempt(store: SqlStore, action: Action, state: str) -> None:
    """The id that submit printed is that of the first one."""
    first = ended(store, 3, retry=ONCE)

    done = change(store, action, tasks=Filter(conditions=("attempt == 1",)))
    assert (done.count, chain(store)) == (1, [(1, "DONE", None, 2), (2, state, 1, None)])
    assert first.row == 1


def test_both_attempts_of_a_task_are_one_task(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 3)

    assert change(store, Action.RETRY, tasks=Filter(ended="failed")).count == 1
    assert chain(store) == [(1, "DONE", None, 2), (2, "DONE", 1, 3), (3, "NEW", 2, None)]


def test_three_attempts_of_a_task_are_one_task_too(store: SqlStore) -> None:
    """The attempt that is added must not be taken for one that was meant."""
    record(store, failed_twice_and_tried_again(store), 3)

    done = change(store, Action.RETRY)
    assert (done.count, done.left) == (1, {})


def test_what_succeeded_at_last_is_not_retried(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 0)

    done = change(store, Action.RETRY, tasks=Filter(ended="failed"))
    assert (done.count, done.left) == (0, {"succeeded": 1})


def test_an_attempt_that_another_followed_is_not_reverted(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 0)

    done = change(store, Action.REVERT)
    assert (done.count, done.left) == (1, {"a later attempt follows": 1})
    assert chain(store) == [(1, "DONE", None, 2), (2, "NEW", 1, None)]


@pytest.mark.parametrize(
    ("attempts", "left"),
    [
        ("== 1", [(2, "DONE", None, 3), (3, "DONE", 2, None)]),
        ("== 2", [(1, "DONE", None, 3), (3, "DONE", 1, None)]),
        ("== 3", [(1, "DONE", None, 2), (2, "DONE", 1, None)]),
        ("<= 2", [(3, "DONE", None, None)]),
        (">= 2", [(1, "DONE", None, None)]),
        ("!= 2", [(2, "DONE", None, None)]),
    ],
)
def test_the_attempts_around_deleted_ones_become_neighbours(store: SqlStore, attempts: str, left: list[Any]) -> None:
    third = failed_twice_and_tried_again(store)
    record(store, third, 0)

    change(store, Action.DELETE, tasks=Filter(conditions=(f"attempt {attempts}",)))
    assert chain(store) == left


def test_all_attempts_can_be_deleted_at_once(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 3)

    assert change(store, Action.DELETE).deleted == (1, 2)
    assert chain(store) == []


def test_an_attempt_that_runs_keeps_its_place_when_the_one_before_goes(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)

    assert change(store, Action.DELETE).left == {"handed out or running": 1}
    assert chain(store) == [(2, "ASSIGNED", None, None)]
    assert record(store, second, 0) == 1
