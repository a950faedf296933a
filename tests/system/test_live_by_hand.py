"""The daemons of a standing queue, each started by hand, as services do: in any order, found by the name of their cluster."""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.faults.home import Home
from tests.faults.processes import ended_within, until
from tests.faults.processes import state as state_of
from tests.ports import free_port
from tests.system.standing import STEP_S

from hs_scheduler.stores.engines import owner_of

pytestmark = pytest.mark.system

COMMANDS = {
    "broker": ("hs-broker", "--bind", "127.0.0.1"),
    "scheduler": ("hs-scheduler", "--forever", "--connection", "main"),
    "worker": ("hs-worker", "-N2", "--connection", "main"),
}

HAS_IPV6 = Path("/proc/net/if_inet6").exists() and "lo\n" in Path("/proc/net/if_inet6").read_text()


def started(home: Home, name: str, *options: str) -> "subprocess.Popen[bytes]":
    return home.start(*COMMANDS[name], *options, stderr=subprocess.PIPE)


def workers(home: Home) -> int:
    done = home.run("hs", "worker", "list", "--json")
    return len(json.loads(done.stdout)) if done.returncode == 0 else 0


def sleeps(pid: int) -> bool:
    """Whether it does so however often one looks; who is busy is at work, or waits for a processor."""
    return {state_of(pid) for _ in range(1000)} == {"S"}


@pytest.mark.parametrize("order", list(itertools.permutations(COMMANDS)), ids=">".join)
def test_they_find_each_other_in_any_order(home: Home, order: tuple[str, ...]) -> None:
    """Each waits for the others with one clear line; told to stop, each ends with status 0, also after failed tasks."""
    daemons = {name: started(home, name) for name in order}
    assert until(lambda: workers(home) == 1, STEP_S)
    home.run("hs", "submit", "--", "false")

    ran = home.run("hs", "submit", "--", "echo over >>ran")

    assert ran.returncode == 0, ran.stderr
    assert until(lambda: home.read("ran") == b"over\n", STEP_S)
    assert until(lambda: json.loads(home.run("hs", "status", "--json").stdout)["failed"] == 1, STEP_S)
    for name in ("worker", "scheduler", "broker"):
        daemons[name].terminate()
        _, errors = daemons[name].communicate(timeout=STEP_S)
        assert daemons[name].returncode == 0, errors
    assert home.run("hs", "status").returncode == 3


def test_one_database_after_another_is_served_by_the_same_broker_and_worker(home: Home) -> None:
    """Both begin with the same numbers; the worker takes none of the second for what it had of the first."""
    daemons = [started(home, name) for name in ("broker", "worker")]
    tasks = home.write("tasks", b"echo ran >>ran\n")

    for database in ("a.db", "b.db"):
        done = home.run("hs-scheduler", tasks, "--connection", "main", "--database", home.path(database))
        assert done.returncode == 0, done.stderr

    assert home.read("ran") == b"ran\nran\n"
    for daemon in reversed(daemons):
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


def test_a_scheduler_of_another_database_is_refused_while_a_worker_has_tasks(home: Home) -> None:
    """What still runs would be taken for a task of its own; as soon as nothing runs any more it may come."""
    # Given a task that runs, and no scheduler
    daemons = {name: started(home, name) for name in ("broker", "worker")}
    mine = ("--connection", "main", "--database", home.path("a.db"))
    task = home.write("first", b"echo begun >>ran; until [ -e go ]; do sleep 0.1; done\n")
    first = home.start("hs-scheduler", "--forever", task, *mine)
    assert until(lambda: home.read("ran") == b"begun\n", STEP_S)
    first.terminate()
    assert ended_within(first.pid, STEP_S)

    # When
    theirs = ("hs-scheduler", home.write("second", b"echo second >>ran\n"), *mine[:3], home.path("b.db"))
    refused = home.run(*theirs)

    # Then
    assert refused.returncode == 3
    assert b"1 worker still has tasks of another database" in refused.stderr
    assert f"That database: {home.path('a.db')}\n".encode() in refused.stderr
    home.write("go", b"")
    assert home.run("hs-scheduler", "--restart", *mine).returncode == 0
    assert home.run(*theirs).returncode == 0
    assert home.read("ran") == b"begun\nsecond\n"
    for name in ("worker", "broker"):
        daemons[name].terminate()
        assert ended_within(daemons[name].pid, STEP_S)


