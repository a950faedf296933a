"""Values and tags that the user gives to tasks."""

import pytest
from tests.scheduler.changing import GIVEN, change, ended, new, row, store

from hs_common import limits
from hs_common.errors import RefusedError
from hs_common.tasks import Detail
from hs_scheduler.stores.changes import Action, Change
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.tasks.filters import Filter

__all__ = ["store"]


def test_values_of_what_waits_can_be_set(store: SqlStore) -> None:
    task = new(store)

    change(store, Action.NONE, "args=echo a=b:c", "group=2", "priority=-3", "cores=4", "memory=2G", "timeout=1h")
    (ready,) = store.ready(9)
    assert (ready.task.args, ready.group) == (b"echo a=b:c", 2)
    assert ready.task.detail == Detail(3600.0, 4, 2 << 30, (("kind", "x"),), b"")
    change(store, Action.NONE, "cores=null", "memory=null", "timeout=null")
    assert store.ready(9)[0].task.detail == Detail(0.0, 0, 0, (("kind", "x"),), b"")
    assert row(store, task.row, "priority") == -3


@pytest.mark.parametrize("given", ["assigned", "running", "succeeded", "failed", "cancelled"])
def test_values_of_what_does_not_wait_are_history(store: SqlStore, given: str) -> None:
    task = GIVEN[given](store)

    done = change(store, Action.NONE, "priority=5", "color:red")
    assert (done.count, row(store, task.row, "priority", "tag")) == (0, (0, '{"kind": "x"}'))


@pytest.mark.parametrize("given", list(GIVEN))
def test_tags_can_be_changed_at_any_time(store: SqlStore, given: str) -> None:
    task = GIVEN[given](store)

    assert change(store, Action.NONE, "color:red", "n:1").count == 1
    assert change(store, Action.NONE, "n:2", remove=("color", "missing")).count == 1
    assert row(store, task.row, "tag") in ('{"kind": "x", "n": 2}', '{"n": 2}')


def test_a_retry_may_get_other_values(store: SqlStore) -> None:
    task = ended(store, 137)

    change(store, Action.RETRY, "memory=8G", "again:true")
    assert row(store, task.row, "memory", "tag") == (None, '{"kind": "x"}'), "the attempt that failed stays as it was"
    assert row(store, task.row + 1, "memory", "tag") == (8 << 30, '{"kind": "x", "again": true}')


def test_a_task_has_no_more_tags_than_a_line_may_have(store: SqlStore) -> None:
    new(store)
    change(store, Action.NONE, *(f"k{n}:1" for n in range(99)))

    assert change(store, Action.NONE, "one:more").left == {"they would have over 100 tags": 1}


@pytest.mark.parametrize(
    ("action", "assignments", "remove"),
    [
        (Action.NONE, (), ()),
        (Action.NONE, ("word",), ()),
        (Action.NONE, ("state=DONE",), ()),
        (Action.NONE, ("args:x",), ()),
        (Action.NONE, ("args=",), ()),
        (Action.NONE, ("args=a\0b",), ()),
        (Action.NONE, ("args=" + "x" * (limits.LINE_BYTES_MAX + 1),), ()),
        (Action.NONE, ("group=null",), ()),
        (Action.NONE, ("cores=-1",), ()),
        (Action.NONE, ("memory=much",), ()),
        (Action.NONE, ("bad key:1",), ()),
        (Action.NONE, (), ("a b",)),
        (Action.NONE, (), ("group",)),
        (Action.NONE, tuple(f"k{n}:1" for n in range(101)), ()),
        (Action.DELETE, ("color:red",), ()),
        (Action.CANCEL, ("priority=1",), ()),
    ],
)
def test_a_change_without_sense_is_refused(
    action: Action, assignments: tuple[str, ...], remove: tuple[str, ...]
) -> None:
    with pytest.raises(RefusedError):
        Change(filter=Filter(), action=action, assignments=assignments, removed_tags=remove).plan()
