"""What happens when a worker, its guardian, or who started them ends, in order or not. Real processes."""

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.worker_harness import House, WorkerProcess, a_house, a_task, gone

from hs_common import messages
from hs_common.outcomes import unpack_outcomes
from hs_common.tasks import OutcomeKind

pytestmark = pytest.mark.system


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as house:
        yield house


def test_a_killed_worker_is_replaced_and_says_what_crashed(house: House) -> None:
    """A5: nothing it started survives; what ran has CRASHED, what waited goes back by closing its bundle."""
    # Given a worker with one task running, a stranger that it started, and one task waiting
    process = house.welcome("-N", "1")
    first = house.broker.worker
    house.broker.assign(a_task(1, b"setsid sleep 50 & echo $!; echo $$; sleep 50"), a_task(2, b"true"))
    stranger, task = int(process.line()), int(process.line())

    # When it is killed
    os.kill(process.worker, signal.SIGKILL)

    # Then its successor replaces it and holds only the bundle that it has to tell about
    hello = house.broker.wait_for(messages.WorkerHello, lambda hello: hello.worker != first)
    assert (hello.replaces, hello.inventory) == (first, (1,))
    result = house.broker.wait_for(messages.Result)
    (outcome,) = unpack_outcomes(result.body)
    assert (outcome.row, outcome.dispatch, outcome.kind, result.closed) == (1, 1, OutcomeKind.CRASHED, (1,))
    assert gone(stranger)
    assert gone(task)

    # And it works
    house.broker.assign(a_task(3, b"exit 3"))
    assert house.broker.outcomes(1)[0].status >> 8 == 3


def test_results_that_nobody_acknowledged_outlive_the_worker(house: House) -> None:
    """A12: a finished task is not run again because its worker died."""
    house.broker.commits = False
    process = house.welcome("-N", "2")
    house.broker.assign(*(a_task(row, b"exit %d" % row) for row in range(1, 6)))
    told = house.broker.outcomes(5)

    os.kill(process.worker, signal.SIGKILL)

    hello = house.broker.wait_for(messages.WorkerHello)
    assert set(hello.inventory) == {1, 2, 3, 4, 5}
    again = house.broker.outcomes(5)
    assert sorted(again) == sorted(told)
    house.broker.commit(1)
    house.broker.assign(a_task(6, b"true"))
    assert [outcome.row for outcome in house.broker.outcomes(1)] == [6]


def test_committed_results_are_not_told_again(house: House) -> None:
    """What the scheduler has acknowledged is forgotten."""
    process = house.welcome()
    house.run(b"true", b"true")
    house.broker.assign(a_task(3, b"echo runs; sleep 50"))
    process.line()

    os.kill(process.worker, signal.SIGKILL)

    hello = house.broker.wait_for(messages.WorkerHello)
    assert hello.inventory == (3,)


@pytest.mark.parametrize(
    ("point", "crashed"),
    [
        ("worker.received", None),
        ("worker.before_spawn", OutcomeKind.CRASHED),
        ("worker.after_spawn", OutcomeKind.CRASHED),
        ("worker.before_result", OutcomeKind.FINISHED),
        ("worker.after_result", OutcomeKind.FINISHED),
    ],
)
def test_a_worker_that_dies_at_a_named_point_loses_nothing(
    house: House, point: str, crashed: OutcomeKind | None
) -> None:
    """RELIABILITY 8.1: the successor says of the task exactly what is true of it; it dies once, for the marker is there then."""
    # The first message that is received is Welcome.
    number = 2 if point == "worker.received" else 1
    house.broker.commits = False
    process = house.welcome(HYPERSHELL_CRASH_AT=f"{point}:{number}:{house.folder}/died")
    first = house.broker.worker
    house.broker.assign(a_task(1, b"echo ran >>%s/ran; sleep 0.3" % os.fsencode(house.folder)))

    hello = house.broker.wait_for(messages.WorkerHello, lambda hello: hello.worker != first)

    assert hello.replaces == first
    assert hello.inventory == (() if crashed is None else (1,))
    if crashed is not None:
        (outcome,) = house.broker.outcomes(1)
        assert (outcome.row, outcome.kind) == (1, crashed)
    process.hang_up()
    assert process.wait() == 0


