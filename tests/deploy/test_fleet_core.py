"""How the holder of remote workers ends, and what it says when they ended by themselves."""

from signal import SIGKILL, SIGTERM

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hs_deploy.launchers.fleet_core import (
    AGAIN_S,
    LEAVE_STEP_S,
    MOURN_S,
    PART_S,
    STAYED_S,
    Asked,
    Awaited,
    Bury,
    Died,
    Drain,
    Effect,
    Ended,
    Finished,
    FleetCore,
    Leave,
    Phase,
    Released,
    Signal,
    Stop,
)

ORIGIN, OTHER = b"origin-1", b"origin-2"


def test_a_launcher_that_fails_ends_the_run_with_its_words() -> None:
    """It has started nobody."""
    core = FleetCore(now=0)

    effects = core.handle(Ended(1, "the launcher mpirun ended with status 1 (no slots)"), STAYED_S - 1)

    assert effects == [Leave(3, "the launcher mpirun ended with status 1 (no slots)")]
    core.check()


@pytest.mark.parametrize(
    ("status", "at"),
    [
        (-9, 1.0),  # killed: those whom it had started run on
        (1, STAYED_S),
    ],
)
def test_workers_whose_launcher_is_gone_are_told_to_stop(status: int, at: float) -> None:
    """It holds them no more, and perhaps never did; nothing else that happens meanwhile changes that."""
    core = FleetCore(now=0)
    ended = Ended(status, "it ended")

    assert core.handle(ended, at) == [Drain(now=True)]
    assert [core.handle(event, at) for event in (ended, Asked(), Released(), Died(ORIGIN))] == [[]] * 4
    assert core.expire(at + AGAIN_S) == [Drain(now=True)]
    core.check()
    assert core.expire(at + PART_S) == [Leave(3, "it ended")]
    core.check()


def test_a_launcher_that_returns_at_once_is_told_to_stay_in_the_foreground() -> None:
    """What it started is somewhere else now, where nobody can watch it."""
    core = FleetCore(now=0)
    assert core.handle(Ended(0, "the launcher sbatch ended with status 0"), STAYED_S - 1) == [Drain(now=True)]

    (left,) = core.expire(STAYED_S - 1 + PART_S)

    assert isinstance(left, Leave)
    assert left.status == 3
    assert "srun, not sbatch" in left.reason


def test_the_first_word_drains_and_the_second_stops() -> None:
    """As for a worker of our own."""
    core = FleetCore(now=0)

    assert core.handle(Asked(), 1) == [Drain(now=False)]
    assert core.handle(Asked(), 2) == [Drain(now=True)]
    assert core.handle(Asked(), 3) == []
    assert core.handle(Ended(0, "it ended"), 4) == [Leave(0, "")]
    core.check()


def test_a_worker_that_was_away_hears_the_next_word_to_drain() -> None:
    """Its broker had been restarted at that moment."""
    core = FleetCore(now=0)
    core.handle(Asked(), 1)

    assert core.deadline() == 1 + AGAIN_S
    assert core.expire(1 + AGAIN_S) == [Drain(now=False)]
    assert core.deadline() == 1 + 2 * AGAIN_S


def test_what_stays_after_the_end_of_the_lifeline_is_signalled() -> None:
    """First over the wire, then in order, then for good; each gets its time."""
    core = FleetCore(now=0)

    assert core.handle(Released(), 1) == [Drain(now=True)]
    assert core.handle(Released(), 1) == []
    assert core.expire(1 + LEAVE_STEP_S) == [Drain(now=False), Signal(SIGTERM)]
    assert core.expire(1 + 2 * LEAVE_STEP_S) == [Drain(now=False), Signal(SIGKILL)]
    assert core.expire(1 + 3 * LEAVE_STEP_S) == [Drain(now=False)]
    assert core.handle(Ended(-9, "it was killed"), 8) == [Leave(0, "")]
    core.check()


def test_outputs_that_are_on_their_way_are_waited_for_as_long_as_some_come() -> None:
    """Workers hear at once that nothing is left to run, but nobody is signalled."""
    core = FleetCore(now=0)

    assert core.handle(Finished(), 1) == [Stop(), Drain(now=True)]
    assert core.handle(Finished(), 1) == []
    for now in (10, 20, 30):
        assert core.handle(Awaited(now + 15, "h1"), now) == []
        assert core.expire(now) == [Drain(now=True)]
    assert core.handle(Ended(1, "all workers have left"), 31) == [Leave(0, "")]
    core.check()


