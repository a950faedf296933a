"""Outputs of tasks through pipes: whole lines of one task are never cut by another's, nor by a progress line.

    task ──▶ pipe of its slot and stream ──▶ lines ──▶ our own stdout or stderr (`streams`)

The pipes stay open from task to task, so nothing here ever waits for an end of file: what a task left in the background may go
on writing.
"""

import os
import select

from hs_common import limits
from hs_common.tasks import Task
from hs_worker.output.outputs import Actions
from hs_worker.output.streams import Stream, Valve

_READ_BYTES = 64 * limits.KIB
_LINE_BYTES_MAX = 64 * limits.KIB
"""A longer line is passed on in parts."""
_PIPE_READS = 2
"""A pipe holds 64 KiB."""


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
    """The pipes of all slots; made when a slot is first used.

    Args:
        poller: Waits for what tasks write.
        stdout: Where their lines go.
        stderr: Likewise.

    """

    def __init__(self, poller: select.epoll, stdout: Stream, stderr: Stream) -> None:
        self._streams = (stdout, stderr)
        self._valve = Valve(poller, self._streams)
        self._slots: dict[int, tuple[_Pipe, _Pipe]] = {}
        self._pipes: dict[int, _Pipe] = {}

    def begin(self, slot: int, task: Task) -> Actions:
        """Return what posix_spawn must do so that a task of this slot writes into its pipes."""
        del task
        if slot not in self._slots:
            self._slots[slot] = (_Pipe(self._streams[0]), _Pipe(self._streams[1]))
            for pipe in self._slots[slot]:
                self._pipes[pipe.read_fd] = pipe
                self._valve.add(pipe.read_fd)
        stdout, stderr = self._slots[slot]
        return [(os.POSIX_SPAWN_DUP2, stdout.write_fd, 1), (os.POSIX_SPAWN_DUP2, stderr.write_fd, 2)]

    def drop(self, slot: int) -> None:
        """Do nothing: the pipes are the next task's."""

    @property
    def full(self) -> bool:
        """Whether the reader does not keep up."""
        return self._valve.shut

    def owns(self, fd: int) -> bool:
        """Whether this descriptor is of ours."""
        return fd in self._pipes or self._valve.awaits(fd)

    def handle(self, fd: int) -> None:
        """Read or write what is ready."""
        pipe = self._pipes.get(fd)
        if pipe is not None:
            pipe.read()
        self._valve.flush()

    def finish(self, slot: int, *, goes_on: bool = False) -> None:
        """The task of this slot ended: pass on what it wrote, to the last byte."""
        del goes_on
        for pipe in self._slots.get(slot, ()):
            # All that it wrote is in the pipe by now; what comes after that is somebody's in the background.
            for _ in range(_PIPE_READS):
                if not pipe.read():
                    break
            pipe.flush()
        self._valve.flush()

    def close(self, wait_ms: int) -> int:
        """Write out what is left, as far as the reader takes it within `wait_ms`; return how many bytes are still left."""
        for pipe in self._pipes.values():
            pipe.read()
            pipe.flush()
        # A task that was left in the background may go on: then the pipes are read no more.
        self._pipes.clear()
        for stream in self._streams:
            stream.write(wait_ms)
        return sum(stream.waiting_bytes for stream in self._streams)
