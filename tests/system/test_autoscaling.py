"""`-A`, as whole programs: workers here, and those of a launcher."""

import json
import os
import re
import signal
import subprocess
from typing import Any

import pytest
from tests.faults.home import Home
from tests.faults.processes import children, descendants, ended_within, kill, name_of, state, until
from tests.system.slurm import Slurm

from hs_common.errors import HSError
from hs_scheduler.commands.live import client_of

pytestmark = pytest.mark.system

STEP_S = 100.0
"""Slurm may leave a job waiting for half a minute on an idle node."""
SRUN = "srun --ntasks=1 --overcommit --oversubscribe"


def status(home: Home) -> dict[str, Any]:
    """Ask the scheduler how things are; {}: it cannot say now."""
    try:
        client = client_of(home.path("db"))
        if client is None:
            return {}
        try:
            found: dict[str, Any] = json.loads(client.ask("status"))
        finally:
            client.close()
    except HSError:
        return {}
    return found


def size(home: Home) -> int:
    return len(status(home).get("workers", ()))


def scaled(home: Home, *options: str) -> subprocess.Popen[bytes]:
    with open(home.path("log"), "wb") as log:
        return home.start("hs-cluster", "--database", "db", "-N1", "-P", "0.3", "-v", *options, stderr=log)


def stop(home: Home, cluster: subprocess.Popen[bytes]) -> None:
    """It ends when told to, and everything with it."""
    cluster.send_signal(signal.SIGINT)
    assert ended_within(cluster.pid, STEP_S), home.read("log")
    assert cluster.wait() == 130
    assert home.leftovers() == []


def guardians(cluster: subprocess.Popen[bytes]) -> list[int]:
    """Return the pids of the guardians that a cluster's autoscaler holds."""
    below = [grandchild for child in children(cluster.pid) for grandchild in children(child)]
    return [pid for pid in below if name_of(pid) == "hs-worker" and name_of(parent(pid)) == "hs-autoscaler"]


def parent(pid: int) -> int:
    """Return the pid of the parent, 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_fixed_keeps_its_size_when_workers_are_killed(home: Home) -> None:
    """And says why it starts another."""
    cluster = scaled(home, "-A", "fixed", "-I", "2", "-X", "2")
    assert until(lambda: size(home) == 2, STEP_S), home.read("log")
    victim = guardians(cluster)[0]

    kill(victim)

    # Until it has ended, the worker of the one that was killed looks like a guardian: so the decision comes first.
    assert until(lambda: b"1 of at least 2" in home.read("log"), STEP_S), home.read("log")
    assert until(lambda: len(guardians(cluster)) == 2 and victim not in guardians(cluster), STEP_S), home.read("log")
    assert home.run("hs", "submit", "--database", "db", "--", "echo done >>ran").returncode == 0
    assert until(lambda: home.read("ran") == b"done\n", STEP_S)
    assert until(lambda: status(home)["autoscaling"]["units"] == 2, STEP_S), "hs status has its numbers"
    stop(home, cluster)


@pytest.mark.parametrize("launcher", [(), ("--launcher", "env")], ids=["here", "env"])
def test_units_need_no_more_descriptors_than_a_user_has(home: Home, launcher: tuple[str, ...]) -> None:
    """Each costs some. The limit that the user's shell has set is for the tasks, which still have it."""
    options = ("--database", "db", "-A", "fixed", "-I", "12", "-X", "12", "-N1", *launcher)
    with open(home.path("log"), "wb") as log:
        cluster = home.start("sh", "-c", 'ulimit -Sn 36; exec "$@"', "sh", "hs-cluster", "-v", *options, stderr=log)
    assert until(lambda: size(home) == 12, STEP_S), home.read("log")
    assert home.run("hs", "submit", "--database", "db", "--", "ulimit -n >>ran").returncode == 0
    assert until(lambda: home.read("ran") == b"36\n", STEP_S), home.read("log")
    assert b"launch.failed" not in home.read("log")
    stop(home, cluster)


@pytest.fixture(params=["here", "srun"])
def where(request: pytest.FixtureRequest, home: Home) -> tuple[str, ...]:
    """Give the options for workers on this host, and for those of a real batch system."""
    if request.param == "here":
        return ()
    slurm: Slurm = request.getfixturevalue("slurm")
    home.env |= slurm.env | {"PATH": f"{home.env['PATH']}:/usr/sbin"}
    return ("--launcher", SRUN)


def test_what_a_unit_ran_that_died_runs_again_at_once(home: Home, where: tuple[str, ...]) -> None:
    """All of it: nobody of it is left to say so, and nobody waits for its lease."""
    # Given two units, and a task in one of them
    cluster = scaled(home, "-A", "fixed", "-I", "2", "-X", "2", *where)
    task = "echo $$ >>begun; until [ -e go ]; do sleep 0.05; done; echo >>ended"
    assert home.run("hs", "submit", "--database", "db", "--", task).returncode == 0
    assert until(lambda: home.read("begun"), STEP_S), home.read("log")
    worker = parent(int(home.read("begun")))
    doomed = [parent(worker), worker, *descendants(worker)]

    # When all that is of it is killed
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        for pid in doomed:
            kill(pid, signum)

    # Then it runs again, and is done
    assert until(lambda: home.read("begun").count(b"\n") == 2, STEP_S), home.read("log")
    home.write("go", b"")
    assert until(lambda: home.read("ended") == b"\n", STEP_S), home.read("log")
    stop(home, cluster)


