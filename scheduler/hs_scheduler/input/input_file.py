"""A file as input: opened, taken up again where it was left, and looked through for what would be refused."""

import os
import stat
from errno import EACCES
from typing import NamedTuple

from hs_common import limits
from hs_common.errors import RefusedError, StoppedError
from hs_scheduler.input.lines import BYTE_ORDER_MARK, TAG_WORD
from hs_scheduler.input.source import FileSource
from hs_scheduler.stores.locations import is_database
from hs_scheduler.stores.store import InputState
from hs_scheduler.tasks.tags import TagError, parse_tags, split_line

_LOOK_BYTES = 512 * limits.KIB
"""Looked through at once."""


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
    advice = "the run cannot go on with it" + ("" if grows else "; with --once its new lines are added")
    if (now.st_dev, now.st_ino) != (state.device, state.inode):
        raise StoppedError(f"input {state.path}: is another file now, {advice}")
    if now.st_size < state.size or (not grows and (now.st_size, now.st_mtime_ns) != (state.size, state.modified_ns)):
        raise StoppedError(f"input {state.path}: was changed after line {state.line} was read, {advice}")


def check_file(path: str) -> None:
    """Look for what would be refused in an input, before anything starts; a stream is not looked into.

    Raises:
        RefusedError: It cannot be read, is a database, or has a bad tag: file, line and tag.

    """
    if _is_fifo(path):
        # Not even opened: when we closed it, its writer would have lost its reader, and with it what it writes.
        if not os.access(path, os.R_OK):
            raise RefusedError(f"input {path}: {os.strerror(EACCES)}")
        return
    fd = _open(path)
    try:
        if not is_regular(fd):
            return
        # In one of ours there are lines that the shell would take for commands: those of tasks.
        if is_database(fd):
            raise RefusedError(f"input {path}: is a database, expected a file with one task per line")
        _check_tags(fd, path)
    except OSError as exc:
        raise RefusedError(f"input {path}: {exc.strerror}") from exc
    finally:
        os.close(fd)


def is_regular(fd: int) -> bool:
    """Whether a descriptor is a regular file: then it is read by offset."""
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _is_fifo(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False  # `_open` says why


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
    if os.pread(fd, len(BYTE_ORDER_MARK), 0) == BYTE_ORDER_MARK:
        os.lseek(fd, len(BYTE_ORDER_MARK), os.SEEK_SET)
    while chunk := os.read(fd, _LOOK_BYTES):
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
    position = text.find(TAG_WORD)
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
        position = text.find(TAG_WORD, end)
    return None


def _refusal(path: str, lines_before: int, error: TagError) -> RefusedError:
    return RefusedError(f"{path}, line {lines_before + 1}: bad tag {error}")
