"""Bytes of the daemons and their tasks on the way to our stdout and stderr, whole lines at a time.

    pipe ──Stream──▶ whole lines ──▶ Outlet ──▶ fd 1 or fd 2
                     a started line is kept until it is whole, so that a progress line never lands in the middle of one

Nothing here waits: an outlet takes what the other side takes now and keeps a bounded rest; its streams are not read while it
is full.
"""

import os
import select
from collections.abc import Callable

CHUNK_BYTES = 64 * 1024
"""Read at once from a pipe."""

WRITE_BYTES = select.PIPE_BUF
"""Written at once: what a pipe that polls writable takes without waiting."""

KEPT_BYTES_MAX = 1024 * 1024
"""Waiting in an outlet before its streams are not read any more; also the longest line that is kept until it is whole."""

_RULES = b" \t\r\n-=*_#."
"""Lines of these alone, such as mpirun draws below what it says, say nothing."""


class Outlet:
    """Our stdout or stderr, and what waits for it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = bytearray()
        self.failure = ""
        """Why nothing can be written there any more, or ""."""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    @property
    def waits(self) -> bool:
        """Whether something waits until the other side reads."""
        return bool(self._rest)

    @property
    def full(self) -> bool:
        """Whether nothing more should be put in for now."""
        return len(self._rest) >= KEPT_BYTES_MAX

    def write(self, text: bytes) -> None:
        """Write now, or as soon as the other side takes it."""
        if not self.failure:
            self._rest += text
            self.flush()

    def flush(self, wait_ms: int = 0) -> None:
        """Write what is taken without waiting; wait at most so long for each part of the rest."""
        while self._rest and self._poll.poll(wait_ms):
            try:
                del self._rest[: os.write(self.fd, self._rest[:WRITE_BYTES])]
            except BlockingIOError:
                return  # the user's own non-blocking stdout; it polls writable again
            except OSError as exc:
                # The reader is gone (`| head`), or the terminal is, or a disk is full.
                self.failure = exc.strerror or str(exc)
                self._rest.clear()


class Lines:
    """Cuts what comes into whole lines."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """Take where whole lines go."""
        self.words = ""
        """The last line that said something, as text."""
        self._write = write
        self._started = b""

    def take(self, chunk: bytes) -> None:
        """Pass on the lines that are whole now, and the rest if it is very long."""
        whole, newline, rest = (self._started + chunk).rpartition(b"\n")
        if len(rest) > KEPT_BYTES_MAX:
            whole, newline, rest = whole + newline + rest, b"", b""
        self._pass_on(whole + newline, rest)

    def end(self) -> None:
        """Pass on what was started."""
        self._pass_on(self._started, b"")

    def _pass_on(self, text: bytes, rest: bytes) -> None:
        self._started = rest
        if text:
            self._write(text)
            end = len(text.rstrip(_RULES))
            last = text[text.rfind(b"\n", 0, end) + 1 :].partition(b"\n")[0] if end else b""
            self.words = last.decode(errors="backslashreplace").strip() or self.words


class Stream:
    """One pipe from a daemon, cut into whole lines."""

    def __init__(self, fd: int, write: Callable[[bytes], None]) -> None:
        """Take the read end of the pipe, and where whole lines go."""
        self.fd = fd
        self._lines = Lines(write)

    @property
    def words(self) -> str:
        """The last line that said something, as text."""
        return self._lines.words

    def read(self) -> bool:
        """Read once; return False at the end of the pipe (it is closed then)."""
        try:
            chunk = os.read(self.fd, CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not chunk:
            self.close()
            return False
        self._lines.take(chunk)
        return True

    def close(self) -> None:
        """Pass on what was started, and read no more."""
        self._lines.end()
        os.close(self.fd)
