"""What the scheduler tells whoever started it: progress and the end on a pipe, failures and a job log in files.

One JSON line each: {"progress": {...}} at most five times a second, {"ordered": true} with -k, {"end": {...}} once.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, NamedTuple, TextIO

from hs_common.errors import RefusedError, StoppedError
from hs_common.printable import printable
from hs_common.quoting import on_one_line
from hs_common.values import dataclass
from hs_scheduler.stores.store import Applied, Counts, Store
from hs_scheduler.tally import Example, Tally
from hs_scheduler.tasks.tags import format_line

INTERVAL_S = 0.2
"""Between two lines of progress."""

SHOWN_CHARS_MAX = 200
"""Of a command line in the report."""

JOBLOG_FIELDS = (
    "id",
    "attempt",
    "worker_host",
    "start_time",
    "duration",
    "exit_status",
    "signal",
    "reason",
    "command",
)


class Progress(NamedTuple):
    """How far it is, beside what is in the store."""

    total_known: bool
    """All of the input was read."""
    workers: int
    slots: int
    read_bytes: int
    """Of the input."""
    kept_bytes: int
    """Of the input, that will never be read again."""
    half_line: bool
    """It has ended in a line without newline: whoever is told this says whether that is all of it (`control`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How it ended."""

    status: int
    reason: str
    left: int
    """Tasks in the store without an end."""
    unread: bool
    """Some of the input is not in the store yet."""


class Report:
    """Progress line and end line on a descriptor.

    Args:
        descriptor: Of the pipe, or None: nobody asks.

    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._last = ""
        self._next_at = 0.0
        self._tally = Tally()
        self.counts: Counts | None = None
        """Of the store, once there is one."""
        if descriptor is not None:
            os.set_blocking(descriptor, False)

    def count(self, applied: Iterable[Applied], store: Store) -> None:
        """Take note of what ended, while the store still knows it (in memory it forgets)."""
        self._describe(self._tally.count(applied), store)

    def reject(self, rejected: Iterable[tuple[int, str]], store: Store) -> None:
        """Take note of lines that can never run, each as row and reason, while the store still knows them."""
        self._describe(self._tally.reject(rejected), store)

    def due(self, now: float) -> bool:
        """Whether progress may be told again."""
        return self._descriptor is not None and now >= self._next_at

    def deadline(self) -> float:
        """Return when progress may be told again, monotonic seconds; infinity: nobody asks."""
        return inf if self._descriptor is None else self._next_at

    def progress(self, counts: Counts, progress: Progress, now: float) -> None:
        """Tell how far it is, if that changed."""
        line = json.dumps({"progress": _numbers(counts, progress.total_known) | progress._asdict()})
        self._next_at = now + INTERVAL_S
        if line != self._last:
            self._last = line
            self._write(line)

    def ordered(self) -> None:
        """Tell that more outputs can be printed; a reader who is behind will look anyway."""
        self._write('{"ordered": true}')

    def halt(self, reason: str, *, now: bool) -> None:
        """Ask for an end of everything: no task starts any more, `now`: and those that run are stopped."""
        if self._descriptor is not None:
            os.set_blocking(self._descriptor, True)
        self._write(json.dumps({"halt": {"reason": reason, "now": now}}))
        if self._descriptor is not None:
            os.set_blocking(self._descriptor, False)

    def end(self, end: End, counts: Counts) -> None:
        """Say how it ended; waits until the reader has room."""
        numbers = _numbers(counts, total_known=not end.unread) | {
            "status": end.status,
            "reason": end.reason,
            "left": end.left,
            "unread": end.unread,
            "busy_s": round(self._tally.busy_s, 3),
            "finished": self._tally.finished,
            "causes": self._tally.causes(),
            "slowest": self._tally.slowest(),
        }
        if self._descriptor is not None:
            os.set_blocking(self._descriptor, True)
        self._write(json.dumps({"end": numbers}))

    def stopped(self, reason: str) -> None:
        """Say that it could not go on, and how far it came."""
        if self._descriptor is not None:
            os.set_blocking(self._descriptor, True)
        numbers = {} if self.counts is None else _numbers(self.counts, total_known=False)
        self._write(json.dumps({"end": numbers | {"status": 3, "reason": reason}}))

    def _describe(self, rows: Iterable[int], store: Store) -> None:
        for row in rows:
            for task in store.finished([row]):
                self._tally.describe(row, Example(task["id"], printable(task["args"])[:SHOWN_CHARS_MAX]))

    def _write(self, line: str) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, line.encode() + b"\n")
        except BlockingIOError:
            self._last = ""  # The reader is behind: tell it next time.
        except BrokenPipeError:
            self._descriptor = None  # Nobody listens any more; the lifeline says the rest.


