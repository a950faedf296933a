"""What the supervisor makes of signals, and of a halt."""

import signal

import pytest
from tests.deploy.supervising import BROKER, SCHEDULER, WORKER, a_running_core, again, all_left, killed, only, play

from hs_deploy.supervision.events import (
    DaemonEnded,
    Failed,
    Finish,
    HaltAsked,
    Interrupted,
    OrphansGone,
    Progressed,
    Release,
    Resumed,
    RunEnded,
    Say,
    StandStill,
    Start,
    Tell,
)
from hs_deploy.supervision.supervisor import DRAINED_S, Phase, SupervisorCore


def test_ctrl_z_stops_the_tasks_and_then_ourselves() -> None:
    """The worker first: nobody can tell it once we stand still."""
    core = a_running_core()

    assert [Tell(WORKER, signal.SIGTSTP), StandStill()] == play(core, Interrupted(signum=signal.SIGTSTP))
    assert [Tell(WORKER, signal.SIGCONT)] == play(core, Resumed(away_s=60), now=61)
    assert core.phase is Phase.RUNNING


@pytest.mark.parametrize(
    ("signum", "told"),
    [
        (signal.SIGINT, signal.SIGUSR1),  # drain without limit
        (signal.SIGTERM, signal.SIGTERM),  # drain for the grace of the worker
        (signal.SIGHUP, signal.SIGTERM),
        (signal.SIGUSR1, signal.SIGUSR1),
    ],
)
def test_the_first_signal_drains(signum: int, told: int) -> None:
    """Running tasks finish, no new ones start, and it is said."""
    core = a_running_core()

    said, *effects = play(core, Interrupted(signum=signum))

    assert isinstance(said, Say)
    assert "drain" in said.text
    assert [Tell(SCHEDULER, signal.SIGINT), Tell(WORKER, told)] == effects


def test_a_drained_run_ends_as_stopped_by_the_signal() -> None:
    """Even if nothing was left: who asked for the stop must see that it was heard."""
    core = a_running_core()
    play(core, Interrupted(signum=signal.SIGTERM))

    play(
        core,
        DaemonEnded(daemon=WORKER, status=0),
        RunEnded(status=0, reason=""),
        DaemonEnded(daemon=SCHEDULER, status=0),
    )

    assert [Finish(143, "")] == play(core, DaemonEnded(daemon=BROKER, status=0))


@pytest.mark.parametrize(
    ("signum", "told"),
    [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGUSR1), (signal.SIGHUP, signal.SIGUSR1)],
)
def test_the_second_signal_stops_the_tasks(signum: int, told: int) -> None:
    """A worker takes any second signal as: now. It must be another one, or the kernel may make one of the two."""
    core = a_running_core()

    said, *effects = play(core, Interrupted(signum=signum), Interrupted(signum=signum))

    assert isinstance(said, Say)
    assert [Tell(WORKER, told)] == effects
    assert core.deadline() is not None, "tasks that outlast every signal do not hold us for ever"


def test_the_third_signal_kills() -> None:
    """The lifelines close: whatever still runs is killed."""
    core = a_running_core()
    interrupt = Interrupted(signum=signal.SIGINT)

    effects = play(core, interrupt, interrupt, interrupt)

    assert [Release(BROKER), Release(SCHEDULER), Release(WORKER)] == only(Release, effects)
    assert [Finish(130, "")] == play(core, killed(WORKER), killed(SCHEDULER), killed(BROKER))


def test_a_scheduler_that_has_not_reported_yet_is_told_to_drain_when_it_does() -> None:
    """Before its handlers stand a signal would kill it."""
    core = SupervisorCore(recorded=True, signalwait_s=10)
    core.begin()

    assert Tell(SCHEDULER, signal.SIGINT) not in play(core, Interrupted(signum=signal.SIGINT))
    assert [Tell(SCHEDULER, signal.SIGINT)] == play(core, Progressed(finished=0, left=3))
    assert [] == play(core, Progressed(finished=1, left=2)), "once is enough"


