"""Workers that a launcher starts: a script, and Open MPI's mpirun. What Slurm does is in `test_slurm.py`."""

import os
import re
import signal
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.home import Home
from tests.faults.processes import children, descendants, everyone, kill, until

from hs_common.clock import monotonic

pytestmark = pytest.mark.system

SCRIPT = b'#!/bin/sh\n"$@" & "$@" & wait\n'
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
"""Of mpirun, which otherwise refuses to run as root, as tests may."""


@pytest.fixture(params=["script", "mpirun"])
def launcher(request: pytest.FixtureRequest, home: Home) -> Iterator[str]:
    """Start two workers."""
    home.env |= AS_ROOT
    if request.param == "mpirun":
        yield "mpirun --oversubscribe -n 2"
    else:
        os.chmod(home.write("both", SCRIPT), 0o755)
        yield "./both"


def workers(cluster: subprocess.Popen[bytes]) -> dict[int, int]:
    """Return guardian -> worker of what a cluster has running."""
    found = {}
    for pid in descendants(cluster.pid):
        if name(pid) == "hs-worker" and (below := [child for child in children(pid) if name(child) == "hs-worker"]):
            found[pid] = below[0]
    return found


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_two_thousand_tasks_run_once_each_and_nothing_is_left(home: Home, launcher: str) -> None:
    """Not a process, a socket, a file."""
    lines = b"".join(b"echo %d >> ledger\n" % number for number in range(2000))

    done = home.run("hs-cluster", "--launcher", launcher, "-N2", stdin=lines, seconds=120)

    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert Counter(map(int, home.read("ledger").split())) == Counter(range(2000))
    assert b"2000 tasks, 0 failed" in done.stderr
    assert home.leftovers() == []
    (run,) = Path(home.site, "runs").iterdir()
    assert not (run / "connect").exists()


def test_both_workers_take_work(home: Home, launcher: str) -> None:
    """Two tasks that wait for each other need two workers of one slot."""
    lines = b"touch a; until [ -e b ]; do sleep 0.05; done\ntouch b; until [ -e a ]; do sleep 0.05; done\n"

    done = home.run("hs-cluster", "--launcher", launcher, stdin=lines)

    assert done.returncode == 0, done.stderr


def test_the_status_says_that_a_task_failed(home: Home, launcher: str) -> None:
    """The launcher's own status says nothing about tasks."""
    done = home.run("hs-cluster", "--launcher", launcher, "-f", "failed", stdin=b"true\nexit 7\n")

    assert done.returncode == 1, done.stderr
    assert home.read("failed") == b"exit 7\n"


@pytest.mark.parametrize("whom", ["worker", "guardian"])
def test_the_death_of_one_worker_does_not_take_the_other_along(home: Home, launcher: str, whom: str) -> None:
    """What it ran runs again, and the run completes; what the other one ran does not notice."""
    task = "echo start >> ledger; [ -e mark.{} ] || { touch mark.{}; until [ -e go ]; do sleep 0.05; done; }; echo {} >> ended"
    home.write("tasks", b"1\n2\n")
    cluster = home.start(
        "hs-cluster", "--launcher", launcher, "-N2", "-t", task, "tasks", env={"HYPERSHELL_WORKER_LEASE": "2"}
    )
    assert until(lambda: home.read("ledger").count(b"start") == 2 and len(workers(cluster)) == 2, 30)
    guardian, worker = next(item for item in workers(cluster).items() if children(item[1]))
    running = len(children(worker))

    kill(worker if whom == "worker" else guardian)

    assert until(lambda: home.read("ledger").count(b"start") == 2 + running, 30), home.read("ledger")
    home.write("go", b"")
    assert cluster.wait(30) == 0
    assert sorted(home.read("ended").split()) == [b"1", b"2"]
    assert home.leftovers() == []


def test_no_variable_of_the_launcher_reaches_a_task(home: Home, launcher: str) -> None:
    """An MPI program would take itself for a rank of ours, and wait for ever."""
    done = home.run("hs-cluster", "--launcher", launcher, stdin=b"env\n", env={"HOME": home.folder})

    names = {line.partition(b"=")[0].decode() for line in done.stdout.splitlines()}
    assert "TASK_ID" in names
    launched = {n for n in names if re.match(r"(OMPI|PMIX|PRTE|PMI)_|HYPERSHELL_SETTINGS", n)}
    assert launched == set()


def test_values_arrive_as_they_are(home: Home, launcher: str) -> None:
    """Neither launcher nor shell may look at a template or a task."""
    odd = rb"""a  b 'c' "d" $HOME `x` \n * {x}"""

    done = home.run(
        "hs-cluster", "--launcher", launcher, "-t", "printf '%s|%s\\n' 'x  \"y\"\nz' {q}", stdin=odd + b"\n"
    )

    assert done.stdout == b'x  "y"\nz|' + odd + b"\n", done.stderr


