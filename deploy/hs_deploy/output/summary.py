"""What is told at the end: one line, before it what failed and what was slow, and where something is left, where it is."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from hs_common.values import dataclass

CAUSES_SHOWN_MAX = 5
SLOW_SHOWN_MAX = 3
SLOW_MEANS = 5
"""A task is worth a line when it took so many times as long as the others on average."""


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
    def attempts(self) -> int:
        """Attempts that ended."""
        return self.done + self.retried

    @property
    def left(self) -> int:
        """Known tasks that did not end."""
        return self.running + self.new


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some tasks that have something in common, and one of them."""

    label: str
    """What they have in common."""
    id: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is worth a look once a run has ended."""

    failed: tuple[Sample, ...] = ()
    more_failed: int = 0
    """Tasks that failed and of which no sample tells."""
    not_any_more: int = 0
    """Failures, at least so many, that do not count: the tasks were retried, changed or removed by hand."""
    slow: tuple[Sample, ...] = ()


def totals(report: Mapping[str, Any], before: Totals) -> Totals:
    """Return the totals in a line of the scheduler; what it does not say stays as it was `before`."""
    return Totals(**{name: report.get(name, getattr(before, name)) for name in Totals.__slots__})


def findings(report: Mapping[str, Any]) -> Findings:
    """Return what is worth a look, of the last line of the scheduler: samples of what failed, and what stands out as slow."""
    causes = report.get("causes", [])
    shown = causes[:CAUSES_SHOWN_MAX] if report.get("failed", 0) else []
    failed = [_sample(f"{count} x {text}", example) for text, count, example in shown]
    told = sum(count for _, count, _ in shown)
    slowest = report.get("slowest", [])
    others = report.get("finished", 0) - len(slowest)
    others_s = report.get("busy_s", 0.0) - sum(took_s for took_s, _ in slowest)
    slow = [(took_s, example) for took_s, example in slowest if others > 0 and took_s * others >= SLOW_MEANS * others_s]
    return Findings(
        failed=tuple(failed),
        more_failed=max(0, report.get("failed", 0) - told),
        not_any_more=max(0, sum(count for _, count, _ in causes) - report.get("failed", 0)),
        slow=tuple(_sample(duration_text(took_s), example) for took_s, example in slow[:SLOW_SHOWN_MAX]),
    )


def findings_text(found: Findings, *, columns: int) -> list[str]:
    """Return what shows them, a block of lines each; `columns`: of the terminal."""
    failed, slow = _table(found.failed, columns), _table(found.slow, columns)
    if found.more_failed:
        failed.append(f"  {found.more_failed} more, for other reasons, or in an earlier start")
    if failed and found.not_any_more:
        failed.append(f"  {found.not_any_more} of them not any more: retried, changed or removed by hand")
    blocks = [["failed:", *failed] if failed else [], ["much slower than the others:", *slow] if slow else []]
    return ["\n".join(block) for block in blocks if block]


def summary(totals: Totals, *, elapsed_s: float, slots: int, before: int = 0) -> str:
    """Return the line that ends a run; `before`: attempts that had ended in earlier starts of it, or in this queue."""
    rate = (totals.attempts - before) / elapsed_s if elapsed_s > 0 else 0.0
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


def left_text(totals: Totals, database: str | None, *, unprinted: bool = False, stopped: bool = False) -> str:
    """Return what is left and where it is kept, or "" when nothing is.

    Args:
        totals: Tasks and input that are.
        database: Path or URL without its password; None: nothing is recorded.
        unprinted: Whether outputs of tasks are.
        stopped: Whether the scheduler could not go on, maybe only with what it does at the end.

    """
    parts = [_count(totals.left, "task")] if totals.left else []
    parts += ["input that was not read"] if totals.unread else []
    parts += ["outputs that were not printed"] if unprinted else []
    if not parts:
        return f"the end of the run is left, {_go_on(database)}" if stopped and database is not None else ""
    what = " and ".join([*([", ".join(parts[:-1])] if parts[:-1] else []), parts[-1]])
    if database is None:
        return f"{what} left; nothing was recorded (--no-db)"
    return f"{what} left, {_go_on(database)}"


def _go_on(database: str) -> str:
    return f"to go on: hs-cluster --restart --database {shlex.quote(database)}"


def duration_text(seconds: float) -> str:
    """Return a duration for people: 0.42 s, 12.3 s, 4:05 min, 30:00:00 h."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.{2 if seconds < 10 else 1}f} s"  # noqa: PLR2004
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02} h" if hours else f"{minute}:{second:02} min"


def _sample(label: str, example: list[str] | None) -> Sample:
    uid, command = example or ("", "")
    return Sample(label=label, id=uid, command=command)


def _table(samples: Sequence[Sample], columns: int) -> list[str]:
    width = max((len(sample.label) for sample in samples), default=0)
    lines = [f"  {sample.label.ljust(width)}  {sample.id}  {sample.command}".rstrip() for sample in samples]
    return [line if len(line) <= columns else f"{line[: columns - 3]}..." for line in lines]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
