"""The supervisor: which daemons are started, and again, and when no more."""

import signal

import pytest
from tests.deploy.supervising import BROKER, SCHEDULER, WORKER, a_running_core, again, all_left, killed, only, play

from hs_common import limits
from hs_deploy.daemons import STATUS_TIME_OVER, Daemon
from hs_deploy.supervision.events import (
    AwaitOrphans,
    DaemonEnded,
    Effect,
    Finish,
    Interrupted,
    KillOrphans,
    OrphansGone,
    OutputLost,
    Progressed,
    Release,
    Resumed,
    RunEnded,
    Start,
    Tell,
)
from hs_deploy.supervision.restarts import SWEEP_S
from hs_deploy.supervision.supervisor import Phase, SupervisorCore
from hs_deploy.supervision.verdict import TIME_OVER


def test_all_three_are_started_at_once() -> None:
    """Each waits for the others by itself, so nothing is gained by an order."""
    core = SupervisorCore(recorded=True, signalwait_s=10)

    effects = core.begin()

    assert [Start(BROKER), Start(SCHEDULER), Start(WORKER)] == effects
    assert core.deadline() is None
    core.check()


@pytest.mark.parametrize("daemon", [BROKER, SCHEDULER])
def test_a_killed_daemon_is_started_again_at_once(daemon: Daemon) -> None:
    """The store knows what is done, the peers know what is out."""
    core = a_running_core()

    assert [again(daemon), Start(daemon)] == play(core, killed(daemon))


@pytest.mark.parametrize(
    ("ended", "finish"),
    [
        (RunEnded(status=1, reason="", left=True), Finish(3, TIME_OVER)),
        (RunEnded(status=1, reason="", left=False), Finish(1, "")),
        (RunEnded(status=0, reason="", left=False), Finish(0, "")),
    ],
)
def test_a_worker_whose_time_is_over_is_not_started_again(ended: RunEnded, finish: Finish) -> None:
    """The next one would have no time either; the scheduler may still have to write down how the last tasks ended."""
    core = a_running_core()

    assert [Tell(SCHEDULER, signal.SIGINT)] == play(core, DaemonEnded(daemon=WORKER, status=STATUS_TIME_OVER))
    play(core, ended)

    assert [finish] == all_left(core)


def test_a_scheduler_that_does_not_end_after_its_workers_is_not_waited_for() -> None:
    """Something is left then, for all that is known."""
    core = a_running_core()
    play(core, DaemonEnded(daemon=WORKER, status=STATUS_TIME_OVER))

    at = core.deadline()
    assert at is not None
    assert [Release(BROKER), Release(SCHEDULER)] == core.expire(at)
    assert [Finish(3, TIME_OVER)] == all_left(core)


@pytest.mark.parametrize("daemon", [BROKER, SCHEDULER])
def test_the_second_restart_without_progress_waits_a_moment(daemon: Daemon) -> None:
    """A host that is out of something recovers sooner when left alone."""
    core = a_running_core()
    play(core, killed(daemon))

    assert [again(daemon)] == play(core, killed(daemon), now=1)

    at = core.deadline()
    assert at is not None
    assert 1 < at < 2
    assert [] == core.expire(at - 0.01)
    assert [Start(daemon)] == core.expire(at)
    core.check()


def test_output_that_cannot_be_written_ends_a_run() -> None:
    """What would still run would be lost; but one that is stopped anyway lets its tasks finish."""
    core = a_running_core()
    play(core, OutputLost(reason="stdout: full"))
    assert [Finish(3, "stdout: full")] == all_left(core)

    core = a_running_core()
    assert [] == play(core, Interrupted(signum=signal.SIGHUP), OutputLost(reason="stdout: gone"))
    assert core.phase is Phase.DRAINING


def test_the_time_that_we_stood_still_is_nobodys_delay() -> None:
    """A daemon that was to have ended by now could not be seen doing so."""
    # Given tasks that are being stopped, and a deadline for that
    core = a_running_core()
    play(core, Interrupted(signum=signal.SIGINT), Interrupted(signum=signal.SIGINT))
    before = core.deadline()
    assert before is not None

    # When we stand still for longer than that
    play(core, Interrupted(signum=signal.SIGTSTP), Resumed(away_s=3600), now=3601)

    # Then they have as much time left as before
    assert core.deadline() == before + 3600
    assert [] == core.expire(before + 3599)


