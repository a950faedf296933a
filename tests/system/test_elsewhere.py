"""Workers that are started elsewhere: by a script, mpirun, srun, and over SSH by either client."""

import os
import re
import signal
import stat
import subprocess
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from tests.faults.home import Home
from tests.faults.processes import children, descendants, kill, name_of, until
from tests.system import secrets
from tests.system.conftest import Elsewhere

pytestmark = pytest.mark.system

BEGIN_S = 100.0
"""For whatever is waited for: Slurm may leave a job waiting for half a minute on an idle node."""


def workers(home: Home) -> dict[int, int]:
    """Return guardian -> worker of what runs in a home, on whatever host."""
    found = {}
    for pid in home.alive():
        if name_of(pid) == "hs-worker" and (
            below := [child for child in children(pid) if name_of(child) == "hs-worker"]
        ):
            found[pid] = below[0]
    return found


def end(guardian: int, worker: int, whom: str) -> None:
    """Kill a worker, its guardian, or both and what they started, in no time in which one could act for the other."""
    whole = [guardian, *descendants(guardian)]
    doomed = {"worker": [worker], "guardian": [guardian], "all": whole}[whom]
    for signum in (signal.SIGSTOP, signal.SIGKILL) if whom == "all" else (signal.SIGKILL,):
        for pid in doomed:
            kill(pid, signum)


def test_two_thousand_tasks_run_once_each_and_nothing_is_left(home: Home, elsewhere: Elsewhere) -> None:
    """Not a process, a socket, a file."""
    lines = b"".join(b"echo %d >> ledger\n" % number for number in range(2000))

    done = home.run("hs-cluster", *elsewhere, "-N2", stdin=lines, seconds=120)

    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert Counter(map(int, home.read("ledger").split())) == Counter(range(2000))
    assert b"2000 tasks, 0 failed" in done.stderr
    assert home.leftovers() == []
    assert not list(Path(home.site, "runs").glob("*/connect"))


def test_both_workers_take_work(home: Home, elsewhere: Elsewhere) -> None:
    """Two tasks that wait for each other need two workers of one slot."""
    lines = b"touch a; until [ -e b ]; do sleep 0.05; done\ntouch b; until [ -e a ]; do sleep 0.05; done\n"

    done = home.run("hs-cluster", *elsewhere, stdin=lines, seconds=BEGIN_S)

    assert done.returncode == 0, done.stderr


def test_the_status_says_that_a_task_failed(home: Home, elsewhere: Elsewhere) -> None:
    """The launcher's own status says nothing about tasks."""
    done = home.run("hs-cluster", *elsewhere, "-f", "failed", stdin=b"true\nexit 7\n")

    assert done.returncode == 1, done.stderr
    assert home.read("failed") == b"exit 7\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees to which run a process belongs that holds keys")
@pytest.mark.parametrize("whom", ["worker", "guardian", "all"])
def test_the_death_of_one_worker_does_not_take_the_other_along(home: Home, elsewhere: Elsewhere, whom: str) -> None:
    """What it ran runs again, and the run completes; what the other one ran does not notice. Nobody waits for a lease."""
    # But for a launcher of many workers, of which nobody hears that one is gone altogether.
    lease = {"HYPERSHELL_WORKER_LEASE": "5"} if whom == "all" and elsewhere[0] == "--launcher" else {}
    once = "[ -e mark.{} ] || { touch mark.{}; echo start >> ledger; until [ -e go ]; do sleep 0.05; done; }"
    task = f"[ -e mark.{{}} ] && echo start >> ledger; {once}; echo {{}} >> ended"
    home.write("tasks", b"1\n2\n")
    cluster = home.start("hs-cluster", *elsewhere, "-N2", "-t", task, "tasks", env=lease)
    assert until(lambda: home.read("ledger").count(b"start") == 2 and len(workers(home)) == 2, BEGIN_S)
    guardian, worker = next(item for item in workers(home).items() if children(item[1]))
    running = len(children(worker))

    end(guardian, worker, whom)

    assert until(lambda: home.read("ledger").count(b"start") == 2 + running, BEGIN_S), home.read("ledger")
    home.write("go", b"")
    assert cluster.wait(BEGIN_S) == 0
    assert sorted(home.read("ended").split()) == [b"1", b"2"]
    assert home.leftovers() == []


def test_no_variable_of_the_launcher_reaches_a_task(home: Home, elsewhere: Elsewhere) -> None:
    """An MPI program would take itself for a rank of ours, and wait for ever."""
    done = home.run("hs-cluster", *elsewhere, stdin=b"env\n", env={"HOME": home.folder})

    names = {line.partition(b"=")[0].decode() for line in done.stdout.splitlines()}
    assert "TASK_ID" in names
    launched = {n for n in names if re.match(r"(OMPI|PMIX|PRTE|PMI)_|HYPERSHELL_SETTINGS", n)}
    assert launched == set()


