"""Live processes as /proc shows them: who descends from whom, which daemon is which, and waiting for an end."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import AnyStr, NamedTuple

POLL_S = 0.005
"""Between two looks at a condition that nothing announces."""

PATIENCE_S = 60.0
"""For what must happen: a machine that has much else to do may take long, and waiting costs only the test that fails."""


class Process(NamedTuple):
    """One process for good: a pid alone may be used again."""

    pid: int
    started: int
    """Clock ticks since boot."""


def identify(pid: int) -> Process | None:
    """Return the process behind a pid, or None when it is gone or a zombie."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        if fields[0] not in (b"Z", b"X"):
            return Process(pid, int(fields[19]))
    return None


def state(pid: int) -> str:
    """Return how the kernel has it: S, R, T (stopped); "" when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """Return the direct children of a process, those of all its threads."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found.extend(int(child) for child in file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Return everything below a process, parents before children."""
    found = children(pid)
    for child in found:  # grows while it is walked
        found.extend(children(child))
    return found


def command_line(pid: int) -> str:
    """Return what `ps` shows, blanks between the arguments; "" when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return ""


def name_of(pid: int) -> str:
    """Return what a process calls itself, at most 15 bytes of it; "" when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as file:
        return file.read().strip()
    return ""


def environment_has(pid: int, entry: bytes) -> bool:
    """Return whether a process was started with this NAME=value (False also where we may not look)."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return entry in file.read().split(b"\0")
    return False


def everyone() -> list[int]:
    """Return all pids of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def daemon(cluster: int, name: str) -> int | None:
    """Return the pid of a daemon of a running hs-cluster, or None while there is none.

    `name`: broker, scheduler, guardian (the hs-worker that hs-cluster started) or worker (the one that the guardian forked).
    """
    if name == "worker":
        guardian = daemon(cluster, "guardian")
        return next(iter(children(guardian)), None) if guardian else None
    program = "hs-worker" if name == "guardian" else f"hs-{name}"
    return next((pid for pid in children(cluster) if name_of(pid) == program), None)


def kill(pid: int, signum: int = signal.SIGKILL) -> bool:
    """Send a signal; whether the process was still there."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def ended_within(pid: int, seconds: float = PATIENCE_S) -> bool:
    """Wait for the end of a process (ours or not), at most so long; whether it came."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()  # not select: its numbers end at 1,023
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reaped(process: "subprocess.Popen[AnyStr]") -> Iterator["subprocess.Popen[AnyStr]"]:
    """Give a program that was just started; at the end it is killed, unless it has ended, and its pipes are closed.

    A test that fails meanwhile leaves nothing to the next one in its process, which would be blamed for it.
    """
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                # What was to be written and was not goes nowhere.
                with contextlib.suppress(OSError):
                    pipe.close()


def until(condition: Callable[[], object], seconds: float = PATIENCE_S, poll_s: float = POLL_S) -> bool:
    """Wait for a condition, at most so long; whether it came."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        select.select([], [], [], poll_s)
    return True


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    """Return a size from /proc/<pid>/status (VmRSS: now, VmHWM: the largest ever), 0 when it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0