def test_a_worker_that_dies_after_a_commit_has_nothing_to_tell(house: House) -> None:
    """What was acknowledged and released is not in the map any more."""
    house.welcome(HYPERSHELL_CRASH_AT=f"worker.after_committed:1:{house.folder}/died")
    house.broker.assign(a_task(1, b"true"))
    house.broker.outcomes(1)

    hello = house.broker.wait_for(messages.WorkerHello)

    assert hello.inventory == ()


def test_a_task_that_kills_its_worker_every_time_does_not_end_the_guardian_at_once(house: House) -> None:
    """A14: five crashes are told, which is when the scheduler stops to try."""
    house.welcome()

    for dispatch in range(1, 6):
        house.broker.assign(a_task(dispatch, b"kill -9 $PPID; sleep 50", dispatch=dispatch))
        (outcome,) = house.broker.outcomes(1)
        assert (outcome.dispatch, outcome.kind) == (dispatch, OutcomeKind.CRASHED)

    house.broker.assign(a_task(6, b"exit 7"))
    assert house.broker.outcomes(1)[0].status >> 8 == 7


def test_after_too_many_restarts_the_guardian_ends_with_status_0(house: House) -> None:
    """Bounded: a worker that never gets anything done is not restarted for ever; a launcher must not see a failure."""
    process = house.start(HYPERSHELL_CRASH_AT="worker.received")
    house.broker.wait_for(messages.WorkerHello)

    for _ in range(10):
        house.broker.wait_for(messages.WorkerHello)

    assert process.wait() == 0


def test_a_worker_that_is_not_patient_says_what_it_tried(house: House) -> None:
    """Each address, and why it failed; the guardian passes on that it could not begin."""
    with socket.create_server(("127.0.0.1", 0)) as stranger, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [stranger.getsockname()[1], other.getsockname()[1]]
        other.close()
        endpoints = tuple(f"tcp://127.0.0.1:{port}" for port in ports)
        process = WorkerProcess(replace(house.broker.connection, endpoints=endpoints), "--patience", "0.5")
        try:
            status = process.wait()
            said = process.written(process.process.stderr).decode()
        finally:
            process.end()

    assert status == 3
    assert said.startswith("hs-worker: the broker is not reached from here: ")
    assert f"{endpoints[0]}: somebody answers, but not with the key of this cluster" in said
    assert f"{endpoints[1]}: Connection refused" in said


def test_a_killed_guardian_takes_everything_with_it(house: House) -> None:
    """A6: the worker reads the end of its pipe, hands back what ran, and nothing survives."""
    process = house.welcome("-N", "1")
    worker = process.worker
    house.broker.assign(a_task(1, b"setsid sleep 50 & echo $!; echo $$; sleep 50"), a_task(2, b"true"))
    stranger, task = int(process.line()), int(process.line())

    process.process.kill()

    outcomes = house.broker.outcomes(2)
    assert {outcome.row: outcome.kind for outcome in outcomes} == {
        1: OutcomeKind.HANDED_BACK,
        2: OutcomeKind.HANDED_BACK,
    }
    house.broker.wait_for(messages.Bye)
    assert all(gone(pid) for pid in (worker, stranger, task))


def test_a_worker_that_was_told_to_stop_by_its_lifeline_has_no_successor(house: House) -> None:
    """The run has ended, and it only waits for who reads its outputs: nobody would tell a successor to leave."""
    process = house.welcome("--relay")
    worker = process.worker
    house.run(b"yes | head -c 600000")
    assert process.process.stdin is not None
    process.process.stdin.write(b"stop\n")
    house.broker.wait_for(messages.Bye)

    os.kill(worker, signal.SIGKILL)

    assert process.wait() == 0


def test_the_end_of_the_lifeline_ends_all_within_seconds(house: House) -> None:
    """COMMON: hs-cluster is gone; running tasks are handed back, and all has ended."""
    process = house.welcome("-N", "1")
    worker = process.worker
    house.broker.assign(a_task(1, b"trap '' INT TERM HUP; setsid sleep 50 & echo $!; echo $$; sleep 50; sleep 50"))
    stranger, task = int(process.line()), int(process.line())

    process.hang_up()

    assert house.broker.outcomes(1)[0].kind == OutcomeKind.HANDED_BACK
    assert process.wait() == 0
    assert all(gone(pid) for pid in (worker, stranger, task))


