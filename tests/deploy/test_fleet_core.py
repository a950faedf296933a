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
    Bury,
    Died,
    Drain,
    Ended,
    FleetCore,
    Leave,
    Phase,
    Released,
    Signal,
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

    def take(self, effects: list[Drain | Bury | Signal | Leave]) -> None:
        self.left += [effect for effect in effects if isinstance(effect, Leave)]

    @rule()
    def ask(self) -> None:
        self.take(self.core.handle(Asked(), self.now))

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
