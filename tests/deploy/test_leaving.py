"""How the daemons leave at the end of all."""

import signal

import pytest
from tests.deploy.supervising import BROKER, SCHEDULER, WORKER, a_running_core, killed, play

from hs_deploy.supervision.events import (
    DaemonEnded,
    Event,
    Failed,
    Finish,
    Interrupted,
    KillAll,
    LetFinish,
    Release,
    RunEnded,
    Say,
    Tell,
)
from hs_deploy.supervision.leaving import CLOSE_S, KILLED_S, LEAVE_S
from hs_deploy.supervision.supervisor import SupervisorCore


def test_the_end_of_the_run_releases_all_and_the_broker_last() -> None:
    """The scheduler has committed everything; the broker carries the farewells."""
    core = a_running_core()

    assert [Release(BROKER), Release(SCHEDULER), Release(WORKER)] == play(core, RunEnded(status=1, reason=""))
    assert [] == play(core, DaemonEnded(daemon=WORKER, status=0))
    assert [Tell(BROKER, signal.SIGTERM)] == play(core, DaemonEnded(daemon=SCHEDULER, status=1))
    assert [Finish(1, "")] == play(core, DaemonEnded(daemon=BROKER, status=0))
    assert [] == play(core, Interrupted(signum=signal.SIGINT), killed(BROKER))


def test_a_scheduler_that_reported_the_end_may_take_its_time_to_close() -> None:
    """A checkpoint of a large database takes longer than a farewell."""
    core = a_running_core()
    play(core, RunEnded(status=0, reason=""), now=1)

    assert [] == core.expire(1 + LEAVE_S)
    assert core.deadline() == 1 + CLOSE_S
    core.handle(killed(SCHEDULER), 9)
    assert core.deadline() == 9 + LEAVE_S, "the others have no such reason"


def test_who_does_not_leave_is_killed_and_the_run_ends_all_the_same() -> None:
    """A process in an uninterruptible wait cannot be ended by anybody."""
    core = a_running_core()
    play(core, Failed(reason="the input cannot be read"), now=1)

    assert [KillAll()] == core.expire(1 + LEAVE_S)
    assert [Finish(3, "the input cannot be read")] == core.expire(1 + LEAVE_S + KILLED_S)
    core.check()


def a_core_that_waits_for_outputs(*before: Event) -> SupervisorCore:
    """The run ended in order, and what held the workers is still there."""
    core = a_running_core(awaits_outputs=True)
    effects = play(core, *before, RunEnded(status=0, reason=""))
    assert [Release(BROKER), Release(SCHEDULER), LetFinish(WORKER)] == effects
    play(core, DaemonEnded(daemon=SCHEDULER, status=0), DaemonEnded(daemon=BROKER, status=0))
    return core


def test_outputs_that_are_on_their_way_are_waited_for_and_that_is_said_once() -> None:
    """Who holds the workers says when it is enough."""
    core = a_core_that_waits_for_outputs()

    said = [effect for now in range(10, 100, 10) for effect in core.expire(now)]

    assert [Say("all tasks have ended; waiting for outputs that are on their way")] == said
    assert [Finish(0, "")] == play(core, DaemonEnded(daemon=WORKER, status=0), now=100)


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (
            DaemonEnded(daemon=WORKER, status=3, words="the last outputs of h1 are lost"),
            "the last outputs of h1 are lost",
        ),
        (killed(WORKER), "outputs may be lost: what held the workers was killed by SIGKILL"),
    ],
)
def test_outputs_that_are_lost_end_the_run_with_status_3(ended: DaemonEnded, reason: str) -> None:
    """Whatever became of the tasks."""
    assert [Finish(3, reason)] == play(a_core_that_waits_for_outputs(), ended)


def test_somebody_who_interrupts_twice_gives_up_the_outputs_that_are_on_their_way() -> None:
    """Once lets what runs finish, and that is all there is to finish."""
    core, interrupt = a_core_that_waits_for_outputs(), Interrupted(signum=signal.SIGINT)

    assert [Say("waiting for outputs that are on their way; once more gives them up")] == play(core, interrupt)
    assert [Say("giving up the outputs that are still on their way"), Release(WORKER)] == play(core, interrupt, now=5)
    assert [KillAll()] == core.expire(5 + LEAVE_S)
    assert [Finish(130, "")] == play(core, killed(WORKER))


def test_after_the_first_interrupt_outputs_are_waited_for_after_the_second_they_are_not() -> None:
    """It says: now."""
    interrupt = Interrupted(signum=signal.SIGINT)
    a_core_that_waits_for_outputs(interrupt)
    core = a_running_core(awaits_outputs=True)

    effects = play(core, interrupt, interrupt, DaemonEnded(daemon=SCHEDULER, status=0))

    assert [Release(BROKER), Release(WORKER)] == effects
