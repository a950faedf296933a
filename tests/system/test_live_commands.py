"""What is asked of a running cluster: wait, run, status, and its workers."""

import json
import subprocess
from uuid import UUID

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, ended_within, kill, until
from tests.system.standing import STEP_S, Queue

pytestmark = pytest.mark.system


def submitted(queue: Queue, *words: str) -> str:
    done = queue.home.run("hs", "submit", "--", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo said; echo loud >&2; exit 7", 7),
        ("kill -9 $$", 137),  # 128 + the signal
        ("sleep 60 # HYPERSHELL: timeout:1", 130),  # stopped by SIGINT at its limit
    ],
)
def test_run_gives_what_the_command_gave(home: Home, command: str, expected: int) -> None:
    """Its output and its status, as if it ran here."""
    queue = Queue(home, "--capture", "-S", "1")
    if "timeout" in command:
        done = home.run("hs", "task", "run", "-t", "timeout:1", "--", "sleep", "60")
    else:
        done = home.run("hs", "task", "run", "--", "sh", "-c", command)
    assert done.returncode == expected, done.stderr
    if expected == 7:
        assert (done.stdout, done.stderr) == (b"said\n", b"loud\n")
    queue.end()


def test_run_says_that_its_task_was_cancelled(home: Home) -> None:
    """It has neither a status nor an output, captured or not."""
    queue = Queue(home, "--capture")
    running = home.start("hs", "task", "run", "--", "sleep", "60", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: queue.status()["running"] == 1, STEP_S)

    assert home.run("hs", "task", "update", "--cancel", "--all", "-y").returncode == 0

    assert running.communicate(timeout=STEP_S) == (b"", b"it was cancelled\n")
    assert running.returncode == 125
    queue.end()


def test_wait_is_told_of_the_end(queue: Queue) -> None:
    """Several at once; what is asked for besides is printed; a failure is returned where that is asked for."""
    ids = [submitted(queue, "sh", "-c", f"sleep 0.{number}; exit {number}") for number in (0, 3)]
    assert queue.home.run("hs", "task", "wait", *ids).returncode == 0
    done = queue.home.run("hs", "task", "wait", *ids, "--status", "--return")
    assert (done.returncode, done.stdout) == (3, b"0\n3\n")
    info = queue.home.run("hs", "task", "wait", ids[1], "--info")
    assert b"exit_status: 3" in info.stdout


def test_wait_has_a_limit_of_its_own_and_ends_when_its_task_is_cancelled_by_the_end_of_the_cluster(
    queue: Queue,
) -> None:
    """Status 124; and 3 when nobody will ever run it: a wait never hangs."""
    runs, waits = submitted(queue, "sleep 60"), submitted(queue, "sleep 60 # HYPERSHELL: cores:9999")
    assert queue.home.run("hs", "task", "wait", runs, "--timeout", "0.2").returncode == 124
    waiting = queue.home.start("hs", "task", "wait", waits, stderr=subprocess.PIPE)
    assert until(lambda: queue.status()["running"] == 2, STEP_S)

    queue.cluster.terminate()
    assert until(lambda: b"draining" in queue.home.run("hs", "status").stdout, STEP_S)
    queue.cluster.terminate()
    assert ended_within(queue.cluster.pid, STEP_S)

    _, errors = waiting.communicate(timeout=STEP_S)
    assert waiting.returncode == 3
    assert b"no scheduler takes care of" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("name", ["broker", "scheduler"])
def test_wait_outlives_the_daemons_that_it_speaks_to(queue: Queue, name: str) -> None:
    """It asks again; the task runs on meanwhile and ends once."""
    task = submitted(queue, "until [ -e go ]; do sleep 0.05; done; echo over >>ran")
    waiting = queue.home.start("hs", "task", "wait", task, stderr=subprocess.PIPE)
    assert until(lambda: queue.status()["running"] == 1, STEP_S)
    pid = daemon(queue.cluster.pid, name)
    assert pid is not None
    assert kill(pid)
    assert until(lambda: daemon(queue.cluster.pid, name) not in (None, pid))
    queue.home.write("go", b"")
    assert ended_within(waiting.pid, STEP_S)
    assert waiting.communicate()[1] == b""
    assert waiting.returncode == 0
    assert queue.lines() == [b"over"]


def test_status_tells_what_there_is(queue: Queue) -> None:
    for _ in range(3):
        submitted(queue, "sleep 60")
    assert until(lambda: queue.status()["running"] == 3, STEP_S)
    found = queue.status()
    assert (found["slots"], len(found["workers"]), found["queued"]) == (2, 1, 0)
    text = queue.home.run("hs", "status").stdout.decode()
    assert "1 on 1 host, 2 slots" in text
    watch = queue.home.start("hs", "status", "--watch", "--json", stdout=subprocess.PIPE)
    assert watch.stdout is not None
    assert [json.loads(watch.stdout.readline())["slots"] for _ in range(2)] == [2, 2]
    watch.kill()
    watch.stdout.close()


def test_without_a_cluster_each_says_so_in_one_line(home: Home) -> None:
    """Status 3."""
    home.run("hs", "submit", "--", "true")
    for command in (
        ["hs", "status"],
        ["hs", "worker", "list"],
        ["hs", "worker", "drain", "abc"],
        ["hs", "status", "--connection", "nope"],
        ["hs", "submit", "--connection", "nope", "--", "true"],
        ["hs", "task", "run", "--", "true"],
        ["hs", "task", "wait", home.run("hs", "submit", "--", "true").stdout.decode().strip()],
    ):
        done = home.run(*command)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, b"", 1), command


def test_a_worker_is_named_by_the_start_of_its_id_and_drains(home: Home) -> None:
    """It finishes what it runs. One that is not there is an error; so is no beginning that is its alone."""
    queue = Queue(home)
    (worker,) = json.loads(home.run("hs", "worker", "list", "--json").stdout)
    assert (worker["slots"], str(UUID(worker["id"]))) == (2, worker["id"])
    assert home.run("hs", "worker", "drain", "zz").returncode == 3
    submitted(queue, "until [ -e go ]; do sleep 0.05; done; echo finished >>ran")
    assert until(lambda: queue.status()["running"] == 1, STEP_S)

    done = home.run("hs", "worker", "drain", worker["id"][:16])
    home.write("go", b"")

    assert done.returncode == 0, done.stderr
    assert until(lambda: queue.lines() == [b"finished"], STEP_S)
