"""How a run is stopped, with the real programs: drain, stop, kill; nothing is ever left behind."""

import os
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, state, until

pytestmark = pytest.mark.system

HOLD = "touch started.{}; until [ -e go ]; do sleep 0.05; done; echo done.{}"
"""Runs until the test says go."""


def a_held_run(home: Home, *options: str, tasks: int = 4) -> subprocess.Popen[bytes]:
    """Two tasks are running, the others wait."""
    home.write("tasks", b"".join(b"%d\n" % i for i in range(tasks)))
    cluster = home.start(
        "hs-cluster", "tasks", "-N2", "-t", HOLD, *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert until(lambda: os.path.exists(home.path("started.0")) and os.path.exists(home.path("started.1")))
    return cluster


def waiting(home: Home) -> int:
    """How many tasks are NEW in the database: the run's own word for "not started"."""
    with closing(sqlite3.connect(f"file:{home.site}/latest/tasks.db?mode=ro", uri=True)) as db:
        (count,) = db.execute("SELECT count(*) FROM task WHERE state = 0").fetchone()
    return int(count)


def ended(cluster: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    out, err = cluster.communicate(timeout=60)
    return cluster.returncode, out, err


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_running_tasks_finish(home: Home, signum: int) -> None:
    """No new ones start; the status says which signal it was, and what is left where."""
    cluster = a_held_run(home)

    cluster.send_signal(signum)
    assert cluster.stderr is not None
    assert b"draining" in cluster.stderr.readline()
    assert until(lambda: waiting(home) == 2), "the worker hands back what it has not started"
    home.write("go", b"")
    status, out, err = ended(cluster)

    assert (status, sorted(out.split())) == (128 + signum, [b"done.0", b"done.1"])
    assert b"2 tasks left, to go on: hs-cluster --restart --database " in err
    assert home.leftovers() == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_stops_running_tasks(home: Home, signum: int) -> None:
    """They go back to be run again: nothing is counted against them."""
    cluster = a_held_run(home)

    cluster.send_signal(signum)
    assert cluster.stderr is not None
    assert b"draining" in cluster.stderr.readline()
    cluster.send_signal(signum)
    status, out, err = ended(cluster)

    assert (status, out) == (128 + signum, b"")
    assert b"4 tasks left, to go on: hs-cluster --restart --database " in err
    assert home.leftovers() == []


def test_the_third_signal_kills_what_ignores_the_others(home: Home) -> None:
    """Nobody waits for -S then."""
    home.write("tasks", b"trap '' INT TERM; touch started; while :; do sleep 600; done\n")
    cluster = home.start("hs-cluster", "tasks", "-S", "600", stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")))

    assert cluster.stderr is not None
    for said in (b"draining", b"stopping", b"killing"):
        cluster.send_signal(signal.SIGINT)
        assert said in cluster.stderr.readline()

    assert cluster.wait(60) == 130
    assert home.leftovers() == []


def test_a_signal_while_the_daemons_start_ends_the_run(home: Home) -> None:
    """There are no handlers yet to tell; nothing may be left all the same."""
    cluster = home.start("hs-cluster", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: daemon(cluster.pid, "guardian") is not None)

    cluster.send_signal(signal.SIGTERM)
    status, _, err = ended(cluster)

    assert status == 143
    assert b"Traceback" not in err
    assert home.leftovers() == []


def test_a_run_without_work_stops_at_once(home: Home) -> None:
    """A producer that pauses holds up nobody who wants to leave."""
    cluster = home.start("hs-cluster", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert cluster.stdin is not None
    assert cluster.stdout is not None
    cluster.stdin.write(b"echo one\n")
    cluster.stdin.flush()
    assert cluster.stdout.readline() == b"one\n"

    cluster.send_signal(signal.SIGINT)

    assert cluster.wait(60) == 130
    assert home.leftovers() == []


def test_a_signal_that_was_ignored_at_start_stays_ignored(home: Home) -> None:
    """`nohup hs-cluster` survives its terminal, and so do its tasks."""
    home.write("tasks", b"touch started; kill -HUP $$; until [ -e go ]; do sleep 0.05; done; echo alive\n")
    script = 'trap "" HUP; exec hs-cluster tasks'
    cluster = home.start("sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")))

    cluster.send_signal(signal.SIGHUP)
    home.write("go", b"")
    status, out, _ = ended(cluster)

    assert (status, out) == (0, b"alive\n")


@pytest.mark.parametrize("name", ["broker", "scheduler"])
def test_a_daemon_killed_while_draining_changes_nothing(home: Home, name: str) -> None:
    """What was running is recorded, what was not is left."""
    cluster = a_held_run(home)
    cluster.send_signal(signal.SIGINT)
    assert cluster.stderr is not None
    assert b"draining" in cluster.stderr.readline()
    pid = daemon(cluster.pid, name)
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    assert until(lambda: daemon(cluster.pid, name) not in (None, pid))
    home.write("go", b"")
    status, out, err = ended(cluster)

    assert (status, sorted(out.split())) == (130, [b"done.0", b"done.1"])
    assert b"2 tasks left, to go on: hs-cluster --restart --database " in err
    assert home.leftovers() == []


def test_kill_9_takes_everything_with_it(home: Home) -> None:
    """Daemons, tasks, and what tasks put into sessions of their own; and the socket's folder."""
    home.write("tasks", b"setsid sleep 600 & touch started; sleep 600\n")
    cluster = home.start("hs-cluster", "tasks")
    assert until(lambda: os.path.exists(home.path("started")))

    cluster.kill()
    cluster.wait()

    assert home.leftovers() == []


def test_ctrl_z_stops_everything_and_fg_loses_nothing(home: Home) -> None:
    """What runs stands still, nothing else starts, no limit ends; then all of it goes on."""
    # Given two tasks that run until somebody writes, and have 8 s; and two that wait
    home.write("tasks", b"echo $$ >>pids; exec cat go\n" * 2 + b"echo after\n" * 2)
    os.mkfifo(home.path("go"))
    cluster = home.start("hs-cluster", "tasks", "-N2", "-W8", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: home.read("pids").count(b"\n") == 2)
    pids = list(map(int, home.read("pids").split()))

    # When it is stopped for longer than their limit
    cluster.send_signal(signal.SIGTSTP)
    assert until(lambda: list(map(state, [*pids, cluster.pid])) == ["T"] * 3)
    assert not until(lambda: list(map(state, pids)) != ["T"] * 2, 9)

    # Then it goes on as if nothing had been
    cluster.send_signal(signal.SIGCONT)
    assert until(lambda: list(map(state, pids)) == ["S"] * 2)
    os.close(os.open(home.path("go"), os.O_WRONLY))
    status, out, err = ended(cluster)
    assert (status, out) == (0, b"after\n" * 2), err
    assert b"4 tasks" in err
    assert home.leftovers() == []


def test_an_interrupt_while_the_program_is_still_being_loaded_ends_it_without_a_word(home: Home) -> None:
    """Nothing has been started yet, and nobody wants to see where Python was."""
    home.write("click.py", b"import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")

    for program in ("hs-cluster", "hs"):
        done = home.run(program, "--version", env={"PYTHONPATH": home.folder})
        assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, b"", b""), program