class JobLog:
    """A TSV row for each finished attempt.

    After a restart of the scheduler it is written anew from the store, so that no row is missing or doubled.
    """

    def __init__(self, path: str, store: Store) -> None:
        self._path = path
        try:
            self._file: TextIO = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        except OSError as exc:
            raise RefusedError(f"cannot write the job log {path}: {exc.strerror}") from exc
        self._store = store
        self._file.write("\t".join(JOBLOG_FIELDS) + "\n")
        self._write(store.finished(None))

    def write(self, applied: Iterable[Applied]) -> None:
        """Add the attempts that just ended.

        Raises:
            StoppedError: It cannot be written.

        """
        self.write_rows([item.row for item in applied if item.state])

    def write_rows(self, rows: Sequence[int]) -> None:
        """Add these, which have ended: also lines that could never run.

        Raises:
            StoppedError: It cannot be written.

        """
        if rows:
            self._write(self._store.finished(rows))

    def close(self) -> None:
        """Flush and close."""
        self._file.close()

    def _write(self, tasks: Iterable[dict[str, Any]]) -> None:
        try:
            for task in tasks:
                status = task["exit_status"]
                task["signal"] = -status if status is not None and status < 0 else 0
                self._file.write("\t".join(_cell(task[name]) for name in JOBLOG_FIELDS) + "\n")
            self._file.flush()
        except OSError as exc:
            raise StoppedError(f"cannot write the job log {self._path}: {exc.strerror}") from exc


def write_failures(store: Store, path: str | None) -> None:
    """Write the args of each finally failed task once, in a form that can be run again.

    Into a file by way of a temporary one, so that it is whole or untouched; into anything else (a pipe, a terminal) directly,
    and through a link, which may be /dev/stdout: to replace that would take it from the whole machine.

    Args:
        store: Where the tasks are.
        path: Of the file; None: stdout, whatever that is.

    Raises:
        StoppedError: It cannot be written.

    """
    text = (
        format_line(on_one_line(args), detail, group, priority) + b"\n"
        for args, detail, group, priority in store.failures()
    )
    if path is None:
        try:
            with open(sys.stdout.fileno(), "wb", closefd=False) as stdout:
                stdout.writelines(text)
        except OSError as exc:
            raise StoppedError(f"cannot write the failed tasks to stdout: {exc.strerror}") from exc
        return
    whole = not os.path.lexists(path) or (os.path.isfile(path) and not os.path.islink(path))
    target = f"{path}.{os.getpid()}.tmp" if whole else path
    try:
        with open(target, "wb", opener=_open_at_once) as file:
            file.writelines(text)
        if whole:
            os.replace(target, path)
    except OSError as exc:
        if whole:
            with contextlib.suppress(OSError):
                os.unlink(target)
        raise StoppedError(f"cannot write the failed tasks into {path}: {exc.strerror}") from exc


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a FIFO that nobody reads is an error, for who might come to read it is not waited for."""
    fd = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(fd, True)
    return fd


def _numbers(counts: Counts, total_known: bool) -> dict[str, Any]:  # noqa: FBT001
    done = counts.succeeded + counts.failed + counts.cancelled
    new = counts.new + counts.on_hold
    return {
        "total": done + new + counts.assigned if total_known else None,
        "done": done,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "retried": counts.retried,
        "running": counts.assigned,
        "new": new,
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