def test_the_end_of_the_lifeline_ends_a_worker_that_hangs_and_knows_no_broker(house: House) -> None:
    """The guardian waits two seconds, no more."""
    process = house.welcome("-N", "1")
    worker = process.worker
    house.broker.assign(a_task(1, b"echo $$; sleep 50"))
    task = int(process.line())
    os.kill(worker, signal.SIGSTOP)

    process.hang_up()

    assert process.wait() == 0
    assert all(gone(pid) for pid in (worker, task))


def test_the_first_signal_drains_and_the_second_stops(house: House) -> None:
    """SIGINT: what runs may finish, what waits goes back; again: what runs is stopped and goes back."""
    # Given one running and one waiting
    process = house.welcome("-N", "1")
    stops = b"trap 'echo stopped; exit 0' INT; echo runs; while :; do sleep 0.05; done"
    house.broker.assign(a_task(1, stops), a_task(2, b"true"))
    process.line()

    # When it is told once
    os.kill(process.process.pid, signal.SIGINT)

    # Then only what waited goes back, and no more is taken
    (waiting,) = house.broker.outcomes(1)
    assert (waiting.row, waiting.kind) == (2, OutcomeKind.HANDED_BACK)
    ready = house.broker.wait_for(messages.Ready)
    assert ready.credit == 0

    # And when it is told again, the task gets SIGINT and goes back, whatever it says
    os.kill(process.process.pid, signal.SIGINT)
    (running,) = house.broker.outcomes(1)
    assert (running.row, running.kind) == (1, OutcomeKind.HANDED_BACK)
    assert process.line() == b"stopped\n"
    house.broker.wait_for(messages.Bye)
    assert process.wait() == 0


def test_a_drained_worker_waits_for_its_results_to_be_committed(house: House) -> None:
    """A drain ends when the scheduler has everything."""
    house.broker.commits = False
    process = house.welcome("-N", "1")
    house.broker.assign(a_task(1, b"echo runs; sleep 0.2; exit 4"))
    process.line()
    os.kill(process.process.pid, signal.SIGUSR1)
    result = house.broker.wait_for(messages.Result)
    assert process.process.poll() is None

    house.broker.commit(result.sequence)

    house.broker.wait_for(messages.Bye)
    assert process.wait() == 0


def test_sigterm_gives_the_grace_that_was_set(house: House) -> None:
    """Running tasks get `worker.grace` seconds, then they are stopped and go back."""
    process = house.welcome("-N", "1", "-S", "0.3", HYPERSHELL_WORKER_GRACE="0.3")
    house.broker.assign(a_task(1, b"echo runs; sleep 50"))
    process.line()

    os.kill(process.process.pid, signal.SIGTERM)

    assert house.broker.outcomes(1)[0].kind == OutcomeKind.HANDED_BACK
    assert process.wait() == 0


def test_a_new_epoch_and_a_lost_session_bring_the_results_again(house: House) -> None:
    """Same sequence, same body, until it is committed; nothing runs twice."""
    house.broker.commits = False
    house.welcome()
    house.broker.assign(a_task(1, b"echo ran >>%s/ran" % os.fsencode(house.folder)))
    first = house.broker.wait_for(messages.Result)

    house.broker.say(messages.NewEpoch(session=house.broker.session, epoch=2))
    second = house.broker.wait_for(messages.Result)
    house.broker.say(messages.WhoAreYou())
    hello = house.broker.wait_for(messages.WorkerHello)
    third = house.broker.wait_for(messages.Result)

    assert hello.inventory == (1,)
    assert [(one.sequence, one.body) for one in (second, third)] == [(first.sequence, first.body)] * 2
    assert (house.folder / "ran").read_text() == "ran\n"


