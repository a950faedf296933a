"""Processes as /proc tells of them: what descends from us, what belongs to a task, and how to end it all.

A process that leaves its task's group and session is still our descendant, for we are a subreaper, and has TASK_ID in its
environment; what clears even that is still the child of one that did not, or of ours at the end.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

_READ_BYTES = 1 << 20
_TREE_MAX = 100_000
"""Processes looked at in one go."""
_PASS_MS = 20
"""Between two passes of a sweep, unless a child ends earlier."""


class Process(NamedTuple):
    """One descendant."""

    pid: int
    parent: int
    group: int
    session: int


class Snapshot:
    """All that descends from one process, as it was at one moment. Zombies are left out."""

    def __init__(self, root: int) -> None:
        self.processes: list[Process] = []
        self._owned: dict[int | bytes, list[Process]] = {}
        """By pid, group, session and TASK_ID."""
        self._children: dict[int, list[Process]] = {}
        queue = list(_children(root))
        for pid in queue:
            if len(queue) < _TREE_MAX:
                queue.extend(_children(pid))
            process = _process(pid)
            if process is not None:
                self._add(process)

    def of_task(self, pid: int, task_id: bytes) -> list[Process]:
        """Return what belongs to the task whose first process is or was `pid`, each once."""
        queue = [*self._owned.get(pid, ()), *self._owned.get(task_id, ())]
        found: dict[int, Process] = {}
        for process in queue:
            if process.pid not in found:
                found[process.pid] = process
                queue.extend(self._children.get(process.pid, ()))
        return list(found.values())

    def _add(self, process: Process) -> None:
        self.processes.append(process)
        self._children.setdefault(process.parent, []).append(process)
        for key in {process.pid, process.group, process.session}:
            self._owned.setdefault(key, []).append(process)
        environment = b"\0" + _read(f"/proc/{process.pid}/environ")
        _, marker, rest = environment.partition(b"\0TASK_ID=")
        if marker:
            self._owned.setdefault(rest.partition(b"\0")[0], []).append(process)


def signal_all(processes: Iterable[Process], number: int) -> None:
    """Send a signal to each of them that is still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def sweep(deadline: float, clock: Callable[[], float]) -> bool:
    """Kill and reap all that descends from this process; return whether nothing is left by `deadline` (monotonic seconds).

    What forks faster than it is killed is caught in the next pass: at the end its orphans are our own children.
    """
    while True:
        signal_all(Snapshot(os.getpid()).processes, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        if clock() >= deadline:
            return False
        _wait_for_a_child(_PASS_MS)


def _wait_for_a_child(wait_ms: int) -> None:
    """Return when the first of our children has ended, or `wait_ms` have passed."""
    for pid in _children(os.getpid()):
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(wait_ms)
        finally:
            os.close(fd)
        return


def _children(pid: int) -> Iterator[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    if not _TELLS_CHILDREN:
        yield from _children_by_search(pid)
        return
    for thread in threads:
        yield from map(int, _read(f"/proc/{pid}/task/{thread}/children").split())


def _children_by_search(parent: int) -> Iterator[int]:
    """Ask every process for its parent: for kernels built without the list of children."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _process(int(name))) is not None and process.parent == parent:
            yield process.pid


def _process(pid: int) -> Process | None:
    stat = _read(f"/proc/{pid}/stat")
    # The name in parentheses may hold anything, parentheses too.
    fields = stat[stat.rfind(b")") + 2 :].split()
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]))


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)


_TELLS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
