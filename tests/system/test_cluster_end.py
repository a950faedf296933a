"""How a run ends when it cannot go on, and what it says."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, until

pytestmark = pytest.mark.system


@pytest.mark.parametrize("store", [(), ("--no-db",)], ids=["sqlite", "memory"])
def test_the_summary_says_what_failed_and_ends_with_one_line(home: Home, store: tuple[str, ...]) -> None:
    """By cause, with a task of each that can be looked up; then tasks, failures, retries, time, rate, use."""
    done = home.run("hs-cluster", "-N2", "-r1", *store, stdin=b"true\nexit 7\nprintf x >&2 ; exit 7\na\0b\n")

    head, sample, rejected, line = done.stderr.decode().removeprefix("xx").splitlines()
    assert (done.returncode, head) == (1, "hs-cluster: failed:")
    assert re.fullmatch(r"  2 x exit status 7 + [0-9a-f-]{36}  (exit 7|printf.*)", sample)
    assert re.fullmatch(r"  1 x rejected: NUL in the line  [0-9a-f-]{36}  a\\x00b", rejected)
    assert line.startswith("hs-cluster: 4 tasks, 3 failed, 2 retried, ")
    assert "tasks/s" in line
    assert "2 slots used" in line


def test_the_summary_of_a_short_run_knows_how_many_slots_there_were(home: Home) -> None:
    """With -N 0 it is the worker that knows, and it may be gone before the scheduler tells of it."""
    done = home.run("hs-cluster", "-N0", stdin=b"true\n")

    assert re.search(rb" of [1-9]\d* slots? used\n$", done.stderr), done.stderr


def test_what_failed_is_written_through_a_link(home: Home) -> None:
    """Which is not replaced by a file of its own."""
    home.write("failed", b"of the run before, and longer\n")
    os.symlink("failed", home.path("link"))

    assert home.run("hs-cluster", "-f", "link", stdin=b"exit 3\n").returncode == 1

    assert home.read("failed") == b"exit 3\n"
    assert os.readlink(home.path("link")) == "failed"


def test_a_failed_command_of_several_lines_can_be_run_again_from_the_file(home: Home) -> None:
    """It is one task there as well: a line of it alone might do anything."""
    template = "x='{}'\necho \"$x\"  # HYPERSHELL: no:tag\nexit 3"
    assert home.run("hs", "submit", "-t", "kind:odd", "--template", template, "--", "a  b").returncode == 0
    assert home.run("hs-cluster", "--restart", "-f", "failed").returncode == 1

    again = home.run("hs-cluster", "failed", "-f", "again")

    assert (again.returncode, again.stdout) == (1, b"a  b\n")
    assert home.read("again") == home.read("failed")
    (task,) = json.loads(home.run("hs", "task", "search", "--json").stdout)
    assert (task["exit_status"], task["tag"]) == (3, {"kind": "odd"})


def test_a_run_without_failures_ends_with_one_line(home: Home) -> None:
    """Where nothing stands out there is nothing more to say."""
    done = home.run("hs-cluster", "-N2", stdin=b"true\ntrue\n")

    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("hs-cluster: 2 tasks, 0 failed, 0 retried, ")


def test_quiet_says_nothing_when_there_is_nothing_to_say(home: Home) -> None:
    """The status says it."""
    done = home.run("hs-cluster", "-q", stdin=b"true\nfalse\n")

    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


@pytest.mark.parametrize(
    ("options", "said"),
    [((), b"hs-cluster: hs-scheduler was killed by SIGKILL: it is started again\n"), (("-q",), b"")],
    ids=["default", "quiet"],
)
def test_a_daemon_that_is_started_again_is_told_of(home: Home, options: tuple[str, ...], said: bytes) -> None:
    """In a line of its own, unless less of it is wanted."""
    home.write("tasks", b"touch started; until [ -e go ]; do sleep 0.05; done\n")
    cluster = home.start("hs-cluster", "tasks", *options, stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")), 60)
    pid = daemon(cluster.pid, "scheduler")
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    assert until(lambda: daemon(cluster.pid, "scheduler") not in (None, pid), 60)
    home.write("go", b"")

    _, err = cluster.communicate(timeout=60)
    assert cluster.returncode == 0
    assert err.startswith(said)
    assert bool(err) is bool(said)


def test_a_run_leaves_its_database_and_nothing_else(home: Home) -> None:
    """No copy of the input, no socket, no lock; `latest` leads to it."""
    home.run("hs-cluster", stdin=b"true\n" * 50)

    (run,) = os.listdir(os.path.join(home.site, "runs"))
    assert os.path.realpath(os.path.join(home.site, "latest")) == os.path.join(home.site, "runs", run)
    assert [name for name in os.listdir(os.path.join(home.site, "runs", run)) if name != "tasks.db.lock"] == [
        "tasks.db"
    ]
    assert home.leftovers() == []


def test_without_a_database_nothing_is_kept(home: Home) -> None:
    """Not even a folder."""
    done = home.run("hs-cluster", "--no-db", stdin=b"echo one\nfalse\n")

    assert (done.returncode, done.stdout) == (1, b"one\n")
    assert [name for _, _, files in os.walk(home.site) for name in files] == []
    assert home.leftovers() == []


def test_a_database_that_was_named_is_used_and_latest_finds_it(home: Home) -> None:
    """Under the one name, wherever it is."""
    done = home.run("hs-cluster", "--database", "my.db", stdin=b"true\n")

    assert done.returncode == 0
    assert os.path.realpath(os.path.join(home.site, "latest", "tasks.db")) == home.path("my.db")


def test_a_taken_port_is_status_3(home: Home) -> None:
    """It was asked for, so another would be of no use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = home.run("hs-cluster", "-H", "127.0.0.1", "-p", str(port), stdin=b"echo ran\n")

    assert (done.returncode, done.stdout) == (3, b"")
    (line,) = done.stderr.decode().splitlines()
    assert f"port {port} is taken" in line
    assert home.leftovers() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-H", "192.0.2.1"], b"192.0.2.1"),
        (["--shell", "/no/such/shell"], b"/no/such/shell"),
        (["-f", "/no/such/folder/f"], b"/no/such/folder/f"),
        (["--joblog", "/no/such/folder/j"], b"/no/such/folder/j"),
        (["-e", "/"], b"-e"),
        (["--database", "/no/such/folder/db"], b"/no/such/folder"),
        (["-q", "-v"], b"-q and -v"),
        (["-W", "soon"], b"soon"),
        (["."], b"folder"),
        (["--num-threads", "4"], b"-N"),
        (["--restart-everything"], b"--restart-everything"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_is_one_line_and_nothing_is_made(home: Home, options: list[str], said: bytes) -> None:
    """Status 2 before anything starts."""
    done = home.run("hs-cluster", *options, stdin=b"echo ran\n")

    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert not os.path.exists(os.path.join(home.site, "latest"))


@pytest.mark.parametrize("name", ["broker", "scheduler", "guardian"])
def test_a_daemon_that_dies_again_and_again_is_status_3(home: Home, name: str) -> None:
    """Within seconds, with the reason; what is left is said."""
    home.write("tasks", b"touch started; sleep 600\n" * 3)
    cluster = home.start("hs-cluster", "tasks", stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")))

    killed: set[int] = set()

    def kill_it() -> bool:
        pid = daemon(cluster.pid, name)
        if pid is not None and pid not in killed:
            killed.add(pid)
            os.kill(pid, signal.SIGKILL)
        return cluster.poll() is not None

    assert until(kill_it, 180, poll_s=0.005), "eleven starts, on a machine that may be busy"
    _, err = cluster.communicate()

    program = {"guardian": "hs-worker"}.get(name, f"hs-{name}")
    assert cluster.returncode == 3
    assert f"{program} ended 11 times with no task finished in between".encode() in err
    assert b"was killed by SIGKILL" in err
    assert b"3 tasks left, to go on: hs-cluster --restart --database " in err
    assert home.leftovers() == []


def test_without_a_database_a_dead_scheduler_is_the_end(home: Home) -> None:
    """It says how many were not finished."""
    home.write("tasks", b"touch started; sleep 600\n" * 3)
    cluster = home.start("hs-cluster", "tasks", "--no-db", stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")))
    pid = daemon(cluster.pid, "scheduler")
    assert pid is not None

    os.kill(pid, signal.SIGKILL)
    _, err = cluster.communicate(timeout=60)

    assert cluster.returncode == 3
    assert b"3 tasks were not finished" in err
    assert home.leftovers() == []


def test_two_schedulers_never_share_a_database(home: Home) -> None:
    """The second is told who owns it."""
    home.write("tasks", b"touch started; until [ -e go ]; do sleep 0.05; done\n")
    first = home.start("hs-cluster", "tasks", "--database", "my.db")
    assert until(lambda: os.path.exists(home.path("started")))
    owner = daemon(first.pid, "scheduler")

    second = home.run("hs-cluster", "--database", "my.db", stdin=b"echo ran\n")
    home.write("go", b"")

    assert (second.returncode, second.stdout) == (3, b"")
    assert str(owner).encode() in second.stderr
    assert first.wait(60) == 0


def test_what_was_asked_for_is_recorded_with_the_run(home: Home) -> None:
    """So that the run can be continued from anywhere."""
    import sqlite3  # noqa: PLC0415

    home.run("hs-cluster", "-N3", "-t", "echo {}", "-r2", "-W", "9", "-f", "failed", stdin=b"x\n")

    with sqlite3.connect(os.path.join(home.site, "latest", "tasks.db")) as database:
        ((settings,),) = database.execute("SELECT settings FROM run")
    database.close()
    recorded = json.loads(settings)
    expected = {"num_tasks": 3, "template": "echo {}", "max_retries": 2, "task_timeout": 9.0}
    assert recorded | expected == recorded
    assert recorded["failures"] == home.path("failed")


def test_a_worker_that_dies_before_it_knows_that_it_is_welcome_is_replaced(home: Home) -> None:
    """The broker knows it already, its guardian does not; the run goes on."""
    crash = {"HYPERSHELL_CRASH_AT": f"worker.received:1:{home.path('died')}"}

    done = home.run("hs-cluster", "-N2", stdin=b"echo one\necho one\n", env=crash)

    assert (done.returncode, done.stdout) == (0, b"one\n" * 2)
    assert os.path.exists(home.path("died"))
    assert b"worker.restarted" in done.stderr