def test_a_repeated_or_stale_assign_runs_nothing_twice(house: House) -> None:
    """I8: the same bundle again, also after its end; and an Assign of an older session."""
    house.welcome()
    ran = b"echo $TASK_ID >>%s/ran" % os.fsencode(house.folder)
    old = house.broker.session
    house.broker.assign(a_task(1, ran))
    house.broker.assign(a_task(1, ran))
    house.broker.outcomes(1)
    house.broker.assign(a_task(1, ran))
    house.broker.say(messages.WhoAreYou())
    house.broker.wait_for(messages.WorkerHello)
    house.broker.assign(a_task(2, ran), session=old)
    house.broker.assign(a_task(3, ran))

    assert [outcome.row for outcome in house.broker.outcomes(1)] == [3]
    assert [line[-1] for line in (house.folder / "ran").read_text().split()] == ["1", "3"]


def test_tasks_that_run_for_over_a_second_are_told(house: House) -> None:
    """Once per dispatch, and again to a new scheduler."""
    house.welcome()
    house.broker.assign(a_task(1, b"sleep 50"))

    (first,) = house.broker.running()
    house.broker.say(messages.NewEpoch(session=house.broker.session, epoch=2))
    (second,) = house.broker.running()

    assert first == second
    assert (first.row, first.dispatch) == (1, 1)
    assert first.start > 1.5e9


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that holds keys")
def test_a_host_that_makes_no_processes_costs_no_task(house: House) -> None:
    """E1: EMFILE hands the task back with the reason; nothing is counted, and when it can again, it does."""
    process = house.welcome("-N", "1", "--relay")
    worker = process.worker
    soft, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{worker}/fd")), hard))
    house.broker.assign(a_task(1, b"true"))
    (outcome,) = house.broker.outcomes(1)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.HANDED_BACK, "spawn:EMFILE")

    resource.prlimit(worker, resource.RLIMIT_NOFILE, (soft, hard))
    house.broker.assign(a_task(2, b"exit 6"))
    (outcome,) = house.broker.outcomes(1)
    assert (outcome.row, outcome.kind, outcome.status >> 8) == (2, OutcomeKind.FINISHED, 6)


@pytest.fixture
def user() -> Sequence[str]:
    """Give what starts a program as a user whose processes are counted, as root's are not."""
    if os.geteuid():
        return ()
    somebody = str(20_000 + os.getpid() % 40_000)  # nobody else's: all of a user's processes count
    may_read = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    return ("setpriv", f"--reuid={somebody}", "--clear-groups", *may_read)


def test_a_worker_that_can_have_no_process_says_so_in_one_line(house: House, user: Sequence[str]) -> None:
    """A limit of the host is no defect of ours."""
    process = house.start(before=[*user, "prlimit", "--nproc=1:"])

    assert process.wait() == 3
    assert process.written(process.process.stderr) == (
        b"hs-worker: no process can be started: Resource temporarily unavailable\n"
    )


def test_a_successor_comes_as_soon_as_the_host_makes_processes_again(house: House, user: Sequence[str]) -> None:
    """The guardian has the outcomes that nobody acknowledged, and waits with them."""
    house.broker.commits = False
    process = house.welcome(before=user)
    house.broker.assign(a_task(1, b"exit 7"))
    (told,) = house.broker.outcomes(1)
    allow = [*user, "prlimit", "--pid", str(process.process.pid)]
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    subprocess.run([*allow, "--nproc=1:"], check=True)

    os.kill(process.worker, signal.SIGKILL)
    assert b"worker.unstarted" in process.log_line()
    subprocess.run([*allow, f"--nproc={most}:"], check=True)

    house.broker.wait_for(messages.WorkerHello)
    assert house.broker.outcomes(1) == [told]
    # It may have tried more than once.
    assert any(b"worker.restarted" in line for line in iter(process.log_line, b"\n"))


def test_no_successor_comes_once_whoever_started_the_worker_is_gone(house: House, user: Sequence[str]) -> None:
    """Nor one that the host would not make before."""
    process = house.welcome(before=user)
    allow = [*user, "prlimit", "--pid", str(process.process.pid)]
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    subprocess.run([*allow, "--nproc=1:"], check=True)
    os.kill(process.worker, signal.SIGKILL)
    assert b"worker.unstarted" in process.log_line()

    process.hang_up()
    subprocess.run([*allow, f"--nproc={most}:"], check=True)

    assert process.wait() == 0
    assert b"worker.restarted" not in process.written(process.process.stderr)
