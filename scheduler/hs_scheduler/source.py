"""The input: task lines out of a file, a growing spool or a pipe, as bytes.

    fd ──▶ Lines (splits, judges, resolves tags) ──▶ NewTask, NewTask, ...     offset and line: what has been handed out

A file is read by offset with pread, so what was handed out is a number that the store commits together with the lines. Nothing is
buffered beyond a chunk and one line. Most lines hold no `#`: they pass in bulk, without a look at each.
"""

import os
import select
import stat
from typing import NamedTuple

from hs_common import limits
from hs_common.errors import RefusedError, StoppedError
from hs_scheduler.store import InputState, NewTask
from hs_scheduler.tags import TagError, Tags, merge, parse_tags, resolve, split_line

CHUNK_BYTES = 128 * limits.KIB
"""Of one read."""

PREVIEW_BYTES = limits.KIB
"""So much of a line that is too long is kept, to show which one it was."""

_MARK = b"HYPERSHELL"


class Lines:
    """Complete lines out of chunks of bytes; `offset`, `line` and `tags` are true for what `take` has returned."""

    def __init__(self, offset: int = 0, line: int = 0, tags: Tags = ()) -> None:
        self.offset = offset
        self.line = line
        self.tags = tags
        self._fields = resolve(tags)
        self._buffer = b""
        self._cut = 0
        """Bytes of the first line in the buffer that are no longer in it, for the line is too long."""
        self._lent = 0
        """1 when the last newline in the buffer is ours."""

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet returned as lines."""
        return len(self._buffer) + self._cut - self._lent

    @property
    def whole(self) -> bool:
        """Whether a complete line is there."""
        return b"\n" in self._buffer

    def feed(self, chunk: bytes) -> None:
        """Take more of the input."""
        self._buffer += chunk
        if len(self._buffer) > limits.LINE_BYTES_MAX and b"\n" not in self._buffer:
            # Too long, wherever it ends: its start shows which line it was, the rest is only counted.
            self._cut += len(self._buffer) - PREVIEW_BYTES
            self._buffer = self._buffer[:PREVIEW_BYTES]

    def finish(self) -> None:
        """Note that this was all: the last line counts without a newline too."""
        if self._buffer and not self._buffer.endswith(b"\n"):
            self._buffer += b"\n"
            self._lent = 1

    def take(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        """Return the tasks in the next complete lines: at most so many lines and bytes, but one line at least."""
        stop = self._buffer.rfind(b"\n", 0, bytes_max) + 1 or self._buffer.find(b"\n") + 1
        if not stop:
            return []
        block = self._buffer[:stop]
        lines = block.split(b"\n", lines_max)
        used = stop - len(lines.pop())
        tasks = self._tasks(lines, block)
        self._buffer = self._buffer[used:]
        self.offset += used + self._cut
        self.line += len(lines)
        self._cut = 0
        if not self._buffer:
            self.offset -= self._lent
            self._lent = 0
        return tasks

    def _tasks(self, lines: list[bytes], block: bytes) -> list[NewTask]:
        """Return the tasks among `lines`, which are the first ones of `block`."""
        if b"\r" in block:
            lines = [line.removesuffix(b"\r") for line in lines]
        if not (b"#" in block or b"\0" in block or self._cut or len(block) > limits.LINE_BYTES_MAX):
            detail, group, priority = self._fields
            return [NewTask(line, detail, group, priority, "") for line in lines if line and not line.isspace()]
        tasks = []
        for number, line in enumerate(lines):
            cut = self._cut if number == 0 else 0
            if b"#" in line or b"\0" in line or cut or len(line) > limits.LINE_BYTES_MAX:
                task = self._odd(line, cut)
                if task is not None:
                    tasks.append(task)
            elif line and not line.isspace():
                tasks.append(NewTask(line, *self._fields, ""))
        return tasks

    def _odd(self, line: bytes, cut: int) -> NewTask | None:
        """Return the task of a line that needs a look, None for a comment."""
        fields = self._fields
        if cut or len(line) > limits.LINE_BYTES_MAX:
            return NewTask(
                line[:PREVIEW_BYTES], *fields, f"line of {len(line) + cut} bytes, over {limits.LINE_BYTES_MAX}"
            )
        comment = line.lstrip().startswith(b"#")
        if _MARK in line:
            try:
                args, text = split_line(line)
                if text is not None:
                    own = merge(self.tags, parse_tags(text))
                    if not args:
                        self.tags, self._fields = own, resolve(own)
                        return None
                    if not comment:
                        line, fields = args, resolve(own)
            except TagError as exc:
                return NewTask(line, *fields, f"tag {exc}")
        if comment:
            return None
        return NewTask(line, *fields, "NUL in the line" if b"\0" in line else "")


class FileSource:
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
        self.fd = fd
        self.path = path
        self._lines = Lines(offset, line, tags)
        self._stat = os.fstat(fd)
        self._limit = self._stat.st_size if limit is None else limit
        self._grows = grows
        self._fixed = not grows

    @property
    def offset(self) -> int:
        """Bytes that were returned as lines."""
        return self._lines.offset

    @property
    def line(self) -> int:
        """Lines that were returned, comments included."""
        return self._lines.line

    @property
    def tags(self) -> Tags:
        """Global tags in force at `offset`."""
        return self._lines.tags

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

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        """Return the tasks of the next complete lines; none: nothing more at this moment, or at all (`ended`).

        Raises:
            StoppedError: The file changed under us, or cannot be read.

        """
        if self._fixed:
            now = os.fstat(self.fd)
            if (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns):
                raise StoppedError(f"input {self.path}: was changed after {self.line} lines were read")
        tasks: list[NewTask] = []
        # Lines that are all comments give no task; going on then saves the caller from taking that for a pause.
        while not tasks and not self.ended:
            self._fill()
            here = self.line
            tasks = self._lines.take(lines_max, bytes_max)
            if self.line == here:
                break
        return tasks

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


class StreamSource:
    """A pipe, a FIFO or a device, read as it comes."""

    def __init__(self, fd: int, tags: Tags = ()) -> None:
        """Read `fd`, which stays as it is: making it non-blocking would reach its producer too (a terminal)."""
        self.fd = fd
        self.path = f"<descriptor {fd}>"
        self._lines = Lines(tags=tags)
        self._eof = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    @property
    def offset(self) -> int:
        """Bytes that were returned as lines."""
        return self._lines.offset

    @property
    def line(self) -> int:
        """Lines that were returned, comments included."""
        return self._lines.line

    @property
    def tags(self) -> Tags:
        """Global tags in force at `offset`."""
        return self._lines.tags

    @property
    def ended(self) -> bool:
        """Whether every line was returned and no more will come."""
        return self._eof and not self._lines.buffered

    def available(self) -> bool:
        """Whether `read` would find something although `fd` is not readable."""
        return self._lines.whole

    def state(self) -> None:
        """Return None: what was read from a stream cannot be read again."""

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        """Return the tasks of the lines that are there; none: wait until `fd` is readable, unless `ended`.

        Raises:
            StoppedError: It cannot be read.

        """
        tasks: list[NewTask] = []
        while not tasks and not self.ended:
            self._fill()
            here = self.line
            tasks = self._lines.take(lines_max, bytes_max)
            if self.line == here:
                break
        return tasks

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
                self._lines.finish()


class _Found(NamedTuple):
    position: int
    error: TagError


def open_file(path: str) -> FileSource:
    """Open a regular file as input, as long as it is now.

    Raises:
        RefusedError: It cannot be read, or is no regular file.

    """
    fd = _open(path)
    if not is_regular(fd):
        os.close(fd)
        raise RefusedError(f"input {path}: is no regular file")
    return FileSource(fd, path)


def resume(state: InputState, *, grows: bool) -> FileSource:
    """Open the input of a run that is continued, where it was left.

    Raises:
        StoppedError: It is gone, or not what it was.

    """
    try:
        fd = _open(state.path)
    except RefusedError as exc:
        raise StoppedError(str(exc)) from exc
    try:
        verify(fd, state, grows=grows)
    except StoppedError:
        os.close(fd)
        raise
    return FileSource(
        fd,
        state.path,
        offset=state.offset,
        line=state.line,
        tags=state.tags,
        # Of a spool only what is announced counts: its last bytes may be half a line that will never be whole.
        limit=state.offset if grows and not state.ended else state.size,
        grows=grows and not state.ended,
    )


def verify(fd: int, state: InputState, *, grows: bool) -> None:
    """Check that `fd` is the input that `state` speaks of, unchanged; a spool (`grows`) may have more bytes.

    Raises:
        StoppedError: It is another file, or was changed.

    """
    now = os.fstat(fd)
    if (now.st_dev, now.st_ino) != (state.device, state.inode):
        raise StoppedError(f"input {state.path}: is another file now, the run cannot go on with it")
    if now.st_size < state.size or (not grows and (now.st_size, now.st_mtime_ns) != (state.size, state.modified_ns)):
        raise StoppedError(
            f"input {state.path}: was changed after {state.line} lines were read, the run cannot go on with it"
        )


def check_file(path: str) -> None:
    """Look for what would be refused in an input, before anything starts; a stream is not looked into.

    Raises:
        RefusedError: It cannot be read, or has a bad tag: file, line and tag.

    """
    fd = _open(path)
    try:
        if not is_regular(fd):
            return
        _check_tags(fd, path)
    except OSError as exc:
        raise RefusedError(f"input {path}: {exc.strerror}") from exc
    finally:
        os.close(fd)


def is_regular(fd: int) -> bool:
    """Whether a descriptor is a regular file: then it is read by offset."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _open(path: str) -> int:
    try:
        # O_NONBLOCK: a FIFO that nobody writes to yet opens at once. It changes nothing for a regular file.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise RefusedError(f"input {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise RefusedError(f"input {path!r}: {exc}") from exc
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise RefusedError(f"input {path}: is a folder")
    return fd


