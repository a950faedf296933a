"""`-k` and `--group-output`: the output of a task is kept on disk until it can be printed as a whole, by hs-cluster.

    task ──▶ pipe of its slot and stream ──▶ memory, at most `_PART_BYTES` ──▶ spool file ──▶ hs-cluster
                                                   on another host: └──▶ stdout ──▶ spool file there

The pipes stay open from task to task, so nothing here ever waits for an end of file: what a task left in the background may go
on writing, and is taken for the next task's. A spool that cannot be written fails the task: its output is lost.
"""

import contextlib
import os
import select
from typing import Protocol

from hs_common import limits
from hs_common.tasks import Task
from hs_worker.events import Output
from hs_worker.output.outputs import Actions
from hs_worker.output.spool_file import HEAD_BYTES, SUFFIX, Record, pack_head
from hs_worker.output.streams import Stream, Valve

_READ_BYTES = 64 * limits.KIB
_PIPE_READS = 2
"""A pipe holds 64 KiB."""
_PART_BYTES = 256 * limits.KIB
"""Of one slot in memory; then they are written as a part."""
_LOST = Output(b"", b"", whole=False)


class Writer(Protocol):
    """Writes a spool."""

    def write(self, row: int, earlier: int, out: bytes, err: bytes, dispatch: int = 0) -> int:
        """Write a record; return its offset + 1.

        Raises:
            OSError: It cannot be written; the spool is as before.

        """


class SpoolWriter:
    """Writes whole records into a file, one after the other. What failed half way is written over."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, os.urandom(8).hex() + SUFFIX)
        self._fd = -1
        self._end = 0

    def write(self, row: int, earlier: int, out: bytes, err: bytes, dispatch: int = 0) -> int:
        """Write a record; return its offset + 1.

        Raises:
            OSError: It cannot be written; the file is as before.

        """
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        at = self._end
        record = pack_head(Record(row, earlier, len(out), len(err), dispatch)) + out + err
        written = os.pwrite(self._fd, record, at)
        while written < len(record):
            try:
                written += os.pwrite(self._fd, record[written:], at + written)
            except OSError:
                os.ftruncate(self._fd, at)
                raise
        self._end = at + HEAD_BYTES + len(out) + len(err)
        return at + 1


class SentWriter:
    """Lets somebody else write them, who gets the very bytes of the file in their order. `stream`: to him."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.end = 0
        """So many bytes there were up to now."""

    def write(self, row: int, earlier: int, out: bytes, err: bytes, dispatch: int = 0) -> int:
        """Queue a record; return its offset + 1."""
        at = self.end
        record = pack_head(Record(row, earlier, len(out), len(err), dispatch)) + out + err
        self.stream.queue += record
        self.end += len(record)
        return at + 1


class _Slot:
    """The pipes of a slot, and what its task said that is not in the spool yet."""

    __slots__ = ("buffers", "dispatch", "earlier", "goes_on", "lost", "read_fds", "row", "write_fds")

    def __init__(self) -> None:
        pipes = []
        for _ in range(2):
            try:
                # Both ends are closed on exec; the task gets its copy by a file action.
                pipes.append(os.pipe2(os.O_CLOEXEC))
            except OSError:
                for fd in (fd for pipe in pipes for fd in pipe):
                    os.close(fd)
                raise
        self.read_fds = (pipes[0][0], pipes[1][0])
        self.write_fds = (pipes[0][1], pipes[1][1])
        for fd in self.read_fds:
            # Only the reading end: the writing end's flags are the tasks' too.
            os.set_blocking(fd, False)
        self.buffers = (bytearray(), bytearray())
        self.row = 0
        self.dispatch = 0
        self.earlier = 0
        self.lost = False
        self.goes_on = False

    def read(self, stream: int) -> bool:
        """Take what is there; return whether there may be more."""
        try:
            part = os.read(self.read_fds[stream], _READ_BYTES)
        except BlockingIOError:
            return False
        self.buffers[stream].extend(part)
        return len(part) == _READ_BYTES


