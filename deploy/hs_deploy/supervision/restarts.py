"""Who is started again, how often, and when: ten times without a task finished in between, each later than the one before.

died ──▶ due, after a pause ──ready──▶ started
└─ a worker: not before nothing is left of what the one before had started
"""

from hs_common import limits
from hs_deploy.daemons import Daemon, how_it_ended
from hs_deploy.supervision.events import DaemonEnded

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 0.5
"""Before the second restart without progress, doubling: a host that is out of something gets a moment; the first is at once."""

GIVEN_UP_MAX = 1
"""Guardians that end by themselves with no task finished in between: each has spent its own restarts before."""

SWEEP_S = 2.0
"""How long the worker of a dead guardian may take to stop its tasks and hand them back, before it is killed."""


class Restarts:
    """Counts deaths since the last task that finished. Instants are monotonic seconds."""

    def __init__(self) -> None:
        self._counts: dict[Daemon, int] = dict.fromkeys(Daemon, 0)
        self._given_up = 0
        self._due: dict[Daemon, float] = {}
        self._sweeping = False
        """Whether orphans of a dead guardian are waited for."""
        self._sweep_by: float | None = None

    def progressed(self) -> None:
        """Note that a task has finished: restarting helps."""
        self._counts = dict.fromkeys(Daemon, 0)
        self._given_up = 0

    def died(self, ended: DaemonEnded, now: float) -> bool:
        """Count a death; return whether the daemon is to be started again, when it is `ready`."""
        daemon = ended.daemon
        self._counts[daemon] += 1
        count = self._counts[daemon]
        if daemon is Daemon.WORKER:
            self._given_up += ended.status == 0
            self._sweeping, self._sweep_by = True, now + SWEEP_S
        if count > limits.RESTARTS_MAX or self._given_up > GIVEN_UP_MAX:
            return False
        self._due[daemon] = now + (0.0 if count == 1 else min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (count - 2)))
        return True

    def swept(self) -> None:
        """Note that nothing is left of what a dead guardian had started."""
        self._sweeping, self._sweep_by = False, None

    def sweeps_too_long(self, now: float) -> bool:
        """Return, once, whether what a dead guardian had started has had its time."""
        if self._sweep_by is None or now < self._sweep_by:
            return False
        self._sweep_by = None
        return True

    def ready(self, now: float) -> list[Daemon]:
        """Return who is to be started now; they are due no more."""
        found = [daemon for daemon, at in self._due.items() if at <= now and not self._waits(daemon)]
        for daemon in found:
            del self._due[daemon]
        return found

    def call_off(self, daemon: Daemon) -> None:
        """Start this one no more."""
        self._due.pop(daemon, None)

    def call_all_off(self) -> None:
        """Start nobody any more, and wait for nobody's orphans."""
        self._due.clear()
        self.swept()

    def stand_still(self, away_s: float) -> None:
        """Note that we saw nothing of what happened in these seconds."""
        self._due = {daemon: at + away_s for daemon, at in self._due.items()}
        self._sweep_by = None if self._sweep_by is None else self._sweep_by + away_s

    def deadlines(self) -> list[float]:
        """Return when to look at `ready` and `sweeps_too_long` again."""
        found = [at for daemon, at in self._due.items() if not self._waits(daemon)]
        return found if self._sweep_by is None else [*found, self._sweep_by]

    def reason(self, ended: DaemonEnded) -> str:
        """Say why this daemon is not started any more."""
        count = self._counts[ended.daemon]
        return f"{ended.daemon} ended {count} times with no task finished in between; the last time it {end_of(ended)}"

    def check(self, alive: set[Daemon], *, leaving: bool) -> None:
        """Assert that nobody is due who is alive, or at the end, or was counted beyond the death that was one too many."""
        assert all(count <= limits.RESTARTS_MAX + 1 for count in self._counts.values()), self._counts
        assert not (leaving and self._due), self._due
        assert not (alive & self._due.keys()), (alive, self._due)

    def _waits(self, daemon: Daemon) -> bool:
        return daemon is Daemon.WORKER and self._sweeping


def end_of(ended: DaemonEnded) -> str:
    """Say how it ended, with its last words if there were any."""
    return how_it_ended(ended.status, ended.words)