@pytest.mark.parametrize("interrupted", [False, True])
def test_outputs_of_which_none_come_any_more_are_lost_and_that_is_said(interrupted: bool) -> None:
    """The run has ended in order, by itself or because it drained, and yet something is missing."""
    core = FleetCore(now=0)
    if interrupted:
        core.handle(Asked(), 1)
    core.handle(Finished(), 1)
    core.handle(Awaited(16, "h1, h2"), 1)

    assert core.expire(16) == [Drain(now=True), Signal(SIGTERM)]
    core.check()
    assert core.handle(Awaited(99, "h1, h2"), 16) == []
    assert core.expire(16 + LEAVE_STEP_S) == [Drain(now=False), Signal(SIGKILL)]
    assert core.handle(Ended(1, "it ended"), 20) == [
        Leave(3, "outputs that were on their way from h1, h2 are lost: no more of them came")
    ]


def test_outputs_that_cannot_come_any_more_are_lost() -> None:
    """Their connection broke while they were waited for."""
    core = FleetCore(now=0)
    core.handle(Finished(), 1)

    assert core.handle(Ended(1, "no host is left", "h1: the connection was lost"), 2) == [
        Leave(3, "h1: the connection was lost")
    ]


def test_who_owes_no_outputs_has_no_more_time_to_leave_than_at_any_end() -> None:
    """One host stays, whose worker never said anything, after another has said it all."""
    core = FleetCore(now=0)
    core.handle(Finished(), 1)
    core.handle(Awaited(30, "h1"), 2)
    core.handle(Awaited(30, ""), 3)

    assert core.expire(1 + LEAVE_STEP_S) == [Drain(now=True), Signal(SIGTERM)]
    assert core.handle(Ended(1, "it ended"), 5) == [Leave(0, "")]


def test_nobody_waits_for_outputs_once_the_lifeline_ended() -> None:
    """The user gives them up, or is gone."""
    core = FleetCore(now=0)
    core.handle(Finished(), 1)
    core.handle(Awaited(99, "h1"), 2)

    assert core.handle(Released(), 2) == [Drain(now=True)]
    assert core.expire(2 + LEAVE_STEP_S) == [Drain(now=False), Signal(SIGTERM)]


def test_workers_whose_guardian_died_are_buried_a_moment_later() -> None:
    """Until then they may still be there, stop their tasks and take their leave; also while all drain."""
    core = FleetCore(now=0)
    assert core.handle(Died(ORIGIN), 1) == []
    assert core.handle(Died(OTHER), 1.5) == []

    assert core.deadline() == 1 + MOURN_S
    assert core.expire(1 + MOURN_S) == [Bury(ORIGIN)]
    assert core.handle(Asked(), 1 + MOURN_S) == [Drain(now=False)]
    assert core.expire(1.5 + MOURN_S) == [Bury(OTHER), Drain(now=False)]
    core.check()


def test_nobody_is_mourned_once_all_are_to_leave() -> None:
    """The run is over, and the broker on its way out."""
    core = FleetCore(now=0)
    core.handle(Died(ORIGIN), 1)

    core.handle(Released(), 1)

    assert core.handle(Died(OTHER), 1) == []
    assert core.expire(1 + MOURN_S) == [Drain(now=False)]
    core.check()


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order: it leaves once, when nothing is held any more."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.core = FleetCore(self.now)
        self.left: list[Leave] = []

    def take(self, effects: list[Effect]) -> None:
        self.left += [effect for effect in effects if isinstance(effect, Leave)]

    @rule()
    def ask(self) -> None:
        self.take(self.core.handle(Asked(), self.now))

    @rule()
    def finish(self) -> None:
        self.take(self.core.handle(Finished(), self.now))

    @rule(seconds=st.floats(0, 20), whom=st.sampled_from(["", "h1"]))
    def wait_for_outputs(self, seconds: float, whom: str) -> None:
        self.take(self.core.handle(Awaited(self.now + seconds, whom), self.now))

    @rule()
    def release(self) -> None:
        self.take(self.core.handle(Released(), self.now))

    @rule(status=st.integers(-15, 3))
    def end(self, status: int) -> None:
        self.take(self.core.handle(Ended(status, "it ended"), self.now))
        assert self.core.phase in (Phase.OVER, Phase.PARTING)

    @rule()
    def die(self) -> None:
        self.take(self.core.handle(Died(ORIGIN), self.now))

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.core.expire(self.now))

    @invariant()
    def holds(self) -> None:
        self.core.check()
        assert len(self.left) == (self.core.phase is Phase.OVER)


TestAnyOrder = AnyOrder.TestCase