def test_dynamic_grows_under_pressure_and_shrinks_when_there_is_nothing_to_do(
    home: Home, where: tuple[str, ...]
) -> None:
    """To the most, and back to the least: workers leave by themselves."""
    # Given one that begins with nothing
    cluster = scaled(home, "-A", "dynamic", "-I", "0", "-X", "1", "-Y", "3", "-T", "1", *where)
    home.write("tasks", b"[ -e go ] || sleep 0.3; echo x >>ran\n" * 400)
    assert until(lambda: size(home) == 1, STEP_S), home.read("log")

    # When there is much to do
    assert home.run("hs", "submit", "--database", "db", "-f", "tasks").returncode == 0

    # Then there are three, never more, and in the end one
    assert until(lambda: size(home) == 3, STEP_S), home.read("log")
    home.write("go", b"")
    assert until(lambda: len(home.read("ran").split()) == 400, STEP_S), home.read("log")
    assert until(lambda: size(home) <= 1 and status(home)["queued"] == 0, STEP_S), home.read("log")
    units = [int(found) for found in re.findall(rb"units=(\d+)", home.read("log"))]
    assert max(units) == 3
    stop(home, cluster)


def test_a_launcher_is_called_once_per_worker(home: Home) -> None:
    """With its own arguments first."""
    home.write("launch", b'#!/bin/sh\necho "$1" >>launched; shift; exec "$@"\n')
    os.chmod(home.path("launch"), 0o755)

    cluster = scaled(home, "-A", "-I", "2", "-X", "2", "-H", "127.0.0.1", "--launcher", "./launch here")

    assert until(lambda: size(home) == 2, STEP_S), home.read("log")
    assert home.read("launched") == b"here\nhere\n"
    stop(home, cluster)


def test_ten_launches_in_a_row_that_fail_end_the_run(home: Home) -> None:
    """With the launcher's own words."""
    home.write("launch", b"#!/bin/sh\necho no such partition >&2; exit 1\n")
    os.chmod(home.path("launch"), 0o755)

    home.write("tasks", b"echo 1\n")
    done = home.run("hs-cluster", "tasks", "--database", "db", "-A", "-P", "0.1", "--launcher", "./launch")

    assert done.returncode == 3, done.stderr
    assert b"10 launches in a row have failed" in done.stderr
    assert b"no such partition" in done.stderr
    assert b"1 task left" in done.stderr
    assert home.leftovers() == []


def test_a_launcher_that_returns_at_once_is_told_to_stay(home: Home) -> None:
    home.write("tasks", b"echo 1\n")
    done = home.run("hs-cluster", "tasks", "--database", "db", "-A", "-P", "0.1", "--launcher", "true")

    assert done.returncode == 3, done.stderr
    assert b"it must stay in the foreground" in done.stderr


@pytest.mark.parametrize("launcher", [(), ("--launcher", "env")], ids=["here", "env"])
def test_workers_that_leave_soon_are_no_launches_that_failed(home: Home, launcher: tuple[str, ...]) -> None:
    """Each was there, had nothing to do for `-T`, and left; ten of those must not end the cluster."""
    cluster = scaled(home, "-A", "-X", "1", "-T", "0.2", *launcher)

    assert until(lambda: home.read("log").count(b"start=True") >= 3, STEP_S), home.read("log")

    assert b"launch.failed" not in home.read("log")
    stop(home, cluster)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-F", "2"), b"-F 2: is for a cluster that is scaled: give -A too"),
        (("-A", "fast"), b"-A fast: is none of fixed, dynamic"),
        (("-A", "dynamic", "-I", "3"), b"-I 3 is more than -Y 2"),
        (("-A", "-P", "0"), b"0"),
        (("-A", "--no-db"), b"--no-db"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    home: Home, options: tuple[str, ...], said: bytes
) -> None:
    done = home.run("hs-cluster", *options)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_ctrl_z_reaches_the_tasks_of_workers_here(home: Home) -> None:
    """The signal goes through the autoscaler; one that was told to stand still is told to go on."""
    home.write("tasks", b"echo $$ > pid; exec sleep 300\n")
    cluster = scaled(home, "-A", "fixed", "tasks")
    assert until(lambda: home.read("pid").endswith(b"\n"), STEP_S)
    task = int(home.read("pid"))

    cluster.send_signal(signal.SIGTSTP)
    assert until(lambda: (state(task), state(cluster.pid)) == ("T", "T"), STEP_S)

    cluster.send_signal(signal.SIGCONT)
    assert until(lambda: state(task) == "S", STEP_S)
    cluster.send_signal(signal.SIGINT)
    assert until(lambda: b"draining" in home.read("log"), STEP_S)
    kill(task)
    assert cluster.wait(STEP_S) == 130
    assert home.leftovers() == []
