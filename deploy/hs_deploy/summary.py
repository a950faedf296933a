"""What is told at the end: one line, and where something is left, where it is."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the scheduler last said about its tasks. A scheduler of the same version is trusted to send numbers."""

    total: int | None = None
    """None while the input is not read to its end."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    """Attempts that were followed by another."""
    running: int = 0
    """Handed to workers."""
    new: int = 0
    workers: int = 0
    slots: int = 0
    busy_s: float = 0.0
    """Sum of the durations of all tasks (known at the end only)."""
    unread: bool = False
    """Some of the input is not in the database."""

    @property
    def done(self) -> int:
        """Tasks that ended."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def left(self) -> int:
        """Known tasks that did not end."""
        return self.running + self.new


def totals(report: Mapping[str, Any], before: Totals) -> Totals:
    """Return the totals in a line of the scheduler; what it does not say stays as it was `before`."""
    return Totals(**{name: report.get(name, getattr(before, name)) for name in Totals.__slots__})


def summary(totals: Totals, *, elapsed_s: float, slots: int) -> str:
    """Return the line that ends a run."""
    attempts = totals.done + totals.retried
    rate = attempts / elapsed_s if elapsed_s > 0 else 0.0
    parts = [
        _count(totals.done, "task"),
        f"{totals.failed} failed",
        *([f"{totals.cancelled} cancelled"] if totals.cancelled else []),
        f"{totals.retried} retried",
        duration_text(elapsed_s),
        f"{rate:.{0 if rate >= 10 else 1}f} tasks/s",  # noqa: PLR2004 - two digits are enough
    ]
    if slots and totals.done and elapsed_s > 0:
        parts.append(f"{min(1.0, totals.busy_s / (slots * elapsed_s)):.0%} of {_count(slots, 'slot')} used")
    return ", ".join(parts)


def left_text(totals: Totals, database: str | None) -> str:
    """Return what is left and where it is kept, or "" when nothing is."""
    if not totals.left and not totals.unread:
        return ""
    what = _count(totals.left, "task") if totals.left else ""
    if totals.unread:
        what = f"{what} and input that was not read" if what else "input that was not read"
    if database is None:
        return f"{what} left; nothing was recorded (--no-db)"
    return f"{what} left, to go on: hs-cluster --restart --database {shlex.quote(database)}"


def duration_text(seconds: float) -> str:
    """Return a duration for people: 0.42 s, 12.3 s, 4:05 min, 30:00:00 h."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.{2 if seconds < 10 else 1}f} s"  # noqa: PLR2004
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02} h" if hours else f"{minute}:{second:02} min"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
