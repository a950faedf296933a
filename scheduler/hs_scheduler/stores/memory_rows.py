"""The rows of the store in memory."""

from typing import NamedTuple

from hs_common.tasks import Detail, Task
from hs_scheduler.stores.waiting import Entry
from hs_scheduler.tasks.state import State


class Row(NamedTuple):
    """A row that has not ended. Replaced, never changed: so a transaction can put the old one back."""

    task: Task
    """While NEW, `dispatch` is already the next one."""
    state: State
    bundle: int
    cwd: bytes
    group: int
    priority: int
    late: int
    """-1 before, 0 among, 1 behind the new tasks of its group."""
    crashes: int
    worker: bytes
    origin: int
    """Row of the first attempt."""
    submitted: float


class Failure(NamedTuple):
    """What is kept of a task that failed for good."""

    origin: int
    args: bytes
    detail: Detail | None
    group: int
    priority: int


def last_dispatch(row: Row) -> int:
    """Return the last dispatch that was given out."""
    return row.task.dispatch - (row.state == State.NEW)


def entry_of(row: Row) -> Entry:
    """Return its place among those that wait."""
    return (row.group, row.late, -row.priority, row.task.row)
