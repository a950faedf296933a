"""What the last transaction of the store in memory has ended: kept until the next one, for the job log."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hs_common.ids import uuid_text
from hs_common.outcomes import Successes
from hs_common.tasks import Outcome, OutcomeKind, Task
from hs_scheduler.stores import verdict
from hs_scheduler.stores.memory_rows import Row
from hs_scheduler.tasks.fields import time_text
from hs_scheduler.tasks.state import State


class Ended(NamedTuple):
    """What the job log wants to know of a row."""

    task: Task
    """As it was dispatched last."""
    submitted: float
    outcome: Outcome
    state: State
    worker: bytes
    host: str
    now: float


class JustEnded:
    """Rows by number; those that ended as one stay so until somebody asks for one of them."""

    def __init__(self) -> None:
        self._rows: dict[int, Ended] = {}
        self._as_one: list[tuple[Successes, Sequence[Row], bytes, str, float]] = []
        """With worker, host and time."""

    def clear(self) -> None:
        """Forget them: a transaction begins, or did not stand."""
        self._rows.clear()
        self._as_one.clear()

    def add(self, ended: Ended) -> None:
        """Note one row."""
        self._rows[ended.outcome.row] = ended

    def reject(self, task: Task, reason: str, now: float) -> None:
        """Note a row that was rejected as it was read, so that nobody ever had it."""
        outcome = Outcome(task.row, 0, OutcomeKind.REJECTED, 0, reason, 0.0, 0.0, 0.0, 0.0, 0, b"", b"", b"")
        self.add(Ended(task._replace(dispatch=0), now, outcome, State.REJECTED, b"", "", now))

    def add_all(self, outcomes: Successes, rows: Sequence[Row], worker: bytes, host: str, now: float) -> None:
        """Note the rows of a Result of successes, in its order."""
        self._as_one.append((outcomes, rows, worker, host, now))

    def fields(self, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the public fields of these rows, of those that are here."""
        for outcomes, rows, worker, host, now in self._as_one:
            for row, outcome in zip(rows, outcomes, strict=True):
                self._rows[outcome.row] = Ended(row.task, row.submitted, outcome, State.DONE, worker, host, now)
        self._as_one.clear()
        for number in numbers:
            if number in self._rows:
                yield _public(self._rows[number])


def _public(ended: Ended) -> dict[str, Any]:
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
        "worker_id": uuid_text(ended.worker) if ended.worker else None,
        "worker_host": ended.host,
    }
