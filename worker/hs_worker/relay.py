"""Outputs of tasks through pipes: whole lines of one task are never cut by another's, nor by a progress line.

    task ──▶ pipe of its slot and stream ──▶ lines ──▶ queue ──▶ our own stdout or stderr

The pipes stay open from task to task, so nothing here ever waits for an end of file: what a task left in the background may go
on writing. A reader that does not keep up fills the queue; then the pipes are not read, and the tasks wait, as at a terminal.
"""

import os
import select

from hs_common import limits
from hs_common.errors import StoppedError
from hs_common.tasks import Task
from hs_worker.outputs import Actions

_READ_BYTES = 64 * limits.KIB
_LINE_BYTES_MAX = 64 * limits.KIB
"""A longer line is passed on in parts."""
_QUEUE_BYTES_MAX = limits.MIB
"""Then the pipes are left full. One more read per pipe may come on top."""
_PIPE_READS = 2
"""A pipe holds 64 KiB."""
_WRITE_BYTES = 4096
"""A pipe that polls as writable takes so many without blocking (PIPE_BUF)."""


class Stream:
    """One of our own streams, and what waits to be written to it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.queue = bytearray()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    @property
    def full(self) -> bool:
        """Whether its reader does not keep up."""
        return len(self.queue) >= _QUEUE_BYTES_MAX

    def write(self, wait_ms: int = 0) -> None:
        """Write what the reader takes without making us wait longer than `wait_ms` for each part.

        Raises:
            StoppedError: It cannot be written any more.

        """
        while self.queue and self._poll.poll(wait_ms):
            try:
                written = os.write(self.fd, self.queue[:_WRITE_BYTES])
            except OSError as exc:
                # What comes after this would be lost too: better that it does not run.
                self.queue.clear()
                raise StoppedError(f"the tasks' output cannot be written: {exc.strerror}") from exc
            del self.queue[:written]


class _Pipe:
    """Between the tasks of one slot and a stream."""

    __slots__ = ("partial", "read_fd", "stream", "write_fd")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        # Both ends are closed on exec; the task gets its copy by a file action.
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        # Only the reading end: the writing end's flags are the tasks' too.
        os.set_blocking(self.read_fd, False)
        self.partial = b""

    def read(self) -> bool:
        """Pass on the lines that are there; return whether there may be more."""
        try:
            part = os.read(self.read_fd, _READ_BYTES)
        except BlockingIOError:
            return False
        lines, newline, rest = (self.partial + part).rpartition(b"\n")
        self.stream.queue += lines + newline
        self.partial = rest
        if len(rest) > _LINE_BYTES_MAX:
            self.flush()
        return len(part) == _READ_BYTES

    def flush(self) -> None:
        """Pass on what came without a newline."""
        self.stream.queue += self.partial
        self.partial = b""


class Relay:
    """The pipes of all slots; made when a slot is first used."""

    def __init__(self, poller: select.epoll, stdout_fd: int = 1, stderr_fd: int = 2) -> None:
        self._poller = poller
        self._streams = (Stream(stdout_fd), Stream(stderr_fd))
        self._slots: dict[int, tuple[_Pipe, _Pipe]] = {}
        self._pipes: dict[int, _Pipe] = {}
        self._paused = False
        self._writing: set[int] = set()

    def begin(self, slot: int, task: Task) -> Actions:
        """Return what posix_spawn must do so that a task of this slot writes into its pipes."""
        del task
        if slot not in self._slots:
            self._slots[slot] = (_Pipe(self._streams[0]), _Pipe(self._streams[1]))
            for pipe in self._slots[slot]:
                self._pipes[pipe.read_fd] = pipe
                if not self._paused:
                    self._poller.register(pipe.read_fd, select.EPOLLIN)
        stdout, stderr = self._slots[slot]
        return [(os.POSIX_SPAWN_DUP2, stdout.write_fd, 1), (os.POSIX_SPAWN_DUP2, stderr.write_fd, 2)]

    def drop(self, slot: int) -> None:
        """Do nothing: the pipes are the next task's."""

    def owns(self, fd: int) -> bool:
        """Whether this descriptor is of ours."""
        return fd in self._pipes or fd in self._writing

    def handle(self, fd: int) -> None:
        """Read or write what is ready."""
        pipe = self._pipes.get(fd)
        if pipe is not None:
            pipe.read()
        self._write()

    def finish(self, slot: int) -> None:
        """The task of this slot ended: pass on what it wrote, to the last byte."""
        for pipe in self._slots.get(slot, ()):
            # All that it wrote is in the pipe by now; what comes after that is somebody's in the background.
            for _ in range(_PIPE_READS):
                if not pipe.read():
                    break
            pipe.flush()
        self._write()

    def close(self, wait_ms: int) -> None:
        """Write out what is left, as long as the reader takes something every `wait_ms`."""
        for pipe in self._pipes.values():
            pipe.read()
            pipe.flush()
        for stream in self._streams:
            stream.write(wait_ms)

    def _write(self) -> None:
        for stream in self._streams:
            stream.write()
            waits = stream.fd in self._writing
            if stream.queue and not waits:
                self._poller.register(stream.fd, select.EPOLLOUT)
                self._writing.add(stream.fd)
            elif not stream.queue and waits:
                self._poller.unregister(stream.fd)
                self._writing.remove(stream.fd)
        full = any(stream.full for stream in self._streams)
        if full == self._paused:
            return
        self._paused = full
        for fd in self._pipes:
            if full:
                self._poller.unregister(fd)
            else:
                self._poller.register(fd, select.EPOLLIN)
