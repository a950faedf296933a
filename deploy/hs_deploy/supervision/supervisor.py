"""What hs-cluster decides while its daemons run: who is started again, who is told to stop, and how the run ends.

    RUNNING ──signal──▶ DRAINING ──signal──▶ STOPPING
       │ scheduler ended,   │ scheduler ended,   │ likewise, or too slow,
       │ or cannot go on    │ or worker gone     │ or a third signal
       └────────────────────┴────────────────────┴──▶ LEAVING ──all gone, or killed──▶ OVER

How they leave: `leaving`. Who is started again: `restarts`. What the user is told: `verdict`.

Rules, checked by `check`:
1. Nothing is started from LEAVING on.
2. A daemon that is due to start is not alive, and is at most `limits.RESTARTS_MAX` starts without progress old.
3. LEAVING lasts as long as somebody is alive, and knows when it is too long.
"""

import signal
from enum import Enum, auto

from hs_common import limits
from hs_deploy.daemons import STATUS_REFUSED, STATUS_STOPPED, STATUS_TIME_OVER, Daemon, how_it_ended
from hs_deploy.supervision.events import (
    AwaitOrphans,
    DaemonEnded,
    Effect,
    Event,
    Failed,
    HaltAsked,
    Interrupted,
    KillOrphans,
    OrphansGone,
    OutputLost,
    Progressed,
    Resumed,
    RunEnded,
    Say,
    StandStill,
    Start,
    Tell,
    Warn,
)
from hs_deploy.supervision.leaving import LEAVE_S, Leaving
from hs_deploy.supervision.restarts import Restarts, end_of
from hs_deploy.supervision.verdict import Verdict


class Phase(Enum):
    """Of the run; the picture is above."""

    RUNNING = auto()
    DRAINING = auto()
    STOPPING = auto()
    LEAVING = auto()
    OVER = auto()


PATIENCE_S = 2.0
"""How long the scheduler may take to end when what ran was lost, or to exit after its last report."""

DRAINED_S = 10.0
"""How long it may take when the worker has drained: it need only write down what it was told, but the machine may be busy."""