class Spooled:
    """The outputs of all slots.

    Args:
        poller: Waits for what tasks write.
        writer: Of the spool.
        wake_fd: Gets a byte when there is something to print; None: somebody else says so.

    """

    def __init__(self, poller: select.epoll, writer: Writer, wake_fd: int | None) -> None:
        self._writer = writer
        self._sent = writer if isinstance(writer, SentWriter) else None
        self._valve = Valve(poller, () if self._sent is None else (self._sent.stream,))
        self._wake_fd = wake_fd
        if wake_fd is not None:
            os.set_blocking(wake_fd, False)
        self._slots: dict[int, _Slot] = {}
        self._pipes: dict[int, tuple[_Slot, int]] = {}

    def begin(self, slot: int, task: Task) -> Actions:
        """Make ready for a task; return what posix_spawn has to do.

        Raises:
            OSError: The host has no more descriptors.

        """
        found = self._slots.get(slot)
        if found is None:
            found = self._slots[slot] = _Slot()
            for stream, fd in enumerate(found.read_fds):
                self._pipes[fd] = found, stream
                self._valve.add(fd)
        if (found.row, found.dispatch) != (task.row, task.dispatch):
            found.row, found.dispatch, found.earlier, found.lost = task.row, task.dispatch, 0, False
        return [(os.POSIX_SPAWN_DUP2, found.write_fds[0], 1), (os.POSIX_SPAWN_DUP2, found.write_fds[1], 2)]

    def drop(self, slot: int) -> None:
        """Write what was said while the template was expanded: it is all that the task says. The pipes are the next task's."""
        found = self._slots.get(slot)
        if found is not None and found.goes_on:
            found.goes_on = False
            self._end(found)

    def finish(self, slot: int, *, goes_on: bool = False) -> Output | None:
        """Write what the task said, to the last byte; return None, or what there is to wait for, or that some of it is lost.

        What was said while its template was expanded (`goes_on`) is the beginning of what the task says.
        """
        found = self._slots[slot]
        found.goes_on = goes_on
        for stream in range(2):
            # All that it wrote is in the pipe by now; what comes after that is somebody's in the background.
            for _ in range(_PIPE_READS):
                if not found.read(stream):
                    break
        if goes_on or not self._end(found):
            return None
        if self._sent is not None:
            return Output(b"", b"", whole=True, sent=self._sent.end)
        return _LOST if found.lost else None

    @property
    def full(self) -> bool:
        """Whether the reader does not keep up."""
        return self._valve.shut

    def owns(self, fd: int) -> bool:
        """Whether this descriptor is of ours."""
        return fd in self._pipes or self._valve.awaits(fd)

    def handle(self, fd: int) -> None:
        """Read or write what is ready."""
        if fd in self._pipes:
            slot, stream = self._pipes[fd]
            slot.read(stream)
            if len(slot.buffers[0]) + len(slot.buffers[1]) >= _PART_BYTES:
                self._write(slot, 0)
        else:
            self._valve.flush()

    def close(self, wait_ms: int) -> int:
        """Write out what is left, as far as the reader takes it within `wait_ms`; return how many bytes are still left."""
        self._valve.flush(wait_ms)
        return self._valve.waiting_bytes

    def _end(self, slot: _Slot) -> bool:
        """Write the last of what a task said; return whether it said anything."""
        if not (slot.earlier or slot.lost or slot.buffers[0] or slot.buffers[1]):
            return False
        self._write(slot, slot.row)
        if self._wake_fd is not None:
            with contextlib.suppress(OSError):  # it is full: then somebody is about to look, or nobody will
                os.write(self._wake_fd, b"\n")
        return True

    def _write(self, slot: _Slot, row: int) -> None:
        out, err = slot.buffers
        try:
            if not slot.lost:
                dispatch = slot.dispatch if row else 0
                slot.earlier = self._writer.write(row, slot.earlier, bytes(out), bytes(err), dispatch)
        except OSError:
            slot.lost = True
        out.clear()
        err.clear()
        self._valve.flush()
