"""What is said of a launcher that fails, and how one is named. What all have in common is in `test_elsewhere`."""

import json
import os
import socket
import subprocess
import sys

import pytest
from tests.faults.home import Home
from tests.faults.processes import kill, until
from tests.system import astray
from tests.system.conftest import Elsewhere
from tests.system.slurm import Slurm

from hs_common.private_files import write_private
from hs_common.security import make_cluster

pytestmark = pytest.mark.system

BEGIN_S = 60.0


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("sh -c 'echo no nodes >&2; exit 5' sh", b"ended with status 5 (no nodes)"),
        ("sh -c 'kill -9 $$' sh", b"was killed by SIGKILL"),
        ("true", b"must stay in the foreground"),
        # It puts its worker into the background.
        ("sh -c '\"$@\" & exit 0' sh", b"must stay in the foreground"),
        ("sh -c 'exec \"$@\" --no-such-option' sh", b"No such option"),
    ],
)
def test_a_launcher_that_fails_ends_the_run(home: Home, launcher: str, said: bytes) -> None:
    """With its own words, and with what to do about what is left."""
    done = home.run("hs-cluster", "--launcher", launcher, stdin=b"sleep 100\n")

    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert b"to go on: hs-cluster --restart" in done.stderr
    assert home.leftovers() == []


@pytest.mark.parametrize("how", [("--launcher", "env"), ("-A",)], ids=" ".join)
def test_a_slow_reader_gets_all_outputs(home: Home, how: tuple[str, ...]) -> None:
    """Who looks at them with a pager takes his time, long after the last task has ended."""
    # Given a task whose output is more than a pipe holds, and a reader who has not begun
    tasks = home.write("tasks", b"seq 40000; echo over >>ran\n")
    reading, writing = os.pipe()
    cluster = home.start("hs-cluster", tasks, *how, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert cluster.stderr is not None
    if how == ("-A",):  # it stays until it is told to stop
        assert until(lambda: home.read("ran") == b"over\n", BEGIN_S)
        cluster.terminate()

    # When all that is left to do is to wait for him
    while b"waiting for outputs that are on their way" not in (line := cluster.stderr.readline()):
        assert line, "it has ended"

    # Then
    with open(reading, "rb") as stdout:
        assert stdout.read().split() == [b"%d" % number for number in range(1, 40001)]
    assert cluster.wait(BEGIN_S) == (143 if how == ("-A",) else 0)


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="needs root: another file system")
def test_a_site_that_the_hosts_do_not_share_is_said(home: Home) -> None:
    """The keys are in a file there; a launcher gives its workers no stdin."""
    alone = f"unshare --mount sh -c 'mount -t tmpfs none {home.site}; exec \"$@\"' sh"

    done = home.run("hs-cluster", "--launcher", alone, stdin=b"true\n")

    assert done.returncode == 3
    assert b"worker.json: no such file on" in done.stderr
    assert b"is its folder one that all hosts share?" in done.stderr


def led_astray(elsewhere: Elsewhere, ranks: str) -> Elsewhere:
    """Return options whose workers of these ranks see a wrong address."""
    option, launcher = elsewhere
    return (option, f"{launcher} {sys.executable} {astray.__file__} {ranks}")


@pytest.mark.parametrize("elsewhere", ["script", "mpirun", "srun"], indirect=True)
def test_workers_that_never_reach_the_broker_end_the_run(home: Home, elsewhere: Elsewhere) -> None:
    """They give up, each by itself; what they tried is the reason, with whatever status the launcher ends."""
    done = home.run("hs-cluster", *led_astray(elsewhere, "0,1"), stdin=b"true\n")

    assert done.returncode == 3, done.stderr
    reason = f"(hs-worker: the broker is not reached from here: {astray.NOWHERE}: Connection refused)\n"
    assert reason.encode() in done.stderr
    assert b"1 task left, to go on: hs-cluster --restart" in done.stderr
    assert home.leftovers() == []


@pytest.mark.parametrize("elsewhere", ["mpirun", "srun"], indirect=True)
def test_a_worker_that_never_reaches_the_broker_does_not_take_the_other_along(home: Home, elsewhere: Elsewhere) -> None:
    """It ends with a status other than 0 while the other one works; the run goes on with that."""
    lines = b"until [ -e gone ]; do sleep 0.05; done\necho done\n"
    cluster = home.start(
        "hs-cluster", *led_astray(elsewhere, "0"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert cluster.stdin is not None
    assert cluster.stderr is not None
    cluster.stdin.write(lines)
    cluster.stdin.close()
    assert any(b"hs-worker: the broker is not reached from here" in line for line in cluster.stderr)

    home.write("gone", b"")

    assert cluster.wait(BEGIN_S) == 0
    assert cluster.stdout is not None
    assert cluster.stdout.read() == b"done\n"
    assert home.leftovers() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--launcher", "/no/such/program -n 2"], b"/no/such/program"),
        (["--launcher", "srun 'x"], b"No closing quotation"),
        (["--launcher", " "], b"expected a program"),
        (["--launcher", "true", "--mpi"], b"exclude each other"),
        (["--launcher", "true", "-k"], b"--launcher and -k exclude each other: -c keeps what each task says"),
        (["--mpi", "--group-output"], b"--mpi and --group-output exclude each other: -c keeps what each task says"),
        (["--launcher", "true", "-o", "out"], b"exclude each other"),
    ],
)
def test_misuse_is_refused_before_anything_starts(home: Home, options: list[str], said: bytes) -> None:
    """One line that says what."""
    done = home.run("hs-cluster", *options, stdin=b"true\n")

    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert said in line