def test_a_scheduler_killed_while_draining_comes_back_and_drains() -> None:
    """Finished tasks still have to be recorded."""
    core = a_running_core()
    play(core, Interrupted(signum=signal.SIGINT))

    assert [again(SCHEDULER), Start(SCHEDULER)] == play(core, killed(SCHEDULER))
    assert [Tell(SCHEDULER, signal.SIGINT)] == play(core, Progressed(finished=2, left=3))


def test_a_worker_that_has_drained_is_not_started_again() -> None:
    """And the scheduler gets a moment to write down the last results, not more."""
    core = a_running_core()
    play(core, Interrupted(signum=signal.SIGINT))

    assert [] == play(core, DaemonEnded(daemon=WORKER, status=0), now=5)
    assert core.deadline() == 5 + DRAINED_S
    assert [Release(BROKER), Release(SCHEDULER)] == core.expire(5 + DRAINED_S)
    core.check()


def test_a_signal_while_no_worker_is_there_ends_at_once() -> None:
    """Nothing runs, so there is nothing to wait for, and the pending restart is void."""
    core = a_running_core()
    play(core, killed(WORKER))

    assert [Release(BROKER), Release(SCHEDULER)] == play(core, Interrupted(signum=signal.SIGINT))
    assert Start(WORKER) not in play(core, OrphansGone(), now=2)


def test_a_run_that_cannot_go_on_ends_with_status_3_even_if_interrupted() -> None:
    """What went wrong is worth more than that somebody lost patience."""
    core = a_running_core()
    play(core, Interrupted(signum=signal.SIGINT), Failed(reason="disk full"))

    assert [Finish(3, "disk full")] == play(core, killed(WORKER), killed(SCHEDULER), killed(BROKER))


def test_a_halt_lets_running_tasks_finish() -> None:
    """The scheduler drains already; the worker is told. The run's status is 1, with the reason."""
    core = a_running_core()

    assert play(core, HaltAsked(reason="halted", now=False)) == [Tell(WORKER, signal.SIGUSR1)]

    play(core, DaemonEnded(daemon=WORKER, status=0), RunEnded(status=1, reason="halted"))
    assert all_left(core) == [Finish(1, "halted")]


def test_a_halt_now_stops_them() -> None:
    """Two signals that are not the same one."""
    core = a_running_core()

    assert play(core, HaltAsked(reason="halted", now=True)) == [
        Tell(WORKER, signal.SIGUSR1),
        Say("stopping the running tasks"),
        Tell(WORKER, signal.SIGTERM),
    ]


def test_a_halt_fails_the_run_even_if_its_scheduler_says_nothing_more() -> None:
    """It was killed, and the worker is gone: nothing can go on."""
    core = a_running_core()
    play(core, HaltAsked(reason="halted", now=False), killed(SCHEDULER), DaemonEnded(daemon=WORKER, status=0))

    core.expire(1 + DRAINED_S)

    assert all_left(core) == [Finish(1, "halted")]


def test_a_signal_while_it_halts_stops_what_runs() -> None:
    """And is what the status tells."""
    core = a_running_core()
    play(core, HaltAsked(reason="halted", now=False))

    assert Tell(WORKER, signal.SIGTERM) in play(core, Interrupted(signum=signal.SIGINT))
    play(core, RunEnded(status=1, reason="halted"))
    assert all_left(core) == [Finish(130, "halted")]


def test_nothing_is_started_when_all_is_to_end() -> None:
    """Both are due when we were away for a while."""
    core = a_running_core()
    interrupt = Interrupted(signum=signal.SIGINT)
    play(core, interrupt, interrupt)
    while only(Start, play(core, killed(SCHEDULER))):
        pass  # the first one comes at once

    effects = core.expire(1000)

    assert core.phase is Phase.LEAVING
    assert only(Start, effects) == []
