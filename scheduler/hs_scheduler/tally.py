"""What is told of a run at its end, counted as it goes: the causes of failures, the slowest tasks, the time they took. No IO.

However many tasks there are, at most `CAUSES_MAX` causes and `SLOWEST_MAX` tasks are remembered, with one example of each.
"""

import signal
from collections.abc import Iterable
from heapq import heappush, heapreplace
from typing import NamedTuple

from hs_common.tasks import Outcome, OutcomeKind, exit_status
from hs_scheduler.stores.store import Applied
from hs_scheduler.stores.succeeded import Succeeded
from hs_scheduler.tasks.state import State

CAUSES_MAX = 32
"""Different causes; those beyond are counted as one."""
OTHER = "other causes"

SLOWEST_MAX = 5
SLOW_MIN_S = 1.0
"""A task that took less is not worth a line, however short the others were."""


class Example(NamedTuple):
    """A task as it is shown to people."""

    id: str
    command: str


class Cause(NamedTuple):
    """Why some tasks failed for good."""

    text: str
    tasks: int
    example: Example | None


class Slow(NamedTuple):
    """One of the slowest tasks."""

    duration_s: float
    example: Example | None


class Tally:
    """Counts what ended."""

    def __init__(self) -> None:
        self.busy_s = 0.0
        """Sum of the durations of all attempts."""
        self.finished = 0
        """Attempts that ran to their end."""
        self._causes: dict[str, list[int]] = {}
        """Cause -> [count, row of the first]."""
        self._slowest: list[tuple[float, int]] = []
        self._examples: dict[int, Example] = {}

    def count(self, applied: Iterable[Applied]) -> list[int]:
        """Take what ended; return the rows of which `describe` is to be told."""
        if isinstance(applied, Succeeded) and max(applied.outcomes.durations) <= self._slow_s():
            self.busy_s += sum(applied.outcomes.durations)
            self.finished += len(applied)
            return []
        wanted = []
        busy_s, finished = self.busy_s, self.finished
        slow = self._slow_s()
        for row, outcome, state, failed, retried in applied:
            if failed and not retried and self._count_failure(row, cause_of(outcome, state)):
                wanted.append(row)
            if outcome.kind != OutcomeKind.FINISHED:
                continue
            duration = outcome.duration
            busy_s += duration
            finished += 1
            if duration > slow:
                slow = self._count_slow(row, duration)
                wanted.append(row)
        self.busy_s, self.finished = busy_s, finished
        return wanted

    def reject(self, rejected: Iterable[tuple[int, str]]) -> list[int]:
        """Take lines that can never run, each as row and reason; return the rows of which `describe` is to be told."""
        return [row for row, reason in rejected if self._count_failure(row, rejected_for(reason))]

    def describe(self, row: int, example: Example) -> None:
        """Take what people want to know of a task that `count` named."""
        self._examples[row] = example

    def causes(self) -> list[Cause]:
        """Return why tasks failed for good, the most frequent cause first."""
        found = [Cause(text, count, self._examples.get(row)) for text, (count, row) in self._causes.items()]
        return sorted(found, key=lambda cause: -cause.tasks)

    def slowest(self) -> list[Slow]:
        """Return the slowest attempts, the slowest first."""
        return [Slow(duration, self._examples.get(row)) for duration, row in sorted(self._slowest, reverse=True)]

    def _count_failure(self, row: int, text: str) -> bool:
        """Whether it is the first one of its cause."""
        if text not in self._causes and len(self._causes) >= CAUSES_MAX:
            text = OTHER
        known = self._causes.get(text)
        if known is None:
            self._causes[text] = [1, row]
            return True
        known[0] += 1
        return False

    def _count_slow(self, row: int, duration: float) -> float:
        """Return what a task has to take from now on to be one of the slowest, seconds."""
        if len(self._slowest) < SLOWEST_MAX:
            heappush(self._slowest, (duration, row))
        else:
            _, dropped = heapreplace(self._slowest, (duration, row))
            if all(dropped != first for _, first in self._causes.values()):
                self._examples.pop(dropped, None)
        return self._slow_s()

    def _slow_s(self) -> float:
        """Return what a task has to take to be one of the slowest, seconds."""
        return self._slowest[0][0] if len(self._slowest) == SLOWEST_MAX else SLOW_MIN_S


def cause_of(outcome: Outcome, state: State) -> str:
    """Say in a few words why a task failed."""
    if state is State.QUARANTINED:
        return "quarantined: killed its workers"
    if outcome.kind == OutcomeKind.REJECTED:
        return rejected_for(outcome.reason)
    if outcome.reason:
        return outcome.reason.partition(":")[0]
    status = exit_status(outcome.status)
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def rejected_for(reason: str) -> str:
    """Say in a few words why a task can never run."""
    return f"rejected: {reason.partition(':')[0]}"
