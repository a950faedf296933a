"""The copy of a piped input, from which a scheduler reads by offset and a restarted one goes on.

    stdin ──pump──▶ <run>/input ◀──pread── scheduler
                        └─ {"input": {"bytes": n, "eof": false}} ─▶ its lifeline: so far it may read

Copied, not handed over: what has been read from a pipe cannot be read again, and a scheduler may be killed at any moment.
What the database holds is given back to the disk, and a producer that is far ahead has to wait: so input may be without end.
Even a line may be: of one that is too long to run, a hole stands for what makes it longer still.
"""

import contextlib
import errno
import os
from collections.abc import Callable

from hs_common import limits
from hs_deploy.holes import Consumed
from hs_deploy.runs.folders import mark_complete

CHUNK_BYTES = 1024 * 1024
"""Read at once; a pipe gives 64 KiB at most, a file all of it."""

LEAD_BYTES_MAX = 256 * 1024 * 1024
"""Copied but not yet read by the scheduler: beyond it the producer waits."""

RETRY_S = 1.0
"""Between two attempts to write to a full disk."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Spool:
    """Copies `source` into a new file at `path`; never reads when nothing is there, so it never blocks."""

    def __init__(self, source: int, path: str, *, whole: bool = False) -> None:
        """Take the descriptor to read; create the file. `whole`: a new scheduler reads it from its start (`--once`).

        Raises:
            OSError: The file cannot be created.

        """
        self.path = path
        self.bytes = 0
        self.eof = False
        self.failure = ""
        """Why copying has to end for good, or ""."""
        self._ended = False
        self._source = source
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._consumed = None if whole else Consumed(self._file)
        self._read_bytes = 0
        self._kept = b""  # read, but the disk was full
        self._line_bytes = 0  # of the last line, as far as it is copied
        self._retry_at: float | None = None
        self._full_since: float | None = None

    @property
    def source(self) -> int | None:
        """The descriptor to poll for reading, or None: at its end, or the scheduler is too far behind."""
        if self._ended or self.failure or self._kept:
            return None
        if self.bytes - self._read_bytes >= LEAD_BYTES_MAX:
            return None
        return self._source

    @property
    def retry_at(self) -> float | None:
        """When to call `pump` although the source says nothing (the disk was full)."""
        return self._retry_at

    def scheduler_read(self, read_bytes: int, kept_bytes: int) -> None:
        """Note how far the scheduler has read, and up to where none will read again: the disk has that back."""
        self._read_bytes = read_bytes
        if self._consumed is not None:
            self._consumed.up_to(kept_bytes)

    def pump(self, now: float, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Copy what is there (the source polled readable); return whether there is news for the scheduler.

        Args:
            now: Monotonic seconds.
            stopped: Whether the user has stopped the run by now. Then an end of the input may be that of its producer, who hears
                a Ctrl-C as well: it was not all, and its last line may be half a command.

        """
        if not self._kept:
            try:
                self._kept = os.read(self._source, CHUNK_BYTES)
            except OSError as exc:
                # EIO is what a terminal that went away says. What was read so far is kept, but it was not all.
                self.failure = f"the input cannot be read: {exc.strerror}"
                return False
            if not self._kept:
                self._ended = True
                if stopped():
                    return False
                self.eof = True
                mark_complete(self._file)
                return True
        return self._write(now)

    def _write(self, now: float) -> bool:
        before = self.bytes
        try:
            while self._kept:
                count = self._leave_out() or os.write(self._file, self._kept)
                newline = self._kept.rfind(b"\n", 0, count)
                self._line_bytes = count - newline - 1 if newline >= 0 else self._line_bytes + count
                self.bytes += count
                self._kept = self._kept[count:]
        except OSError as exc:
            self._full_since = self._full_since if self._full_since is not None else now
            self._retry_at = now + RETRY_S
            if exc.errno not in _FULL or now - self._full_since >= limits.STORE_WAIT_S:
                self.failure = f"{self.path} cannot be written: {exc.strerror}"
        else:
            self._full_since = self._retry_at = None
        return self.bytes > before

    def _leave_out(self) -> int:
        """Make a hole for what only adds to a line that is too long already; return how many bytes those are.

        Whoever reads it counts them and sees no newline, as he would have: the line is REJECTED with its length.
        """
        if self._line_bytes <= limits.LINE_BYTES_MAX:
            return 0
        newline = self._kept.find(b"\n")
        count = len(self._kept) if newline < 0 else newline
        if count:
            os.ftruncate(self._file, self.bytes + count)
            os.lseek(self._file, self.bytes + count, os.SEEK_SET)
        return count

    def remove(self) -> None:
        """Remove the copy: all of it is in the database."""
        with contextlib.suppress(FileNotFoundError):  # whoever asked for --restart in this moment did
            os.unlink(self.path)


class KeptSpool:
    """The copy that a run left which is continued: nothing is added to it any more.

    Args:
        path: The copy.
        size: Up to where it may be read.

    """

    source = None
    retry_at = None
    failure = ""
    eof = True

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.bytes = size

    def scheduler_read(self, read_bytes: int, kept_bytes: int) -> None:
        """Do nothing: there is nobody who could be made to wait, and it does not grow."""

    def pump(self, now: float, stopped: Callable[[], bool]) -> bool:  # noqa: ARG002
        """Do nothing: there is nothing to copy."""
        return False

    def remove(self) -> None:
        """Remove the copy: all of it is in the database."""
        with contextlib.suppress(FileNotFoundError):  # whoever asked for --restart in this moment did
            os.unlink(self.path)