def test_the_keys_are_in_a_private_file_and_nowhere_else(home: Home, launcher: str) -> None:
    """Not in an argument, an environment, or what is said."""
    home.write("tasks", b"env > seen; until [ -e go ]; do sleep 0.05; done\n")
    cluster = home.start("hs-cluster", "--launcher", launcher, "-vv", "tasks", stderr=subprocess.PIPE)
    assert until(lambda: home.read("seen"), 30)
    (path,) = Path(home.site, "runs").glob("*/connect/worker.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    (secret,) = re.findall(r'"secret": "([^"]+)"', text)

    exposed = [
        f"{pid} {what}" for pid in everyone() for what in ("cmdline", "environ") if secret.encode() in look(pid, what)
    ]
    home.write("go", b"")
    _, said = cluster.communicate(timeout=30)

    assert exposed == []
    assert secret.encode() not in said
    assert secret.encode() not in home.read("seen")


def look(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def test_the_first_signal_drains_and_what_is_left_can_be_continued(home: Home, launcher: str) -> None:
    """Running tasks finish; nothing new starts; the workers leave by themselves."""
    home.write("tasks", b"touch one; until [ -e go ]; do sleep 0.05; done; touch ended\n" + b"touch two\n" * 4)
    cluster = home.start("hs-cluster", "--launcher", launcher, "-b5", "tasks", stderr=subprocess.PIPE)
    assert until(lambda: home.read("one") is not None and os.path.exists(home.path("one")), 30)
    assert until(lambda: os.path.exists(home.path("two")), 30)

    cluster.send_signal(signal.SIGINT)
    assert cluster.stderr is not None
    assert b"draining" in cluster.stderr.readline()
    home.write("go", b"")

    assert cluster.wait(30) == 130
    assert os.path.exists(home.path("ended"))
    assert home.leftovers() == []


def test_the_second_signal_stops_what_runs(home: Home, launcher: str) -> None:
    """Wherever it runs. What a shell starts in the background ignores SIGINT: it gets SIGTERM a second later."""
    home.write("tasks", b"trap 'touch stopped; exit' INT TERM; touch one; while :; do sleep 0.05; done\n")
    cluster = home.start("hs-cluster", "--launcher", launcher, "-S1", "tasks", stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("one")), 30)
    assert cluster.stderr is not None
    cluster.send_signal(signal.SIGINT)
    assert b"draining" in cluster.stderr.readline()

    cluster.send_signal(signal.SIGINT)

    assert cluster.wait(30) == 130
    assert os.path.exists(home.path("stopped"))
    assert home.leftovers() == []


def test_nothing_survives_a_killed_cluster(home: Home, launcher: str) -> None:
    """Its launcher is ended by who holds the lifeline."""
    home.write("tasks", b"touch one; exec sleep 300\n")
    cluster = home.start("hs-cluster", "--launcher", launcher, "tasks")
    assert until(lambda: os.path.exists(home.path("one")), 30)
    home.remember(cluster.pid)

    cluster.kill()

    assert home.leftovers(seconds=15) == []


def test_a_broker_that_dies_is_found_again_by_all(home: Home, launcher: str) -> None:
    """Nothing runs twice."""
    home.write("tasks", b"".join(b"echo %d >> ledger; sleep 0.05\n" % number for number in range(100)))
    cluster = home.start("hs-cluster", "--launcher", launcher, "-N2", "tasks")
    assert until(lambda: home.read("ledger").count(b"\n") > 10, 30)

    kill(next(pid for pid in children(cluster.pid) if name(pid) == "hs-broker"))

    assert cluster.wait(60) == 0
    assert Counter(map(int, home.read("ledger").split())) == Counter(range(100))


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
def test_a_launcher_that_fails_ends_the_run_within_seconds(home: Home, launcher: str, said: bytes) -> None:
    """With its own words, and with what to do about what is left."""
    began = monotonic()

    done = home.run("hs-cluster", "--launcher", launcher, stdin=b"sleep 100\n")

    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert b"to go on: hs-cluster --restart" in done.stderr
    assert monotonic() - began < 15
    assert home.leftovers() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--launcher", "/no/such/program -n 2"], b"/no/such/program"),
        (["--launcher", "srun 'x"], b"No closing quotation"),
        (["--launcher", " "], b"expected a program"),
        (["--launcher", "true", "--mpi"], b"exclude each other"),
        (["--launcher", "true", "-k"], b"exclude each other"),
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


def test_a_worker_program_elsewhere_can_be_named(home: Home) -> None:
    """Where the workers run it may be installed in another place."""
    os.chmod(home.write("theirs", b'#!/bin/sh\ntouch used\nexec hs-worker "$@"\n'), 0o755)

    done = home.run("hs-cluster", "--launcher", "env A=b", "--remote-exe", home.path("theirs"), stdin=b"echo $A\n")

    assert (done.returncode, done.stdout) == (0, b"b\n"), done.stderr
    assert os.path.exists(home.path("used"))
