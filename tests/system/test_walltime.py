"""Workers whose time runs out, as whole programs."""

import json

import pytest
from tests.faults.home import Home

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


@pytest.mark.parametrize(("wait", "reserve"), [("10", "12"), ("1", "4")])
def test_a_walltime_that_leaves_no_time_is_refused(home: Home, wait: str, reserve: str) -> None:
    """Not a worker that comes, does nothing and goes. Its signals are 5 s apart at the most."""
    done = home.run("hs-worker", "--connection", "main", "--walltime", reserve, "-S", wait)

    assert done.returncode == 2
    assert f"--walltime {reserve} leaves no time: the last {reserve} s are for".encode() in done.stderr
