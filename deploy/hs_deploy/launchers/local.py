"""Starting daemons on this machine: each a session of its own, its stdin a lifeline, nothing else inherited.

    hs-cluster ──lifeline (pipe)──▶ stdin of the daemon: one JSON document, then whatever it is told, then end of file

The write end of a lifeline is closed on exec, so it is ours alone: when hs-cluster dies, however it dies, every daemon sees
the end of file.
"""

import contextlib
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from hs_deploy.daemons import Daemon

FD_MIN = 16
"""Our own descriptors live above this, so that no number that a child expects is ever one of them."""

OUTBOX_BYTES_MAX = 4 * 1024 * 1024
"""Of what a daemon has not read from its lifeline yet; a document is at most a few hundred KiB."""

CHILD_REPORT_FD = 3
CHILD_INPUT_FD = 4
CHILD_ERRORS_FD = 5
"""Descriptors that a daemon finds open besides stdin, stdout and stderr, where its arguments name them."""


def program(daemon: Daemon) -> list[str]:
    """Return how to start it: the script beside ours, beside the interpreter, or the module."""
    for folder in (os.path.dirname(os.path.abspath(sys.argv[0])), os.path.dirname(sys.executable)):
        path = os.path.join(folder, daemon)
        if os.path.isfile(path):
            return [sys.executable, path]
    return [sys.executable, "-m", daemon.replace("-", "_")]


def pipe() -> tuple[int, int]:
    """Return (read end, write end), both closed on exec and out of the way of a child's numbers."""
    low = os.pipe2(os.O_CLOEXEC)
    try:
        read_end = copy_out_of_the_way(low[0])
        try:
            return read_end, copy_out_of_the_way(low[1])
        except OSError:
            os.close(read_end)
            raise
    finally:
        for fd in low:
            os.close(fd)


def copy_out_of_the_way(fd: int) -> int:
    """Copy a descriptor above the numbers that children expect, closed on exec."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FD_MIN)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        # So few are allowed that there is no such number.
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from exc


def out_of_the_way(fd: int) -> int:
    """Move a descriptor of ours there."""
    moved = copy_out_of_the_way(fd)
    os.close(fd)
    return moved


FINISH = b"stop"
"""Line on the lifeline of a worker, or of who holds workers elsewhere: the run has ended, but not what the tasks said."""


class Process:
    """A running daemon and the write end of its lifeline."""

    def __init__(self, daemon: Daemon, pid: int, lifeline: int) -> None:
        self.daemon = daemon
        self.pid = pid
        self._lifeline = lifeline
        self._outbox = bytearray()
        os.set_blocking(lifeline, False)

    @property
    def waits_to_write(self) -> int | None:
        """The descriptor to poll for writing, where something waits."""
        return self._lifeline if self._outbox and self._lifeline >= 0 else None

    @property
    def idle(self) -> bool:
        """Whether all that it was told has been taken by the pipe."""
        return not self._outbox

    def tell(self, line: bytes) -> None:
        """Write a line to its stdin, as soon as the pipe takes it."""
        if self._lifeline >= 0 and len(self._outbox) + len(line) <= OUTBOX_BYTES_MAX:
            self._outbox += line
            self.flush()

    def flush(self) -> None:
        """Write what waits, as far as the pipe takes it."""
        with contextlib.suppress(BlockingIOError):
            while self._outbox and self._lifeline >= 0:
                try:
                    del self._outbox[: os.write(self._lifeline, self._outbox)]
                except BrokenPipeError:
                    # It has closed its stdin or is gone; its end is told by SIGCHLD.
                    self._outbox.clear()

    def release(self) -> None:
        """Close the lifeline: the daemon ends what it started, and itself."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
            self._outbox.clear()

    def signal(self, signum: int) -> None:
        """Send it a signal. It is our child and not reaped, so the number is still its."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)


def start(daemon: Daemon, argv: Sequence[str], descriptors: Mapping[int, int], environ: Mapping[str, str]) -> Process:
    """Start a daemon. `descriptors`: number in the child -> descriptor of ours, above `FD_MIN`; what is not named is closed.

    Raises:
        OSError: The program cannot be executed, or the host is out of processes.

    """
    lifeline_end, lifeline = pipe()
    actions = [(os.POSIX_SPAWN_DUP2, lifeline_end, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, ours, number) for number, ours in descriptors.items()]
    defaults = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGUSR1, signal.SIGTERM]
    if daemon is not Daemon.WORKER:
        # Only hs-cluster speaks to it. A worker keeps what the user's shell ignores, for its tasks inherit that.
        defaults.append(signal.SIGINT)
    # Blocked until it can reopen its log: before that, SIGUSR2 would end it. And until it can pause: SIGTSTP would be lost.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, []) | {signal.SIGUSR2}
    if daemon is Daemon.WORKER:
        blocked.add(signal.SIGTSTP)
    try:
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            environ,
            file_actions=actions,
            setsid=True,
            setsigmask=blocked,
            setsigdef=defaults,
        )
    except OSError:
        os.close(lifeline)
        raise
    finally:
        os.close(lifeline_end)
    return Process(daemon, pid, lifeline)


def children() -> set[int]:
    """Return the pids of all children of this process, zombies among them."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return {int(word) for word in file.read().split()}
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return {child for child in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _parent(child) == pid}


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return 0