def test_where_a_scheduler_was_killed_another_is_told_of_which_database_and_what_to_do(home: Home) -> None:
    """The broker cannot know that it is dead; its own next one may come at once."""
    broker = started(home, "broker")
    mine = ("hs-scheduler", "--forever", "--connection", "main", "--database", home.path("a.db"))
    theirs = ("hs-scheduler", home.write("tasks", b"true\n"), "--connection", "main", "--database", home.path("b.db"))
    first = home.start(*mine)
    assert until(lambda: home.run("hs", "status", "--database", home.path("a.db")).returncode == 0, STEP_S)
    first.kill()
    assert ended_within(first.pid, STEP_S)

    refused = home.run(*theirs)

    assert refused.returncode == 3
    assert b"if it was killed, start it again, or stop the workers and restart the broker" in refused.stderr
    assert f"That database: {home.path('a.db')}\n".encode() in refused.stderr
    again = home.start(*mine)
    assert until(lambda: home.run("hs", "status", "--database", home.path("a.db")).returncode == 0, STEP_S)
    for daemon in (again, broker):
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


@pytest.mark.parametrize("command", [COMMANDS["worker"], COMMANDS["scheduler"], ("hs", "status")], ids=" ".join)
def test_who_speaks_another_version_is_refused_at_both_ends(home: Home, command: tuple[str, ...]) -> None:
    """Neither can read what the other says; all else goes on."""
    # Given a cluster, and a program of the next version
    with open(home.path("broker.log"), "wb") as log:
        broker = home.start(*COMMANDS["broker"], stderr=log)
    daemons = [started(home, name) for name in ("worker", "scheduler")] + [broker]
    assert until(lambda: workers(home) == 1, STEP_S)
    newer = home.path("newer")
    os.mkdir(newer)
    home.write("newer/sitecustomize.py", b"import hs_common.wire\nhs_common.wire.VERSION += 1\n")
    elsewhere = ("--database", home.path("b.db")) if command[0] == "hs-scheduler" else ()

    # When
    refused = home.run("env", f"PYTHONPATH={newer}", *command, *elsewhere)

    # Then
    reason = b"another version of the protocol: update the older side"
    assert refused.returncode == 3, refused.stderr
    assert reason in refused.stderr
    assert until(lambda: reason in home.read("broker.log"), STEP_S)
    assert home.run("hs", "submit", "--", "echo ran >>ran").returncode == 0
    assert until(lambda: home.read("ran") == b"ran\n", STEP_S)
    for daemon in daemons:
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


def test_a_worker_with_the_key_of_another_role_ends_and_says_so(home: Home) -> None:
    """It did not do what it was started for."""
    broker = started(home, "broker")
    key = home.path("site", "connect", "main", "submit.json")
    assert until(lambda: os.path.exists(key), STEP_S)

    refused = home.run("hs-worker", "--connection", key)

    reason = b"hs-worker: the broker refuses this worker: a submit key may not say WorkerHello\n"
    assert (refused.returncode, refused.stderr) == (3, reason)
    broker.terminate()
    assert ended_within(broker.pid, STEP_S)


def test_with_nothing_to_do_all_of_them_sleep(home: Home) -> None:
    """Nobody looks whether there is something: it is told."""
    daemons = {name: started(home, name) for name in COMMANDS}
    assert until(lambda: workers(home) == 1, STEP_S)

    for daemon in daemons.values():
        assert until(partial(sleeps, daemon.pid), STEP_S)

    for daemon in reversed(daemons.values()):
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


def test_of_a_file_that_has_grown_a_scheduler_adds_what_is_new_only_with_once(home: Home) -> None:
    """Without it nobody knows what was meant; the refusal names it."""
    daemons = [started(home, name) for name in ("broker", "worker")]
    scheduler = ("hs-scheduler", home.write("tasks", b"echo 1 >>ran\n"), "--connection", "main")
    assert home.run(*scheduler).returncode == 0
    home.write("tasks", b"echo 1 >>ran\necho 2 >>ran\n")

    refused = home.run(*scheduler)

    assert refused.returncode == 3
    assert b"was changed after line 1 was read, the run cannot go on with it; with --once" in refused.stderr
    assert home.run(*scheduler, "--once").returncode == 0
    assert home.read("ran") == b"1\n2\n"
    for daemon in reversed(daemons):
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


def test_a_scheduler_runs_a_file_and_prints_what_failed(home: Home) -> None:
    """On stdout, also where that is a file, behind what is in it; and the task commands look at its queue."""
    daemons = [started(home, name) for name in ("broker", "worker")]
    before = os.readlink("/dev/stdout")
    with open(home.write("printed", b"before\n"), "ab") as printed:
        scheduler = home.start(
            "hs-scheduler", home.write("tasks", b"true\nexit 3\n"), "--connection", "main", stdout=printed
        )

    assert scheduler.wait(STEP_S) == 1

    assert home.read("printed") == b"before\nexit 3\n"
    assert os.readlink("/dev/stdout") == before, "as root it can be replaced"
    assert home.run("hs", "task", "search", "args", "-F", "-f", "plain").stdout == b"exit 3\n"
    for daemon in reversed(daemons):
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


