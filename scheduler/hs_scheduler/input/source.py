"""The input: task lines out of a file, a growing spool or a pipe, as bytes.

    fd ──▶ Lines ──▶ NewTask, NewTask, ...     offset and line: what has been handed out

A file is read by offset with pread, so what was handed out is a number that the store commits together with the lines. Nothing is
buffered beyond a chunk and one line.
"""

import os
import select
from abc import ABC, abstractmethod

from hs_common import limits
from hs_common.errors import StoppedError
from hs_scheduler.input.lines import Lines
from hs_scheduler.stores.store import InputState, NewTask
from hs_scheduler.tasks.tags import Tags

CHUNK_BYTES = 128 * limits.KIB
"""Of one read."""


class Source(ABC):
    """What both kinds have in common: lines are returned as they become whole, and counted."""

    def __init__(self, fd: int, path: str, lines: Lines) -> None:
        self.fd = fd
        self.path = path
        self._lines = lines

    @property
    def offset(self) -> int:
        """Bytes that were returned as lines."""
        return self._lines.offset

    @property
    def position(self) -> int:
        """Bytes that were read, lines that are not whole yet included."""
        return self._lines.offset + self._lines.buffered

    @property
    def line(self) -> int:
        """Lines that were returned, comments included."""
        return self._lines.line

    @property
    def tags(self) -> Tags:
        """Global tags in force at `offset`."""
        return self._lines.tags

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether every line was returned and no more will come."""

    @abstractmethod
    def available(self) -> bool:
        """Whether `read` would find something without waiting for `fd` to become readable."""

    @abstractmethod
    def state(self) -> InputState | None:
        """Return what to commit together with the lines that were returned; None: they cannot be read again."""

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        """Return the tasks of the next complete lines; none: nothing more at this moment, or at all (`ended`).

        Raises:
            StoppedError: It cannot be read, or was changed under us.

        """
        tasks: list[NewTask] = []
        # Lines that are all comments give no task; going on then saves the caller from taking that for a pause.
        while not tasks and not self.ended:
            self._fill()
            here = self.line
            tasks = self._lines.take(lines_max, bytes_max)
            if self.line == here:
                break
        return tasks

    @abstractmethod
    def _fill(self) -> None:
        """Buffer at least one complete line if there is one."""


class FileSource(Source):
    """A regular file, or a spool that grows while it is read."""

    def __init__(
        self,
        fd: int,
        path: str,
        *,
        offset: int = 0,
        line: int = 0,
        tags: Tags = (),
        limit: int | None = None,
        grows: bool = False,
    ) -> None:
        """Read `fd` from `offset` on, up to `limit` bytes (None: the size that it has now); `grows`: `announce` raises that."""
        super().__init__(fd, path, Lines(offset, line, tags))
        self._stat = os.fstat(fd)
        self._limit = self._stat.st_size if limit is None else limit
        self._grows = grows
        self._fixed = not grows

    @property
    def ended(self) -> bool:
        """Whether every line was returned and no more will come."""
        return not self._grows and self._lines.offset >= self._limit

    def available(self) -> bool:
        """Whether `read` would find something now."""
        lines = self._lines
        return not self.ended and (not self._grows or lines.whole or lines.offset + lines.buffered < self._limit)

    def announce(self, bytes_: int, eof: bool) -> None:  # noqa: FBT001 - as it stands in the line that says so
        """Note that a spool now has so many bytes in all, and whether that is the end of it."""
        self._limit = max(self._limit, bytes_)
        self._grows = self._grows and not eof

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:  # noqa: D102
        if self._fixed:
            now = os.fstat(self.fd)
            if (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
                raise StoppedError(f"input {self.path}: was changed after {self.line} lines were read")
        return super().read(lines_max, bytes_max)

    def state(self) -> InputState:
        """Return what to commit together with the lines that were returned."""
        return InputState(
            path=self.path,
            device=self._stat.st_dev,
            inode=self._stat.st_ino,
            size=self._limit if self._grows else max(self._limit, self._stat.st_size),
            modified_ns=self._stat.st_mtime_ns,
            offset=self._lines.offset,
            line=self._lines.line,
            tags=self._lines.tags,
            ended=self.ended,
        )

    def _fill(self) -> None:
        """Buffer at least one complete line if there is one."""
        lines = self._lines
        while not lines.whole or lines.buffered < CHUNK_BYTES // 4:
            position = lines.offset + lines.buffered
            wanted = min(CHUNK_BYTES, self._limit - position)
            if wanted <= 0:
                if not self._grows:
                    lines.finish()
                return
            try:
                chunk = os.pread(self.fd, wanted, position)
            except OSError as exc:
                raise StoppedError(f"input {self.path}: {exc.strerror}") from exc
            if not chunk:
                raise StoppedError(f"input {self.path}: has {position} bytes now, it had {self._limit}")
            lines.feed(chunk)


class StreamSource(Source):
    """A pipe, a FIFO or a device, read as it comes."""

    def __init__(self, fd: int, tags: Tags = (), *, asks: bool = False) -> None:
        """Read `fd`, which stays as it is: making it non-blocking would reach its producer too (a terminal).

        `asks`: a last line without newline counts only once `accept` says so: its writer may have been ended within it.
        """
        super().__init__(fd, f"<descriptor {fd}>", Lines(tags=tags))
        self._asks = asks
        self._eof = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    @property
    def ended(self) -> bool:
        """Whether every line was returned and no more will come."""
        return self._eof and not self._lines.buffered

    @property
    def reads(self) -> bool:
        """Whether there is anything to wait for on `fd`."""
        return not self._eof

    @property
    def asking(self) -> bool:
        """Whether `accept` is waited for."""
        return self._asks and self._eof and bool(self._lines.buffered) and not self._lines.whole

    def accept(self) -> None:
        """Take the last line as it is."""
        self._asks = False
        if self._eof:
            self._lines.finish()

    def available(self) -> bool:
        """Whether `read` would find something although `fd` is not readable."""
        return self._lines.whole

    def state(self) -> None:
        """Return None: what was read from a stream cannot be read again."""

    def _fill(self) -> None:
        """Read until a complete line is buffered, or nothing more is there at this moment."""
        while not self._eof and not self._lines.whole and self._poll.poll(0):
            try:
                chunk = os.read(self.fd, CHUNK_BYTES)
            except BlockingIOError:
                return
            except OSError as exc:
                raise StoppedError(f"input: {exc.strerror}") from exc
            self._lines.feed(chunk)
            if not chunk:
                self._eof = True
                if not self._asks:
                    self._lines.finish()
