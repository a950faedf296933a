"""The rows of the store in memory."""

from typing import Any, NamedTuple

from hs_common.ids import uuid_text
from hs_common.tasks import Detail, Outcome, Task
from hs_scheduler.stores import verdict
from hs_scheduler.stores.waiting import Entry
from hs_scheduler.tasks.fields import time_text
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


class Ended(NamedTuple):
    """What the job log wants to know of a row that has just ended."""

    task: Task
    submitted: float
    outcome: Outcome
    state: State
    worker: bytes
    host: str
    now: float


def last_dispatch(row: Row) -> int:
    """Return the last dispatch that was given out."""
    return row.task.dispatch - (row.state == State.NEW)


def entry_of(row: Row) -> Entry:
    """Return its place among those that wait."""
    return (row.group, row.late, -row.priority, row.task.row)


def public(ended: Ended) -> dict[str, Any]:
    """Return the public fields that are known of a row that has just ended."""
    task, outcome = ended.task, ended.outcome
    end = verdict.ending(outcome, ended.now)
    ran = end.start_time is not None
    return {
        **end._asdict(),
        "id": uuid_text(task.uid),
        "args": task.args,
        "command": (outcome.command or task.args) if ran else None,
        "state": ended.state.name,
        "attempt": task.attempt,
        "dispatch": task.dispatch,
        "submit_time": time_text(ended.submitted),
        "start_time": time_text(outcome.start) if ran else None,
        "completion_time": time_text(end.completion_time),
        "worker_id": uuid_text(ended.worker),
        "worker_host": ended.host,
    }