def test_a_scheduler_waits_for_who_writes_to_its_fifo_until_it_is_told_to_stop(home: Home) -> None:
    """There may be nobody yet, or never; what is written later runs."""
    daemons = [started(home, name) for name in ("broker", "worker")]
    database, fifo = home.path("a.db"), home.path("fifo")
    os.mkfifo(fifo)

    def waiting() -> "subprocess.Popen[bytes]":
        scheduler = home.start("hs-scheduler", fifo, "--connection", "main", "--database", database)
        assert until(lambda: (owner := owner_of(database)) is not None and bool(owner.control), STEP_S)
        return scheduler

    stopped = waiting()
    stopped.terminate()
    assert ended_within(stopped.pid, STEP_S)
    served = waiting()
    Path(fifo).write_bytes(b"echo 1 >>ran\necho 2 >>ran\n")
    assert served.wait(STEP_S) == 0

    assert sorted(home.read("ran").split()) == [b"1", b"2"]
    for daemon in reversed(daemons):
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


@pytest.mark.parametrize("name", ["scheduler", "worker"])
def test_one_that_waits_for_its_broker_says_so_and_can_be_stopped(home: Home, name: str) -> None:
    """One line, and status 0."""
    daemon = started(home, name)
    assert daemon.stderr is not None
    line = daemon.stderr.readline()
    assert b"connection.awaited" in line
    assert b"hs-broker --name main" in line
    daemon.terminate()
    assert ended_within(daemon.pid, STEP_S)
    assert daemon.communicate()[1] == b""
    assert daemon.returncode == 0


def test_a_log_that_is_rotated_ends_nobody_who_waits(home: Home) -> None:
    """SIGUSR2 tells a daemon to reopen its log, whatever it does at that moment."""
    scheduler = started(home, "scheduler")
    assert scheduler.stderr is not None
    assert b"connection.awaited" in scheduler.stderr.readline()

    scheduler.send_signal(signal.SIGUSR2)

    daemons = [scheduler, *(started(home, name) for name in ("worker", "broker"))]
    assert until(lambda: workers(home) == 1, STEP_S)
    for daemon in daemons:
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)
        assert daemon.wait() == 0


@pytest.mark.skipif(not HAS_IPV6, reason="this host has no IPv6")
def test_they_speak_where_there_is_ipv6_alone(home: Home) -> None:
    """Fault C16."""
    daemons = [home.start("hs-broker", "--bind", "::1"), started(home, "scheduler"), started(home, "worker")]
    assert until(lambda: workers(home) == 1)

    assert home.run("hs", "submit", "--", "echo over >>ran").returncode == 0

    assert until(lambda: home.read("ran") == b"over\n")
    assert home.run("hs", "doctor").returncode == 0
    for daemon in reversed(daemons):
        daemon.terminate()
        assert ended_within(daemon.pid)


def test_a_connection_file_that_is_named_by_its_path_must_be_there(home: Home) -> None:
    """It is a slip of the hand, not a cluster to come."""
    done = home.run("hs-scheduler", "--forever", "--connection", "./nowhere.json")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_settings_hold_for_a_scheduler_by_hand(home: Home) -> None:
    """As for hs-cluster: a failed task is tried again as often as they say."""
    env = {"HYPERSHELL_SCHEDULER_MAX_RETRIES": "2"}
    daemons = [home.start(*COMMANDS[name], env=env) for name in ("broker", "scheduler", "worker")]
    assert until(lambda: workers(home) == 1, STEP_S)
    task = home.run("hs", "submit", "--", "echo once >>ran; exit 1").stdout.decode().strip()
    assert home.run("hs", "task", "wait", task, "--return").returncode == 1
    assert home.read("ran") == b"once\n" * 3
    for daemon in daemons:
        daemon.terminate()
        assert ended_within(daemon.pid, STEP_S)


