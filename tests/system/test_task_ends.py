"""Tasks that do not end by themselves, or whose host refuses something: with the real kernel."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.home import Home
from tests.faults.processes import until

pytestmark = pytest.mark.system

CGROUPS = "/sys/fs/cgroup"
STEP_S = 60.0


def rows(home: Home) -> list[dict[str, Any]]:
    found = home.run("hs", "task", "search", "--json")
    parsed: list[dict[str, Any]] = json.loads(found.stdout)
    return parsed


def running(home: Home, program: str) -> list[int]:
    return [pid for pid, line in home.alive().items() if line.split()[:1] == [program]]


@contextlib.contextmanager
def a_cgroup(controller: str) -> Iterator[str]:
    """Give the folder of a new cgroup of version 1."""
    folder = f"{CGROUPS}/{controller}/hs-test-{os.getpid()}"
    try:
        os.mkdir(folder)
    except OSError as exc:
        pytest.skip(f"no cgroup of {controller} here: {exc.strerror}")
    try:
        yield folder
    finally:
        assert until(lambda: not read(f"{folder}/cgroup.procs"), STEP_S)
        os.rmdir(folder)


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def test_a_task_that_kills_its_worker_takes_no_other_along(home: Home) -> None:
    """Those beside it run again, and end."""
    lines = [b"echo %d >>ran" % number for number in range(20)]
    lines.insert(10, b"kill -9 $PPID")

    done = home.run("hs-cluster", "-N4", stdin=b"\n".join(lines))

    assert done.returncode == 1, done.stderr
    assert {row["args"]: row["state"] for row in rows(home) if row["state"] != "DONE"} == {
        "kill -9 $PPID": "QUARANTINED"
    }
    assert {int(number) for number in home.read("ran").split()} == set(range(20))


def test_a_limit_ends_all_that_a_task_left_in_the_background_too(home: Home) -> None:
    """A shell gives what it starts with & no SIGINT: that needs the next signal. Nothing of it says a word any more."""
    done = home.run("hs-cluster", "-W2", "-S1", stdin=b"(sleep 60; echo x) & sleep 60\n")

    (row,) = rows(home)
    assert (done.returncode, done.stdout) == (1, b"")
    assert (row["state"], row["reason"], row["exit_status"]) == ("DONE", "timeout", -signal.SIGINT)
    assert 2 <= row["duration"] < 60
    assert running(home, "sleep") == []
    assert home.leftovers() == []


def test_the_second_signal_ends_what_heeds_none(home: Home) -> None:
    """SIGINT, SIGTERM, SIGKILL, -S apart; then --restart runs exactly what is left, those that were stopped included."""
    # Given two tasks that end by SIGKILL only, and one that has ended before
    home.write(
        "tasks",
        b"echo 0 >>ran\n"
        + b"[ -e go ] || { trap '' INT TERM; touch started.$TASK_SLOT; while :; do sleep 60; done; }; echo again >>ran\n"
        * 2
        + b"echo 3 >>ran\n",
    )
    cluster = home.start("hs-cluster", "tasks", "-N2", "-S1", stderr=subprocess.PIPE)
    assert until(lambda: len([name for name in os.listdir(home.folder) if name.startswith("started.")]) == 2, STEP_S)

    cluster.send_signal(signal.SIGINT)
    assert cluster.stderr is not None
    assert b"draining" in cluster.stderr.readline()
    cluster.send_signal(signal.SIGINT)
    _, err = cluster.communicate(timeout=STEP_S)

    assert cluster.returncode == 130
    assert b"3 tasks left" in err
    assert home.leftovers() == []
    home.write("go", b"")
    assert home.run("hs-cluster", "--restart").returncode == 0
    assert sorted(home.read("ran").split()) == [b"0", b"3", b"again", b"again"]


def test_a_task_that_not_even_sigkill_ends_costs_its_slot(home: Home) -> None:
    """It is told as unkillable; the other slot goes on, and the run ends."""
    with a_cgroup("freezer") as frozen:
        home.write("tasks", f"echo $$ >{frozen}/cgroup.procs; touch started; sleep 60\n".encode() + b"echo ran\n" * 5)
        # Not into pipes: the task keeps them open.
        with open(home.path("out"), "wb") as out, open(home.path("err"), "wb") as err:
            cluster = home.start("hs-cluster", "tasks", "-N2", "-W1", "-S1", stdout=out, stderr=err)
        assert until(lambda: os.path.exists(home.path("started")), STEP_S)

        write(f"{frozen}/freezer.state", "FROZEN")
        try:
            status = cluster.wait(60)
            survivors = read(f"{frozen}/cgroup.procs").split()
        finally:
            write(f"{frozen}/freezer.state", "THAWED")

        # Then everything else is over, though it is still there; and SIGKILL is waiting for it.
        assert (status, home.read("out")) == (1, b"ran\n" * 5)
        assert b"1 x unkillable" in home.read("err")
        assert [row["reason"] for row in rows(home)] == ["unkillable", *[None] * 5]
        assert survivors
        assert until(lambda: not read(f"{frozen}/cgroup.procs"), STEP_S)
    assert home.leftovers() == []


def test_a_host_without_room_for_processes_gets_fewer_and_no_task_fails(home: Home) -> None:
    """EAGAIN of fork is the host's fault: handed back, nothing is counted, and less is taken for a while (E2)."""
    with a_cgroup("pids") as few:
        write(f"{few}/pids.max", "40")
        # Each waits until somebody writes into the FIFO. Executed directly: a shell would have to fork, and fail by itself.
        os.mkfifo(home.path("gate"))
        os.link(home.path("gate"), home.path("first"))
        home.write("tasks", b"/bin/cat gate\n" * 100)
        script = f"echo $$ >{few}/cgroup.procs; exec hs-cluster tasks -N60"
        cluster = home.start("sh", "-c", script, stderr=subprocess.PIPE)
        assert until(lambda: read(f"{few}/pids.events").split()[1] != b"0", STEP_S), "the limit was never met"
        assert len(running(home, "/bin/cat")) < 40

        # It is lifted: then all slots are used again.
        write(f"{few}/pids.max", "max")
        assert until(lambda: len(running(home, "/bin/cat")) == 60, STEP_S)
        os.replace(home.write("nothing", b""), home.path("gate"))
        os.close(os.open(home.path("first"), os.O_WRONLY))
        _, err = cluster.communicate(timeout=60)

        assert (cluster.returncode, b"100 tasks, 0 failed, 0 retried" in err) == (0, True), err
        assert {row["attempt"] for row in rows(home)} == {1}
    assert home.leftovers() == []


def test_a_spool_that_cannot_be_written_fails_the_task_whose_output_is_lost(home: Home) -> None:
    """Reason `output`, whatever its exit status; it is retried, and the others are printed."""
    home.write("tasks", b"echo one\nhead -c 40000000 /dev/zero\necho two\n")

    done = home.run("bash", "-c", "ulimit -f 20000; exec hs-cluster tasks --group-output -r1")

    assert done.returncode == 1
    assert sorted(done.stdout.split()) == [b"one", b"two"]
    assert b"1 x output" in done.stderr
    large = [(row["reason"], row["attempt"], row["exit_status"]) for row in rows(home) if row["reason"]]
    assert large == [("output", 1, 0), ("output", 2, 0)]
    assert home.leftovers() == []