def die_often(core: SupervisorCore, daemon: Daemon, times: int) -> list[Effect]:
    effects: list[Effect] = []
    now = 1.0
    for _ in range(times):
        effects = core.handle(DaemonEnded(daemon=daemon, status=1, words="boom"), now)
        effects += core.handle(OrphansGone(), now)
        now = core.deadline() or now
        effects += core.expire(now)
        core.check()
    return effects


@pytest.mark.parametrize("daemon", list(Daemon))
def test_ten_restarts_without_a_finished_task_are_enough(daemon: Daemon) -> None:
    """Never a hang: it ends with status 3, and says what the daemon said last."""
    core = a_running_core()

    assert [Start(daemon)] == only(Start, die_often(core, daemon, limits.RESTARTS_MAX))
    effects = core.handle(DaemonEnded(daemon=daemon, status=1, words="boom"), 50)
    others = [other for other in Daemon if other is not daemon]

    assert [Release(other) for other in others] == only(Release, effects)
    assert core.phase is Phase.LEAVING
    assert [
        Finish(
            3, f"{daemon} ended 11 times with no task finished in between; the last time it ended with status 1 (boom)"
        )
    ] == all_left(core)


def test_ten_restarts_within_a_long_time_are_not_too_many() -> None:
    """Any finished task in between starts the count anew."""
    core = a_running_core()
    die_often(core, SCHEDULER, limits.RESTARTS_MAX)

    play(core, Progressed(finished=1, left=4))

    assert [again(SCHEDULER), Start(SCHEDULER)] == play(core, killed(SCHEDULER), now=60)


@pytest.mark.parametrize("status", [2, 3])
@pytest.mark.parametrize("daemon", list(Daemon))
def test_a_daemon_that_refuses_is_not_asked_again(daemon: Daemon, status: int) -> None:
    """Status 2 and 3 are its own words for: coming again is of no use. The run ends with the same."""
    core = a_running_core()

    effects = play(core, DaemonEnded(daemon=daemon, status=status, words="port 50001 is taken"))

    others = [other for other in Daemon if other is not daemon]
    assert [Release(other) for other in others] == effects
    assert [Finish(status, "port 50001 is taken")] == all_left(core)


def test_without_a_database_the_death_of_the_scheduler_ends_the_run() -> None:
    """It was the store: nothing can say what is done."""
    core = a_running_core(recorded=False)

    play(core, killed(SCHEDULER))

    (finish,) = all_left(core)
    assert isinstance(finish, Finish)
    assert finish.status == 3
    assert "5 tasks were not finished" in finish.reason


def test_a_worker_whose_guardian_died_is_swept_before_another_starts() -> None:
    """Two of them would run more tasks than there are slots."""
    core = a_running_core()

    assert [AwaitOrphans(), again(WORKER)] == play(core, killed(WORKER), now=1)
    assert [] == core.expire(1.5)
    assert [Start(WORKER)] == core.handle(OrphansGone(), 1.5)
    core.check()


def test_a_worker_that_survives_its_guardian_too_long_is_killed() -> None:
    """It had time to stop its tasks and to hand them back."""
    core = a_running_core()
    play(core, killed(WORKER), now=1)

    assert [] == core.expire(1 + SWEEP_S - 0.01)
    assert [KillOrphans()] == core.expire(1 + SWEEP_S)
    assert [Start(WORKER)] == core.handle(OrphansGone(), 4)


def test_a_guardian_that_gives_up_is_tried_once_more() -> None:
    """It has restarted its worker ten times already; ten times ten would take too long."""
    core = a_running_core()
    gone = DaemonEnded(daemon=WORKER, status=0)
    play(core, gone, OrphansGone())

    effects = play(core, gone)

    assert [Release(BROKER), Release(SCHEDULER)] == only(Release, effects)


def test_a_scheduler_that_exits_without_a_last_report_has_crashed() -> None:
    """Status 1 is also what a traceback ends with."""
    core = a_running_core()

    assert [Start(SCHEDULER)] == only(Start, play(core, DaemonEnded(daemon=SCHEDULER, status=1)))