def test_what_is_cancelled_while_no_scheduler_is_there_is_stopped_when_one_comes(home: Home) -> None:
    """The row is over at once, its process as soon as somebody can say so; no result of it counts."""
    daemons = {name: started(home, name) for name in COMMANDS}
    assert until(lambda: workers(home) == 1, STEP_S)
    home.run("hs", "submit", "--", "echo started >>ran; exec sleep 1236")
    assert until(lambda: home.read("ran") == b"started\n", STEP_S)
    daemons["scheduler"].kill()
    daemons["scheduler"].wait()

    done = home.run("hs", "task", "update", "--cancel", "-w", "args ~ sleep", "-y")

    assert (done.returncode, done.stdout[:14]) == (0, b"1 task changed"), done.stderr
    assert "sleep 1236" in home.alive().values()
    daemons["scheduler"] = started(home, "scheduler")
    assert until(lambda: "sleep 1236" not in home.alive().values(), STEP_S)
    assert home.run("hs", "task", "search", "state", "-f", "plain").stdout == b"CANCELLED\n"
    for name in ("worker", "scheduler", "broker"):
        daemons[name].terminate()
        assert ended_within(daemons[name].pid, STEP_S)


@pytest.mark.parametrize(
    "signals", [(signal.SIGTERM,), (signal.SIGUSR1, signal.SIGINT)], ids=["stopped", "drained, then stopped"]
)
def test_a_scheduler_that_is_told_to_stop_leaves_what_runs_to_the_next(home: Home, signals: tuple[int, ...]) -> None:
    """Tasks may take hours and the broker may be away: neither keeps a service from being restarted, and nothing runs twice."""
    # Given a task that runs, and no broker
    daemons = {name: started(home, name) for name in COMMANDS}
    assert until(lambda: workers(home) == 1, STEP_S)
    home.run("hs", "submit", "--", "echo begun >>ran; until [ -e go ]; do sleep 0.1; done")
    assert until(lambda: home.read("ran") == b"begun\n", STEP_S)
    assert until(lambda: state(home) == b"RUNNING\n", STEP_S, poll_s=0.1)
    daemons["broker"].kill()
    daemons["broker"].wait()

    # When
    for number in signals:
        daemons["scheduler"].send_signal(number)

    # Then
    assert ended_within(daemons["scheduler"].pid, STEP_S)
    assert daemons["scheduler"].wait() == 0
    assert state(home) == b"RUNNING\n"
    daemons |= {name: started(home, name) for name in ("scheduler", "broker")}
    home.write("go", b"")
    assert until(lambda: state(home) == b"DONE\n", STEP_S, poll_s=0.1)
    assert home.read("ran") == b"begun\n"
    for name in ("worker", "scheduler", "broker"):
        daemons[name].terminate()
        assert ended_within(daemons[name].pid, STEP_S)


def test_a_scheduler_that_is_told_to_stop_waits_no_longer_for_its_database(home: Home) -> None:
    """It says why its status is not 0; what it was to write was never acknowledged."""
    # Given a database that somebody else keeps locked, and something to write
    with open(home.path("said"), "wb") as said:
        daemons = [started(home, "broker"), home.start(*COMMANDS["scheduler"], stderr=said)]
    database = home.path("site", "main", "tasks.db")
    assert until(lambda: (owner := owner_of(database)) is not None and bool(owner.control), STEP_S)
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        home.start("hs", "submit", "--", "true")
        assert until(lambda: b"store.busy" in home.read("said"), STEP_S)

        # When
        daemons[1].terminate()

        # Then
        assert ended_within(daemons[1].pid, STEP_S)
    assert daemons[1].wait() == 3
    assert b"stopped while the store could not be written" in home.read("said")
    daemons[0].terminate()
    assert ended_within(daemons[0].pid, STEP_S)


def test_a_broker_that_comes_back_at_another_port_is_followed(home: Home) -> None:
    """Fault C12: its file says where it is now. What runs meanwhile runs on, once."""
    # Given a task that runs
    daemons = {name: started(home, name) for name in COMMANDS}
    assert until(lambda: workers(home) == 1)
    home.run("hs", "submit", "--", "echo begun >>ran; until [ -e go ]; do sleep 0.1; done")
    assert until(lambda: state(home) == b"RUNNING\n", poll_s=0.1)
    daemons["broker"].kill()
    daemons["broker"].wait()

    # When
    daemons["broker"] = started(home, "broker", "--port", str(free_port()))

    # Then
    assert until(lambda: workers(home) == 1)
    home.write("go", b"")
    assert until(lambda: state(home) == b"DONE\n", poll_s=0.1)
    assert home.read("ran") == b"begun\n"
    for name in ("worker", "scheduler", "broker"):
        daemons[name].terminate()
        assert ended_within(daemons[name].pid)


def state(home: Home) -> bytes:
    return home.run("hs", "task", "search", "state", "-f", "plain").stdout
