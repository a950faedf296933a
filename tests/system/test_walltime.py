"""Workers whose time runs out, as whole programs."""

import json

import pytest
from tests.faults.home import Home
from tests.faults.processes import ended_within, until
from tests.system.standing import STEP_S

pytestmark = pytest.mark.system

SHORT = {"HYPERSHELL_WORKER_MARGIN": "3"}


def test_a_task_that_fits_is_never_cut_off_and_the_rest_is_there_for_the_next_job(home: Home) -> None:
    """The requeue of a batch job: the same line, until all is done."""
    # Given tasks of a second with a limit of four, and workers that have ten
    lines = b"".join(b"sleep 1; echo %d >>ran # HYPERSHELL: timeout:4\n" % number for number in range(16))
    home.write("tasks", lines)
    command = ("hs-cluster", "--once", "--database", "db", "-N2", "-S", "0.3", "--joblog", "log", "tasks")

    # When the first ends with its time
    first = home.run(*command, "--walltime", "10", env=SHORT)

    # Then it says what is left, and that what ran has ended
    assert first.returncode == 3, first.stderr
    assert b"its time is over" in first.stderr
    assert b"hs-cluster: the time of its workers is over" in first.stderr
    assert b"started again" not in first.stderr
    assert b"tasks left, to go on: " in first.stderr
    ran = len(home.read("ran").split())
    assert ran < 16

    # And the same line again does the rest: each task once, none stopped by its limit
    second = home.run(*command, env=SHORT)
    assert second.returncode == 0, second.stderr
    assert sorted(map(int, home.read("ran").split())) == list(range(16))
    rows = json.loads(home.run("hs", "task", "search", "--database", "db", "--json").stdout)
    assert {(row["exit_status"], row["reason"], row["attempt"]) for row in rows} == {(0, None, 1)}
    assert home.leftovers() == []


def test_what_no_worker_has_the_time_for_runs_on_the_next_one(home: Home) -> None:
    """Tasks without a limit, which only a worker takes that does not end soon."""
    # Given a worker that is about to end, and has a task; the others wait
    margin = {"HYPERSHELL_WORKER_MARGIN": "26"}
    held = b"until [ -e go ]; do sleep 0.1; done; echo 0 >>ran\n"
    tasks = home.write("tasks", held + b"".join(b"echo %d >>ran\n" % number for number in range(1, 20)))
    broker = home.start("hs-broker", "--bind", "127.0.0.1", env=margin)
    worker = ("hs-worker", "-N1", "--connection", "main")
    with open(home.path("log"), "wb") as log:
        scheduler = home.start("hs-scheduler", "--connection", "main", "--database", home.path("db"), tasks, stderr=log)
    first = home.start(*worker, "--walltime", "30", "-S", "0.3", env=margin)
    assert until(lambda: b"tasks.waiting" in home.read("log"), STEP_S)

    # When another one comes
    second = home.start(*worker, env=margin)
    home.write("go", b"")

    # Then
    assert ended_within(scheduler.pid, STEP_S)
    assert sorted(map(int, home.read("ran").split())) == list(range(20))
    for daemon in (first, second, broker):
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


@pytest.mark.parametrize(("wait", "reserve"), [("10", "12"), ("1", "4")])
def test_a_walltime_that_leaves_no_time_is_refused(home: Home, wait: str, reserve: str) -> None:
    """Not a worker that comes, does nothing and goes. Its signals are 5 s apart at the most."""
    done = home.run("hs-worker", "--connection", "main", "--walltime", reserve, "-S", wait)

    assert done.returncode == 2
    assert f"--walltime {reserve} leaves no time: the last {reserve} s are for".encode() in done.stderr