def test_a_continued_run_uses_the_same_launcher(home: Home) -> None:
    """It is one of the settings that a run records."""
    os.chmod(home.write("both", b'#!/bin/sh\necho launched >> launches\n"$@"\n'), 0o755)
    first = home.run("hs-cluster", "--launcher", "./both", "-t", "[ -e go ]", stdin=b"x\n")

    home.write("go", b"")
    second = home.run("hs-cluster", "--retry-failed")

    assert (first.returncode, second.returncode) == (1, 0), second.stderr
    assert home.read("launches") == b"launched\n" * 2


def over_srun(home: Home, slurm: Slurm) -> "subprocess.Popen[bytes]":
    """Start a run of two tasks on two workers, and wait until they run."""
    home.env |= slurm.env | {"PATH": f"{home.env['PATH']}:/usr/sbin"}
    home.write("tasks", b"echo >>begun; until [ -e go ]; do sleep 0.05; done; echo >>ended\n" * 2)
    launcher = "srun --job-name=ours --ntasks=2 --overcommit --oversubscribe"
    cluster = home.start("hs-cluster", "--launcher", launcher, "tasks", stderr=subprocess.PIPE)
    assert until(lambda: home.read("begun").count(b"\n") == 2, BEGIN_S)
    return cluster


def test_workers_of_a_killed_launcher_do_not_run_on(home: Home, slurm: Slurm) -> None:
    """Slurm keeps the job of an srun that was killed; its workers are told to stop before the run ends."""
    cluster = over_srun(home, slurm)

    for pid, line in home.alive().items():
        if "srun" in line.split(" ")[0]:
            kill(pid)

    _, said = cluster.communicate(timeout=BEGIN_S)
    assert cluster.returncode == 3
    assert b"srun was killed by SIGKILL" in said
    assert b"2 tasks left" in said
    assert home.leftovers(BEGIN_S) == []


def test_a_job_that_is_cancelled_gives_back_what_it_ran(home: Home, slurm: Slurm) -> None:
    """The controller may have been away meanwhile. The run ends with the words of srun, and can go on."""
    cluster = over_srun(home, slurm)
    slurm.end_controller()
    slurm.start_controller()

    slurm.run("scancel", "--name=ours")

    _, said = cluster.communicate(timeout=BEGIN_S)
    assert cluster.returncode == 3
    assert b"the launcher srun ended with status" in said
    assert b"2 tasks left" in said
    assert home.leftovers(BEGIN_S) == []
    home.write("go", b"")
    done = home.run("hs-cluster", "--restart", "--launcher", "env")
    assert (done.returncode, home.read("ended")) == (0, b"\n\n"), done.stderr


def test_a_worker_whose_cluster_is_over_leaves(home: Home) -> None:
    """It was coming while all the others were told to leave: the file by which it would find the broker is removed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, connections = make_cluster((f"tcp://127.0.0.1:{server.getsockname()[1]}",), "here")
        write_private(home.path("worker.json"), json.dumps(connections["worker"].to_json()).encode())
        worker = home.start("hs-worker", "--connection", home.path("worker.json"), stderr=subprocess.PIPE)
        server.settimeout(BEGIN_S)
        server.accept()[0].close()

    os.unlink(home.path("worker.json"))

    _, said = worker.communicate(timeout=BEGIN_S)
    assert worker.returncode == 0
    assert b"cluster.over" in said


def test_what_a_launcher_left_goes_on_with_another_one(home: Home) -> None:
    """With its own it fails again, with the same words; what is typed wins, and `env` starts the worker here."""
    failing = "sh -c 'echo no nodes >&2; exit 5' sh"
    first = home.run("hs-cluster", "--launcher", failing, stdin=b"echo done\n")

    again = home.run("hs-cluster", "--restart")
    here = home.run("hs-cluster", "--restart", "--launcher", "env")

    assert (first.returncode, again.returncode) == (3, 3)
    assert b"ended with status 5 (no nodes)" in again.stderr
    assert (here.returncode, here.stdout) == (0, b"done\n"), here.stderr
    assert b"--launcher env instead of" in here.stderr


def test_a_worker_program_elsewhere_can_be_named(home: Home) -> None:
    """Where the workers run it may be installed in another place."""
    os.chmod(home.write("theirs", b'#!/bin/sh\ntouch used\nexec hs-worker "$@"\n'), 0o755)

    done = home.run("hs-cluster", "--launcher", "env A=b", "--remote-exe", home.path("theirs"), stdin=b"echo $A\n")

    assert (done.returncode, done.stdout) == (0, b"b\n"), done.stderr
    assert os.path.exists(home.path("used"))
