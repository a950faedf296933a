"""Any order of deaths, reports, signals and waits: the rules hold, and the run always ends."""

import signal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hs_deploy.daemons import STATUS_TIME_OVER, Daemon
from hs_deploy.supervision.events import (
    AwaitOrphans,
    DaemonEnded,
    Effect,
    Failed,
    Finish,
    HaltAsked,
    Interrupted,
    KillAll,
    LetFinish,
    OrphansGone,
    Progressed,
    Release,
    Resumed,
    RunEnded,
    Start,
    Tell,
)
from hs_deploy.supervision.supervisor import Phase, SupervisorCore

DAEMONS = st.sampled_from(list(Daemon))


class Supervision(RuleBasedStateMachine):
    """A fake of the daemons that fails on any effect that makes no sense."""

    awaits_outputs = False

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.alive: set[Daemon] = set()
        self.finished = 0
        self.sweeping = False
        self.finish: Finish | None = None
        self.core = SupervisorCore(recorded=True, signalwait_s=1, awaits_outputs=self.awaits_outputs)
        self.perform(self.core.begin())

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            assert self.finish is None, f"{effect} after the end"
            match effect:
                case Start(daemon=daemon):
                    assert daemon not in self.alive
                    assert not (daemon is Daemon.WORKER and self.sweeping), "before the old one is gone"
                    assert self.core.phase not in (Phase.LEAVING, Phase.OVER)
                    self.alive.add(daemon)
                case Tell(daemon=daemon) | Release(daemon=daemon) | LetFinish(daemon=daemon):
                    assert daemon in self.alive
                case AwaitOrphans():
                    self.sweeping = True
                case Finish():
                    self.finish = effect
                case KillAll():
                    assert self.core.phase is Phase.LEAVING

    @precondition(lambda self: self.alive)
    @rule(daemon=DAEMONS, status=st.sampled_from([0, 1, 3, STATUS_TIME_OVER, -9]))
    def a_daemon_ends(self, daemon: Daemon, status: int) -> None:
        if daemon in self.alive:
            self.alive.remove(daemon)
            self.perform(self.core.handle(DaemonEnded(daemon=daemon, status=status), self.now))

    @rule(more=st.integers(0, 3), left=st.integers(0, 9))
    def the_scheduler_reports(self, more: int, left: int) -> None:
        self.finished += more
        if Daemon.SCHEDULER in self.alive:
            self.perform(self.core.handle(Progressed(finished=self.finished, left=left), self.now))

    @rule(status=st.sampled_from([0, 1, 3]), left=st.booleans())
    def the_run_ends(self, status: int, *, left: bool) -> None:
        if Daemon.SCHEDULER in self.alive:
            self.perform(self.core.handle(RunEnded(status=status, reason="", left=left), self.now))

    @rule(away_s=st.floats(0, 100))
    def stand_still(self, away_s: float) -> None:
        self.perform(self.core.handle(Interrupted(signum=signal.SIGTSTP), self.now))
        self.now += away_s
        self.perform(self.core.handle(Resumed(away_s=away_s), self.now))

    @rule(signum=st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
    def somebody_interrupts(self, signum: int) -> None:
        self.perform(self.core.handle(Interrupted(signum=signum), self.now))

    @rule(now=st.booleans())
    def too_much_has_failed(self, now: bool) -> None:
        if Daemon.SCHEDULER in self.alive:
            self.perform(self.core.handle(HaltAsked(reason="halted", now=now), self.now))

    @rule()
    def the_orphans_are_gone(self) -> None:
        self.sweeping = False
        self.perform(self.core.handle(OrphansGone(), self.now))

    @rule()
    def the_input_fails(self) -> None:
        self.perform(self.core.handle(Failed(reason="disk"), self.now))

    @rule(wait_s=st.floats(0, 5))
    def time_passes(self, wait_s: float) -> None:
        self.now += wait_s
        self.perform(self.core.expire(self.now))

    @invariant()
    def the_rules_hold(self) -> None:
        self.core.check()

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """While it runs, a missing daemon is due, or there is a deadline."""
        if self.finish is None and len(self.alive) < len(Daemon):
            assert self.core.deadline() is not None or self.sweeping

    def teardown(self) -> None:
        """An interrupted run ends whatever its daemons do: by its own deadlines alone."""
        for _ in range(3):
            self.perform(self.core.handle(Interrupted(signum=signal.SIGINT), self.now))
        for _ in range(5):
            if self.finish is None:
                self.now = self.core.deadline() or self.now
                self.perform(self.core.expire(self.now))
        assert self.finish is not None


class FarSupervision(Supervision):
    """The same where outputs are waited for."""

    awaits_outputs = True


TestSupervision = Supervision.TestCase
TestFarSupervision = FarSupervision.TestCase
