"""Children that are no daemons of ours: what a daemon that died had started. We are a subreaper, so they come to us."""

import contextlib
import os
import select
import signal
from collections.abc import Callable

from hs_common.clock import monotonic
from hs_common.signals import SignalPipe
from hs_deploy.launchers.local import children

SWEEP_POLL_MS = 50
"""Between two looks at what is still dying; each death wakes us before."""


class Orphans:
    """Looks for them, and ends them when told.

    Args:
        kept: Children that we had before (an exec in a shell script, a process substitution): not ours to end.

    """

    def __init__(self, kept: set[int]) -> None:
        self._kept = kept
        self._awaited = self._killed = False

    def watch(self, *, kill: bool) -> None:
        """Look for them from now on, `kill`: and kill what is found."""
        self._awaited = True
        self._killed |= kill

    def gone(self, daemons: set[int]) -> bool:
        """Whether none is left, when that was asked for; said once. `daemons`: pids that are none."""
        if not self._awaited:
            return False
        left = children() - self._kept - daemons
        if self._killed:
            kill(left)
        if left:
            return False
        self._awaited = self._killed = False
        return True

    def sweep(self, signals: SignalPipe, reap: Callable[[], None], wait_s: float) -> None:
        """Leave no process behind; what is in an uninterruptible wait after `wait_s` ends with that, our signal is on its way."""
        until = monotonic() + wait_s
        poll = select.poll()
        poll.register(signals.fd, select.POLLIN)
        reap()
        while left := children() - self._kept:
            kill(left)
            if monotonic() > until:
                return
            poll.poll(SWEEP_POLL_MS)
            signals.drain()
            reap()


def kill(pids: set[int]) -> None:
    """Kill children of ours; they are not reaped yet, so the numbers are still theirs."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