class SupervisorCore:
    """Decides; performs nothing. Instants are monotonic seconds."""

    def __init__(
        self, *, recorded: bool, signalwait_s: float, leave_s: float = LEAVE_S, awaits_outputs: bool = False
    ) -> None:
        """Take what this run is like.

        Args:
            recorded: Whether a database outlives the scheduler.
            signalwait_s: How long apart the worker's stop signals are.
            leave_s: How long the daemons may take to end after their lifelines closed.
            awaits_outputs: Whether, at the end, outputs may be on their way to who holds the workers.

        """
        self.phase = Phase.RUNNING
        self._recorded = recorded
        # SIGINT, SIGTERM and SIGKILL are two waits apart; what is over then will not end by itself.
        self._stop_s = 2 * signalwait_s + PATIENCE_S + limits.HEARTBEAT_S
        self._alive: set[Daemon] = set()
        self._restarts = Restarts()
        self._verdict = Verdict()
        self._leaving = Leaving(self._alive, self._verdict, leave_s=leave_s, awaits_outputs=awaits_outputs)
        self._finished = 0
        self._left = 0
        self._heard = False  # the present scheduler has reported, so its signal handlers stand
        self._told = False  # the present scheduler knows that it is to drain
        self._end: RunEnded | None = None
        self._phase_by: float | None = None
        self._drain_signum = 0  # by which the worker was told to drain

    def begin(self) -> list[Effect]:
        """Start all three at once: each waits for the others by itself."""
        return [self._start(daemon) for daemon in Daemon]

    def handle(self, event: Event, now: float) -> list[Effect]:  # noqa: PLR0911 - the table of all events
        """Something happened."""
        if self.phase is Phase.OVER:
            return []
        match event:
            case DaemonEnded():
                return self._on_daemon_ended(event, now)
            case Progressed():
                return self._on_progressed(event)
            case RunEnded():
                return self._on_run_ended(event, now)
            case Interrupted():
                return self._on_interrupted(event.signum, now)
            case Resumed():
                return self._on_resumed(event.away_s)
            case OrphansGone():
                return self._on_orphans_gone(now)
            case OutputLost():
                # A terminal that went away said so by SIGHUP before: what runs may still finish.
                return self._leave(STATUS_STOPPED, event.reason, now) if self.phase is Phase.RUNNING else []
            case Failed():
                return self._leave(STATUS_STOPPED, event.reason, now)
            case HaltAsked():
                return self._on_halt_asked(event, now)

    def expire(self, now: float) -> list[Effect]:
        """Time passed."""
        effects: list[Effect] = []
        if self._restarts.sweeps_too_long(now):
            effects.append(KillOrphans())
        if self._phase_by is not None and self._phase_by <= now:
            # First, for at the end of all nothing is due any more: the worker has gone and the scheduler waits for it, or tasks
            # outlast every signal.
            effects += self._leave(0, "", now)
        elif self._leaving.due_at is not None and self._leaving.due_at <= now:
            effects += self._follow(self._leaving.hurry(now))
        return effects + [self._start(daemon) for daemon in self._restarts.ready(now)]

    def deadline(self) -> float | None:
        """When to call `expire` next."""
        due = [at for at in (self._phase_by, self._leaving.due_at) if at is not None]
        return min(self._restarts.deadlines() + due, default=None)

    @property
    def closed(self) -> bool:
        """Whether the scheduler has ended the run in order, before we left it alone."""
        return self._end is not None and self._end.status != STATUS_STOPPED

    def check(self) -> None:
        """Assert the invariants."""
        leaving = self.phase in (Phase.LEAVING, Phase.OVER)
        self._restarts.check(self._alive, leaving=leaving)
        assert self.phase is not Phase.LEAVING or self._leaving.due_at is not None
        assert self.phase is not Phase.LEAVING or self._alive
        assert not leaving or self._phase_by is None

    # --- a daemon ended ---

    def _on_daemon_ended(self, ended: DaemonEnded, now: float) -> list[Effect]:
        daemon = ended.daemon
        self._alive.discard(daemon)
        if daemon is Daemon.SCHEDULER:
            self._heard = self._told = False
        if self.phase is Phase.LEAVING:
            return self._follow(self._leaving.ended(ended, now))
        if daemon is Daemon.SCHEDULER and ended.status == 0 and self.phase is not Phase.RUNNING:
            return self._leave(0, "", now)
        if ended.status in (STATUS_REFUSED, STATUS_STOPPED):
            return self._leave(ended.status, ended.words or f"{daemon} ended with status {ended.status}", now)
        if daemon is Daemon.SCHEDULER and not self._recorded:
            return self._leave(
                STATUS_STOPPED,
                f"hs-scheduler {end_of(ended)}; without a database nothing can continue: "
                f"{self._left} tasks were not finished",
                now,
            )
        if daemon is Daemon.WORKER and ended.status == STATUS_TIME_OVER and self.phase is Phase.RUNNING:
            return self._on_time_over(now)
        if self.phase is not Phase.RUNNING and daemon is Daemon.WORKER:
            # It has drained, or was lost with what it ran: either way nothing can run any more.
            self._phase_by = now + (DRAINED_S if ended.status in (0, STATUS_TIME_OVER) else PATIENCE_S)
            return []
        return self._restart(ended, now)

    def _on_time_over(self, now: float) -> list[Effect]:
        """Nothing can run any more; the scheduler writes down what it was told."""
        self._verdict.time_over(left=True)
        self.phase, self._phase_by = Phase.DRAINING, now + DRAINED_S
        return self._tell_scheduler_to_drain() if self._heard and not self._told else []

    def _restart(self, ended: DaemonEnded, now: float) -> list[Effect]:
        daemon = ended.daemon
        again = self._restarts.died(ended, now)
        effects: list[Effect] = [AwaitOrphans()] if daemon is Daemon.WORKER else []
        if not again:
            return effects + self._leave(STATUS_STOPPED, self._restarts.reason(ended), now)
        # What it said itself is on stderr already.
        effects.append(Warn(f"{daemon} {how_it_ended(ended.status, '')}: it is started again"))
        return effects + [self._start(ready) for ready in self._restarts.ready(now)]

    def _on_orphans_gone(self, now: float) -> list[Effect]:
        self._restarts.swept()
        return self.expire(now)

    # --- the scheduler reported ---

    def _on_progressed(self, event: Progressed) -> list[Effect]:
        if event.finished > self._finished:
            self._finished = event.finished
            self._restarts.progressed()
        self._left = event.left
        self._heard = Daemon.SCHEDULER in self._alive
        if self._heard and not self._told and self.phase in (Phase.DRAINING, Phase.STOPPING):
            return self._tell_scheduler_to_drain()
        return []

    def _on_run_ended(self, event: RunEnded, now: float) -> list[Effect]:
        if self.phase is Phase.LEAVING:
            return []
        self._end = event
        if not event.left:
            self._verdict.time_over(left=False)
        # All is committed. The other two end while the scheduler closes its database.
        return self._leave(event.status, event.reason, now)

    # --- the user spoke ---

    def _on_interrupted(self, signum: int, now: float) -> list[Effect]:
        if signum == signal.SIGTSTP:
            return [*self._tell(Daemon.WORKER, signum), StandStill()]
        if self.phase is Phase.LEAVING:
            return self._leaving.interrupted(now, again=not self._verdict.interrupt(signum))
        if self.phase is Phase.STOPPING:
            return [Say("killing what still runs"), *self._leave(0, "", now)]
        if self.phase is Phase.DRAINING:
            self._verdict.interrupt(signum)  # maybe the first: it may be draining because too much failed
            return self._stop(now)
        self._verdict.interrupt(signum)
        return self._drain(signum, "", now)

    def _on_halt_asked(self, event: HaltAsked, now: float) -> list[Effect]:
        effects: list[Effect] = []
        self._told = True  # it drains already, it says so itself
        self._verdict.halt(event.reason)
        if self.phase is Phase.RUNNING:
            effects += self._drain(signal.SIGINT, event.reason, now)
        if self.phase is Phase.DRAINING and event.now:
            effects += self._stop(now)
        return effects

    def _stop(self, now: float) -> list[Effect]:
        """Stop what runs, though it drains already."""
        self.phase = Phase.STOPPING
        self._phase_by = min(self._phase_by or now + self._stop_s, now + self._stop_s)
        # Not the same signal again: while one is pending the kernel makes one of two. A worker takes any second as: now.
        second = signal.SIGTERM if self._drain_signum == signal.SIGUSR1 else signal.SIGUSR1
        return [Say("stopping the running tasks"), *self._tell(Daemon.WORKER, second)]

    def _drain(self, signum: int, reason: str, now: float) -> list[Effect]:
        """Let nothing start any more; `reason`: why, or "" where the user said so."""
        self._restarts.call_off(Daemon.WORKER)
        if Daemon.WORKER not in self._alive:
            # Nothing runs.
            return self._leave(0, "", now)
        self.phase = Phase.DRAINING
        effects: list[Effect] = []
        if not reason:
            effects.append(Say("draining: running tasks finish, no new ones start; once more stops them now"))
        if self._heard and not self._told:
            effects += self._tell_scheduler_to_drain()
        # SIGUSR1 says the same as SIGINT to a worker, is never ignored because a shell started us in the background, and
        # ends one that has no handlers yet (and so runs nothing) without a word.
        self._drain_signum = signal.SIGUSR1 if signum in (signal.SIGINT, signal.SIGUSR1) else signal.SIGTERM
        return effects + self._tell(Daemon.WORKER, self._drain_signum)

    def _on_resumed(self, away_s: float) -> list[Effect]:
        """Give everybody the time back in which we could not see what they did."""
        self._restarts.stand_still(away_s)
        self._phase_by = None if self._phase_by is None else self._phase_by + away_s
        self._leaving.stand_still(away_s)
        return self._tell(Daemon.WORKER, signal.SIGCONT)

    def _tell_scheduler_to_drain(self) -> list[Effect]:
        self._told = True
        return self._tell(Daemon.SCHEDULER, signal.SIGINT)

    def _tell(self, daemon: Daemon, signum: int) -> list[Effect]:
        return [Tell(daemon, signum)] if daemon in self._alive else []

    # --- the end ---

    def _leave(self, status: int, reason: str, now: float) -> list[Effect]:
        in_order = status <= 1 and self.phase in (Phase.RUNNING, Phase.DRAINING)
        self._verdict.end(status, reason)
        self._restarts.call_all_off()
        self.phase, self._phase_by = Phase.LEAVING, None
        return self._follow(self._leaving.begin(now, in_order=in_order, closing=self._end is not None))

    def _follow(self, effects: list[Effect]) -> list[Effect]:
        """Note it if nobody is left to wait for."""
        if self._leaving.over:
            self.phase = Phase.OVER
        return effects

    def _start(self, daemon: Daemon) -> Start:
        self._alive.add(daemon)
        return Start(daemon)
