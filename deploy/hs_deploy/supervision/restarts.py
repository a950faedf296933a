"""How often a daemon is started again: ten times without a task finished in between, each a little later than the one before."""

from hs_common import limits
from hs_deploy.daemons import Daemon, how_it_ended
from hs_deploy.supervision.events import DaemonEnded

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 0.5
"""Before the second restart without progress, doubling: a host that is out of something gets a moment; the first is at once."""

GIVEN_UP_MAX = 1
"""Guardians that end by themselves with no task finished in between: each has spent its own restarts before."""


class Restarts:
    """Counts deaths since the last task that finished."""

    def __init__(self) -> None:
        self._counts: dict[Daemon, int] = dict.fromkeys(Daemon, 0)
        self._given_up = 0

    def progressed(self) -> None:
        """Note that a task has finished: restarting helps."""
        self._counts = dict.fromkeys(Daemon, 0)
        self._given_up = 0

    def died(self, ended: DaemonEnded) -> float | None:
        """Count a death; return in how many seconds the daemon is to be started again, None: no more."""
        daemon = ended.daemon
        self._counts[daemon] += 1
        count = self._counts[daemon]
        if daemon is Daemon.WORKER:
            self._given_up += ended.status == 0
        if count > limits.RESTARTS_MAX or self._given_up > GIVEN_UP_MAX:
            return None
        return 0.0 if count == 1 else min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (count - 2))

    def reason(self, ended: DaemonEnded) -> str:
        """Say why this daemon is not started any more."""
        count = self._counts[ended.daemon]
        return f"{ended.daemon} ended {count} times with no task finished in between; the last time it {end_of(ended)}"

    def check(self) -> None:
        """Assert that nobody is counted beyond the death that was one too many."""
        assert all(count <= limits.RESTARTS_MAX + 1 for count in self._counts.values()), self._counts


def end_of(ended: DaemonEnded) -> str:
    """Say how it ended, with its last words if there were any."""
    return how_it_ended(ended.status, ended.words)