def test_values_arrive_as_they_are(home: Home, elsewhere: Elsewhere) -> None:
    """Neither launcher nor shell may look at a template or a task."""
    odd = rb"""a  b 'c' "d" $HOME `x` \n * {x}"""

    done = home.run("hs-cluster", *elsewhere, "-t", "printf '%s|%s\\n' 'x  \"y\"\nz' {q}", stdin=odd + b"\n")

    assert done.stdout == b'x  "y"\nz|' + odd + b"\n", done.stderr


def test_the_keys_are_in_private_files_and_nowhere_else(
    home: Home, elsewhere: Elsewhere, request: pytest.FixtureRequest
) -> None:
    """Not in an argument or environment of any process, not in what `ps` shows, a log, or what Slurm keeps of a job."""
    # Given a run that says all it can, with a task on each worker
    home.env["HYPERSHELL_LOGGING_LEVEL"] = "debug"
    home.write("tasks", b"env >>seen; echo >>begun; until [ -e go ]; do sleep 0.05; done\n" * 2)
    with open(home.path("said"), "wb") as said:
        cluster = home.start("hs-cluster", *elsewhere, "-N1", "tasks", stderr=said)
    assert until(lambda: len(home.read("begun")) == 2, BEGIN_S), home.read("said")

    # When we look at everything meanwhile, and at what it leaves
    files = secrets.kept(home)
    modes = {stat.S_IMODE(os.stat(path).st_mode) for path in files}
    folders = [home.folder, *([request.getfixturevalue("slurm").folder] if "SLURM_CONF" in home.env else [])]
    seen = secrets.shown() | secrets.written(*folders)
    home.write("go", b"")
    assert cluster.wait(BEGIN_S) == 0, home.read("said")
    left = secrets.written(*folders)

    # Then
    keys = list(chain(*files.values()))
    assert {os.path.basename(path) for path in files} >= {"worker.json", "control.json"}
    assert modes == {0o600}
    assert set(secrets.places(keys, seen)) == set(files)
    assert secrets.places(keys, left) == []


def test_the_first_signal_drains_and_what_is_left_can_be_continued(home: Home, elsewhere: Elsewhere) -> None:
    """Running tasks finish; nothing new starts; the workers leave by themselves."""
    home.write("tasks", b"touch one; until [ -e go ]; do sleep 0.05; done; touch ended\n" + b"touch two\n" * 4)
    cluster = home.start("hs-cluster", *elsewhere, "-b5", "tasks", stderr=subprocess.PIPE)
    assert until(lambda: home.read("one") is not None and os.path.exists(home.path("one")), BEGIN_S)
    assert until(lambda: os.path.exists(home.path("two")), BEGIN_S)

    cluster.send_signal(signal.SIGINT)
    assert cluster.stderr is not None
    assert b"draining" in cluster.stderr.readline()
    home.write("go", b"")

    assert cluster.wait(BEGIN_S) == 130
    assert os.path.exists(home.path("ended"))
    assert home.leftovers() == []


def test_the_second_signal_stops_what_runs(home: Home, elsewhere: Elsewhere) -> None:
    """Wherever it runs. What a shell starts in the background ignores SIGINT: it gets SIGTERM a second later."""
    home.write("tasks", b"trap 'touch stopped; exit' INT TERM; touch one; while :; do sleep 0.05; done\n")
    cluster = home.start("hs-cluster", *elsewhere, "-S1", "tasks", stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("one")), BEGIN_S)
    assert cluster.stderr is not None
    cluster.send_signal(signal.SIGINT)
    assert b"draining" in cluster.stderr.readline()

    cluster.send_signal(signal.SIGINT)

    assert cluster.wait(BEGIN_S) == 130
    assert os.path.exists(home.path("stopped"))
    assert home.leftovers() == []


def test_nothing_survives_a_killed_cluster(home: Home, elsewhere: Elsewhere) -> None:
    """Its launcher is ended by who holds the lifeline."""
    home.write("tasks", b"touch one; exec sleep 300\n")
    cluster = home.start("hs-cluster", *elsewhere, "tasks")
    assert until(lambda: os.path.exists(home.path("one")), BEGIN_S)
    home.remember(cluster.pid)

    cluster.kill()

    assert home.leftovers() == []


def test_a_broker_that_dies_is_found_again_by_all(home: Home, elsewhere: Elsewhere) -> None:
    """Nothing runs twice."""
    home.write("tasks", b"".join(b"echo %d >> ledger; sleep 0.05\n" % number for number in range(100)))
    cluster = home.start("hs-cluster", *elsewhere, "-N2", "tasks")
    assert until(lambda: home.read("ledger").count(b"\n") > 10, BEGIN_S)

    kill(next(pid for pid in children(cluster.pid) if name_of(pid) == "hs-broker"))

    assert cluster.wait(BEGIN_S) == 0
    assert Counter(map(int, home.read("ledger").split())) == Counter(range(100))
