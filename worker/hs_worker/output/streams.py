"""Our own stdout and stderr, where tasks do not write there themselves: what waits for their reader, and who waits with it.

    pipes of tasks ──▶ queue ──▶ stdout or stderr

A reader that does not keep up fills the queue; then the pipes are not read, and the tasks wait, as at a terminal.
"""

import os
import select
from collections.abc import Sequence

from hs_common import limits
from hs_common.errors import StoppedError
from hs_worker.output.frames import DATA_BYTES_MAX, Kind, pack_frame

_QUEUE_BYTES_MAX = limits.MIB
"""Then the pipes are left full. One more read per pipe may come on top."""


class Stream:
    """One of our own streams, and what waits to be written to it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.queue = bytearray()
        self._begun = b""
        """Taken from the queue, and to be written next."""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    @property
    def full(self) -> bool:
        """Whether its reader does not keep up."""
        return len(self.queue) >= _QUEUE_BYTES_MAX

    @property
    def waits(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.queue or self._begun)

    @property
    def waiting_bytes(self) -> int:
        """How much there is to write."""
        return len(self.queue) + len(self._begun)

    def write(self, wait_ms: int = 0) -> None:
        """Write what the reader takes; wait for it at most `wait_ms`, and only before the first part.

        Raises:
            StoppedError: It cannot be written any more.

        """
        while self.waits and self._poll.poll(wait_ms):
            wait_ms = 0
            self._begun = self._begun or self._next()
            try:
                written = os.write(self.fd, self._begun)
            except OSError as exc:
                self.queue.clear()
                self._begun = b""
                self._on_failed(exc)
                return
            self._begun = self._begun[written:]

    def _on_failed(self, error: OSError) -> None:
        # What comes after this would be lost too: better that it does not run.
        raise StoppedError(f"the tasks' output cannot be written: {error.strerror}") from error

    def _next(self) -> bytes:
        """Take from the queue what a pipe that polls as writable takes without blocking."""
        part = bytes(self.queue[: select.PIPE_BUF])
        del self.queue[: select.PIPE_BUF]
        return part


class FramedStream(Stream):
    """One whose reader is told what it is that comes.

    Args:
        fd: Where to write.
        worker: The incarnation that begins.
        kind: Of all that it says.

    """

    def __init__(self, fd: int, worker: bytes, kind: Kind) -> None:
        super().__init__(fd)
        self._kind = kind
        self._begun = pack_frame(Kind.BEGIN, worker)

    def _on_failed(self, error: OSError) -> None:
        """Do nothing: the session is gone. The guardian hears of that as well, and lets us hand back what runs, and end."""

    def _next(self) -> bytes:
        part = bytes(self.queue[:DATA_BYTES_MAX])
        del self.queue[:DATA_BYTES_MAX]
        return pack_frame(self._kind, part)


class Valve:
    """Lets pipes of tasks be read as long as the streams keep up.

    Args:
        poller: Waits for both.
        streams: Where what is read goes.

    """

    def __init__(self, poller: select.epoll, streams: Sequence[Stream]) -> None:
        self._poller = poller
        self._streams = streams
        self._pipes: list[int] = []
        self.shut = False
        """Whether a stream is full, and the pipes are not read."""
        self._writing: set[int] = set()

    def add(self, pipe: int) -> None:
        """Take the reading end of one more."""
        self._pipes.append(pipe)
        if not self.shut:
            self._poller.register(pipe, select.EPOLLIN)

    def awaits(self, fd: int) -> bool:
        """Whether this is a stream whose reader is waited for."""
        return fd in self._writing

    @property
    def waiting_bytes(self) -> int:
        """How much waits for a reader."""
        return sum(stream.waiting_bytes for stream in self._streams)

    def flush(self, wait_ms: int = 0) -> None:
        """Write what is taken; open or shut, as that went.

        Raises:
            StoppedError: A stream cannot be written any more.

        """
        for stream in self._streams:
            stream.write(wait_ms)
            waited = stream.fd in self._writing
            if stream.waits and not waited:
                self._poller.register(stream.fd, select.EPOLLOUT)
                self._writing.add(stream.fd)
            elif waited and not stream.waits:
                self._poller.unregister(stream.fd)
                self._writing.remove(stream.fd)
        full = any(stream.full for stream in self._streams)
        if full == self.shut:
            return
        self.shut = full
        for fd in self._pipes:
            if full:
                self._poller.unregister(fd)
            else:
                self._poller.register(fd, select.EPOLLIN)