def _check_tags(fd: int, path: str) -> None:
    lines = 0
    rest = b""
    while chunk := os.read(fd, 4 * CHUNK_BYTES):
        stop = chunk.rfind(b"\n") + 1
        if not stop:
            # The rest of a line that is too long is no place for tags: the line is REJECTED as a whole.
            rest = rest if len(rest) > limits.LINE_BYTES_MAX else rest + chunk
            continue
        text = rest + chunk[:stop]
        found = _bad_tag(text)
        if found:
            raise _refusal(path, lines + text.count(b"\n", 0, found.position), found.error)
        lines += text.count(b"\n")
        rest = chunk[stop:]
    found = _bad_tag(rest)
    if found:
        raise _refusal(path, lines, found.error)


def _bad_tag(text: bytes) -> _Found | None:
    """Return the first bad tag in complete lines; only lines with the word in them cost anything."""
    position = text.find(_MARK)
    while position >= 0:
        start = text.rfind(b"\n", 0, position) + 1
        end = text.find(b"\n", position)
        end = len(text) if end < 0 else end
        line = text[start:end].removesuffix(b"\r")
        try:
            if len(line) <= limits.LINE_BYTES_MAX and (tags := split_line(line)[1]) is not None:
                parse_tags(tags)
        except TagError as exc:
            return _Found(start, exc)
        position = text.find(_MARK, end)
    return None


def _refusal(path: str, lines_before: int, error: TagError) -> RefusedError:
    return RefusedError(f"{path}, line {lines_before + 1}: bad tag {error}")
