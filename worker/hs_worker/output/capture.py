"""`--capture`: what a task says goes into two files of its own.

    <folder>/<time, 17 minutes each>/<last byte of the id>/<id>.out  .err      0600; where that is there: <id>.<dispatch>.out

A dispatch never writes into the file of another one: that may still be writing somewhere, and may be the one that counts.
Our own descriptors are closed last, when the first process of the task has ended: NFS and quotas tell only then that not all
could be kept. What a task left in the background may write on.
"""

import contextlib
import os
from collections.abc import Callable

from hs_common import limits
from hs_common.tasks import Task
from hs_worker.environment import uuid_text
from hs_worker.events import Output
from hs_worker.output.outputs import Actions

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_TIME_DIGITS = 7
"""Of the id, hexadecimal: units of 2**20 ms."""
_NAME_BYTES_MAX = len("/0000000/00/00000000-0000-0000-0000-000000000000..out") + len(str(limits.DISPATCH_MAX))


class Capture:
    """The files of the tasks that run.

    Args:
        folder: Absolute; made when the first task starts.
        close: Closes a descriptor and tells what became of the last that was written.

    """

    def __init__(self, folder: bytes, close: Callable[[int], None] = os.close) -> None:
        self._folder = folder
        self._close = close
        self._open: dict[int, tuple[int, int, bytes, bytes]] = {}
        """slot -> (stdout, stderr, path, path)."""
        self._last: dict[int, tuple[bytes, int, bytes, bytes]] = {}
        """slot -> (id, dispatch, path, path) of what it was opened for last."""

    @property
    def path_bytes_max(self) -> int:
        """The longest path."""
        return len(self._folder) + _NAME_BYTES_MAX

    def begin(self, slot: int, task: Task) -> Actions:
        """Make the two files of a task; return what posix_spawn has to do.

        Raises:
            OSError: They cannot be made.

        """
        last = self._last.get(slot)
        if last is not None and last[:2] == (task.uid, task.dispatch):
            # First its template was expanded, by a process of its own; now it runs.
            return self._use(slot, *last[2:], _append)
        name = uuid_text(task.uid)
        stem = b"/".join((self._folder, task.uid.hex()[:_TIME_DIGITS].encode(), name[-2:], name))
        try:
            actions = self._use(slot, stem + b".out", stem + b".err", _create)
        except FileExistsError:
            stem += b".%d" % task.dispatch
            actions = self._use(slot, stem + b".out", stem + b".err", _create)
        self._last[slot] = (task.uid, task.dispatch, stem + b".out", stem + b".err")
        return actions

    def drop(self, slot: int) -> None:
        """Remove the files of a task that was never started."""
        for path in self._end(slot)[:2]:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def finish(self, slot: int, *, goes_on: bool = False) -> Output:
        """Close our descriptors; return the paths, and whether all that was written is there."""
        del goes_on
        return self._end(slot)

    def _use(self, slot: int, outpath: bytes, errpath: bytes, open_: Callable[[bytes], int]) -> Actions:
        out = open_(outpath)
        try:
            err = open_(errpath)
        except OSError:
            os.close(out)
            if open_ is _create:
                os.unlink(outpath)
            raise
        self._open[slot] = (out, err, outpath, errpath)
        return [(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]

    def _end(self, slot: int) -> Output:
        out, err, outpath, errpath = self._open.pop(slot)
        whole = True
        for fd in (out, err):
            try:
                self._close(fd)
            except OSError:
                whole = False
        return Output(outpath, errpath, whole)


def _create(path: bytes) -> int:
    try:
        return os.open(path, _FLAGS, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, _FLAGS, 0o600)


def _append(path: bytes) -> int:
    return os.open(path, _FLAGS & ~os.O_EXCL, 0o600)
