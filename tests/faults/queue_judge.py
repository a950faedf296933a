"""Judges a standing queue: what was accepted against what is recorded and what ran. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hs_scheduler.tasks.state import State

SHOWN_MAX = 10


class Task(NamedTuple):
    """A row of the database."""

    number: int
    state: int
    exit_status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Everything that is known in the end."""

    tasks: int
    """Accepted: 0 to tasks - 1."""
    rows: Sequence[Task]
    applied: Counter[int]
    """How often the row of a task reached an end (the audit trigger)."""
    ran: Counter[int]
    """How often a task wrote its number."""

    @property
    def reruns(self) -> int:
        """Executions beyond the first."""
        return self.ran.total() - len(self.ran)


def judged(tally: Tally, *, reruns_max: int) -> list[str]:
    """Return what was wrong, a line each."""
    accepted = set(range(tally.tasks))
    stored = Counter(row.number for row in tally.rows)
    findings: dict[str, set[int]] = {
        "lost": accepted - set(stored),
        "never submitted": set(stored) - accepted,
        "stored twice": _often(stored),
        "not done": {row.number for row in tally.rows if (row.state, row.exit_status) != (State.DONE, 0)},
        "recorded twice": _often(tally.applied),
        "recorded without having run": set(stored) - set(tally.ran),
        "run, not stored": set(tally.ran) - set(stored),
    }
    if tally.reruns > reruns_max:
        findings[f"{tally.reruns} runs too many, {reruns_max} allowed"] = _often(tally.ran)
    return [_line(what, numbers) for what, numbers in findings.items() if numbers]


def _often(counts: Counter[int]) -> set[int]:
    return {number for number, count in counts.items() if count > 1}


def _line(what: str, numbers: set[int]) -> str:
    shown = " ".join(str(number) for number in sorted(numbers)[:SHOWN_MAX])
    return f"{what}: {shown}{' ...' if len(numbers) > SHOWN_MAX else ''} ({len(numbers)})"
