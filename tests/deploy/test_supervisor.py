"""The supervisor's decisions, one sentence each."""

import signal
from collections.abc import Sequence

import pytest

from hs_common import limits
from hs_deploy.daemons import Daemon
from hs_deploy.supervision.events import (
    AwaitOrphans,
    DaemonEnded,
    Effect,
    Event,
    Failed,
    Finish,
    HaltAsked,
    Interrupted,
    KillAll,
    KillOrphans,
    LetFinish,
    OrphansGone,
    OutputLost,
    Progressed,
    Release,
    Resumed,
    RunEnded,
    Say,
    StandStill,
    Start,
    Tell,
    Warn,
)
from hs_deploy.supervision.leaving import CLOSE_S, KILLED_S, LEAVE_S
from hs_deploy.supervision.restarts import SWEEP_S
from hs_deploy.supervision.supervisor import PATIENCE_S, Phase, SupervisorCore

BROKER, SCHEDULER, WORKER = Daemon.BROKER, Daemon.SCHEDULER, Daemon.WORKER


def a_running_core(*, recorded: bool = True, awaits_outputs: bool = False) -> SupervisorCore:
    """All three are up, and the scheduler has reported."""
    core = SupervisorCore(recorded=recorded, signalwait_s=10, awaits_outputs=awaits_outputs)
    core.begin()
    core.handle(Progressed(finished=0, left=5), 0)
    return core


def killed(daemon: Daemon) -> DaemonEnded:
    return DaemonEnded(daemon=daemon, status=-9)


def again(daemon: Daemon) -> Warn:
    """What is said of one that was killed."""
    return Warn(f"{daemon} was killed by SIGKILL: it is started again")


def play(core: SupervisorCore, *events: Event, now: float = 1) -> list[Effect]:
    """Hand over events one after the other; return the effects of the last."""
    effects: list[Effect] = []
    for event in events:
        effects = core.handle(event, now)
        core.check()
    return effects


def all_left(core: SupervisorCore) -> list[Effect]:
    """All daemons follow their lifelines; return how it ended."""
    effects = [effect for daemon in Daemon for effect in core.handle(DaemonEnded(daemon=daemon, status=0), 60)]
    return only(Finish, effects)


def only(kind: type[Effect], effects: Sequence[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


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


def test_ctrl_z_stops_the_tasks_and_then_ourselves() -> None:
    """The worker first: nobody can tell it once we stand still."""
    core = a_running_core()

    assert [Tell(WORKER, signal.SIGTSTP), StandStill()] == play(core, Interrupted(signum=signal.SIGTSTP))
    assert [Tell(WORKER, signal.SIGCONT)] == play(core, Resumed(away_s=60), now=61)
    assert core.phase is Phase.RUNNING


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


def test_a_scheduler_that_exits_without_a_last_report_has_crashed() -> None:
    """Status 1 is also what a traceback ends with."""
    core = a_running_core()

    assert [Start(SCHEDULER)] == only(Start, play(core, DaemonEnded(daemon=SCHEDULER, status=1)))


# --- signals ---


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
    assert core.deadline() == 5 + PATIENCE_S
    assert [Release(BROKER), Release(SCHEDULER)] == core.expire(5 + PATIENCE_S)
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

    core.expire(1 + PATIENCE_S)

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
