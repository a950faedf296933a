"""How the daemons leave at the end of all: who is let go, who goes last, and how long that may take. No IO.

all are let go ──all gone──▶ over
│  ▲     └── too slow ──▶ killed ──all gone, or nobody can end them──▶ over
▼  └── it has ended, or the user gives its outputs up
where outputs come over a network, and the run ends in order, the worker has its time: who holds the workers decides that
"""

import signal

from hs_deploy.daemons import STATUS_STOPPED, Daemon, how_it_ended
from hs_deploy.supervision.events import DaemonEnded, Effect, KillAll, LetFinish, Release, Say, Tell
from hs_deploy.supervision.verdict import Verdict

LEAVE_S = 2.0
"""How long the daemons may take to end after their lifelines closed; then they are killed. Source: the daemons' promise."""

LEAVE_REMOTE_S = 10.0
"""The same where somebody else has started the workers, and is given time to end them. Source: `launchers.fleet_core`."""

CLOSE_S = 30.0
"""How long a scheduler that has reported the end may take to close its database (a checkpoint of all that was written)."""

KILLED_S = 2.0
"""How long killed processes are waited for: only one in an uninterruptible wait takes longer, and nobody can end that."""


class Leaving:
    """Of one run. Instants are monotonic seconds.

    Args:
        alive: The daemons that are; whoever starts them and sees them end keeps it up to date.
        verdict: How the run ends.
        leave_s: How long the daemons may take to end after their lifelines closed.
        awaits_outputs: Whether outputs may be on their way to who holds the workers.

    """

    def __init__(self, alive: set[Daemon], verdict: Verdict, *, leave_s: float, awaits_outputs: bool) -> None:
        self._alive = alive
        self._verdict = verdict
        self._leave_s = leave_s
        self._awaits_outputs = awaits_outputs
        self.due_at: float | None = None
        """When to call `hurry`."""
        self.over = False
        """Whether nobody is waited for any more."""
        self._finishing = False
        """Whether outputs are waited for."""
        self._patience_said = False
        self._killed = False

    def begin(self, now: float, *, in_order: bool, closing: bool) -> list[Effect]:
        """Let them go; also those that were asked to finish, where the run cannot go on in order after all.

        Args:
            now: Monotonic seconds.
            in_order: Whether outputs that are on their way are still of use.
            closing: Whether the scheduler has ended the run, and closes its database.

        """
        self._finishing = in_order and self._awaits_outputs and Daemon.WORKER in self._alive
        self.due_at = now + (CLOSE_S if closing and Daemon.SCHEDULER in self._alive else self._leave_s)
        released = [
            LetFinish(daemon) if daemon is Daemon.WORKER and self._finishing else Release(daemon)
            for daemon in Daemon
            if daemon in self._alive
        ]
        return [*released, *self._look()]

    def ended(self, ended: DaemonEnded, now: float) -> list[Effect]:
        """One of them is not alive any more."""
        if ended.daemon is Daemon.WORKER and self._finishing:
            self._on_finished(ended, now)
        elif ended.daemon is Daemon.SCHEDULER and not self._killed:
            self.due_at = now + self._leave_s
        return self._look()

    def interrupted(self, now: float, *, again: bool) -> list[Effect]:
        """Take a signal of the user, who may have sent one before."""
        if not self._finishing:
            return []
        if not again:
            return [Say("waiting for outputs that are on their way; once more gives them up")]
        self._finishing, self.due_at = False, now + self._leave_s
        return [Say("giving up the outputs that are still on their way"), Release(Daemon.WORKER)]

    def hurry(self, now: float) -> list[Effect]:
        """It takes too long."""
        if self._finishing:
            self.due_at = now + self._leave_s
            said, self._patience_said = self._patience_said, True
            return [] if said else [Say("all tasks have ended; waiting for outputs that are on their way")]
        if self._killed:
            return self._end()
        self._killed, self.due_at = True, now + KILLED_S
        return [KillAll()]

    def stand_still(self, away_s: float) -> None:
        """Note that we saw nothing of what happened in these seconds."""
        self.due_at = None if self.due_at is None else self.due_at + away_s

    def _on_finished(self, ended: DaemonEnded, now: float) -> None:
        """All outputs are here, or given up."""
        self._finishing = False
        self.due_at = now + (CLOSE_S if Daemon.SCHEDULER in self._alive else self._leave_s)
        if ended.status:
            told = ended.words if ended.status == STATUS_STOPPED else ""
            lost = f"outputs may be lost: what held the workers {how_it_ended(ended.status, '')}"
            self._verdict.end(STATUS_STOPPED, told or lost)

    def _look(self) -> list[Effect]:
        """Tell the broker to go last: until then it carries the others' farewells."""
        if not self._alive:
            return self._end()
        if self._alive == {Daemon.BROKER}:
            return [Tell(Daemon.BROKER, signal.SIGTERM)]
        return []

    def _end(self) -> list[Effect]:
        self.over, self.due_at = True, None
        return [self._verdict.finish()]
