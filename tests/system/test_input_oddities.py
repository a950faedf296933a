"""Whatever stands in the input, each line is run as it is or refused by name; and the run always ends."""

import json
import os
import select
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.home import Home

pytestmark = pytest.mark.system

END_S = 60.0


@pytest.fixture
def home() -> Iterator[Home]:
    with Home() as one:
        yield one


def rows(home: Home) -> list[dict[str, Any]]:
    found = home.run("hs", "task", "search", "--json")
    assert found.returncode == 0, found.stderr
    return list(json.loads(found.stdout))


@pytest.fixture(params=["pipe", "file", "redirect", "fifo"])
def way(request: pytest.FixtureRequest) -> str:
    """How the input comes."""
    return str(request.param)


def run(home: Home, way: str, data: bytes, *options: str) -> "subprocess.CompletedProcess[bytes]":
    """Run hs-cluster with this input, come as it may."""
    if way == "pipe":
        return home.run("hs-cluster", *options, stdin=data)
    if way == "file":
        return home.run("hs-cluster", home.write("tasks", data), *options)
    if way == "redirect":
        with open(home.write("tasks", data), "rb") as file:
            cluster = home.start("hs-cluster", *options, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = cluster.communicate(timeout=END_S)
        return subprocess.CompletedProcess(cluster.args, cluster.returncode, out, err)
    os.mkfifo(home.path("fifo"), 0o600)
    cluster = home.start("hs-cluster", home.path("fifo"), *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(home.path("fifo"), "wb") as fifo:
        fifo.write(data)
    out, err = cluster.communicate(timeout=END_S)
    return subprocess.CompletedProcess(cluster.args, cluster.returncode, out, err)


def test_every_way_in_brings_the_same_lines(home: Home, way: str) -> None:
    """A last line without newline counts; blank lines and comments do not; CR LF is accepted; # in quotes is no comment."""
    done = run(home, way, b'echo "a #1"\n\n# no task\n   # none either\necho b\r\necho $#\necho last')
    assert (done.returncode, sorted(done.stdout.split(b"\n"))) == (0, [b"", b"0", b"a #1", b"b", b"last"])


def test_every_way_in_does_without_a_database(home: Home, way: str) -> None:
    """Then the scheduler reads the stream itself."""
    done = run(home, way, b"echo a\necho b\n", "--no-db")
    assert (done.returncode, sorted(done.stdout.split(b"\n"))) == (0, [b"", b"a", b"b"])


def test_empty_input_is_done_at_once(home: Home, way: str) -> None:
    done = run(home, way, b"")
    assert (done.returncode, done.stdout) == (0, b"")


def test_bytes_that_are_no_utf8_reach_the_command_unchanged(home: Home) -> None:
    every = bytes(byte for byte in range(128, 256))
    done = home.run("hs-cluster", stdin=b"printf %s '" + every + b"'\n")
    assert done.stdout == every


@pytest.mark.parametrize("size", [120 * 1024, 1024 * 1024], ids=["120KiB", "1MiB"])
def test_a_long_line_runs_as_it_is(home: Home, size: int) -> None:
    """One argument of execve has at most 128 KiB; a line may have 1 MiB."""
    head, tail = b"x='", b"'; echo ${#x}"
    line = head + b"y" * (size - len(head) - len(tail)) + tail
    done = home.run("hs-cluster", stdin=line + b"\n" + b"echo after\n")
    assert (done.returncode, sorted(done.stdout.split())) == (0, [b"%d" % (size - len(head) - len(tail)), b"after"])


@pytest.mark.parametrize(
    "line",
    [b"echo a\0b", b"echo " + b"x" * (1024 * 1024)],
    ids=["NUL", "over 1 MiB"],
)
def test_a_line_that_can_never_run_is_rejected_and_the_rest_goes_on(home: Home, line: bytes) -> None:
    done = home.run("hs-cluster", stdin=b"echo before\n" + line + b"\necho after\n")
    assert (done.returncode, sorted(done.stdout.split())) == (1, [b"after", b"before"])
    assert sorted(row["state"] for row in rows(home)) == ["DONE", "DONE", "REJECTED"]


def test_a_task_that_reads_stdin_gets_nothing_of_the_input(home: Home, way: str) -> None:
    done = run(home, way, b"cat\nwc -c\necho end\n")
    assert (done.returncode, sorted(done.stdout.split())) == (0, [b"0", b"end"])


def test_a_producer_that_pauses_is_waited_for(home: Home) -> None:
    """Longer than --bundlewait: each line runs when it comes, and the run ends with the input, not before."""
    cluster = home.start("hs-cluster", "-N2", "-w", "1", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert cluster.stdin
    assert cluster.stdout
    for word in (b"one", b"two", b"three"):
        cluster.stdin.write(b"echo " + word + b"\n")
        cluster.stdin.flush()
        assert select.select([cluster.stdout], [], [], END_S)[0]
        assert cluster.stdout.readline() == word + b"\n"
        assert not select.select([cluster.stdout], [], [], 3)[0], "it ended, or said something that nobody asked for"
    cluster.stdin.close()
    assert cluster.wait(END_S) == 0


def test_half_a_line_is_no_task_until_it_is_whole(home: Home) -> None:
    cluster = home.start("hs-cluster", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert cluster.stdin
    assert cluster.stdout
    cluster.stdin.write(b"echo ha")
    cluster.stdin.flush()
    assert not select.select([cluster.stdout], [], [], 2)[0]
    cluster.stdin.write(b"lf\n")
    cluster.stdin.flush()
    assert select.select([cluster.stdout], [], [], END_S)[0]
    assert cluster.stdout.readline() == b"half\n"
    cluster.stdin.close()
    assert cluster.wait(END_S) == 0


def test_an_input_that_nobody_can_read_is_refused(home: Home) -> None:
    done = home.run("hs-cluster", home.folder)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("old.db",), b"input old.db: is a database"),
        (("old.db", "--dry-run"), b"is a database"),
        (("tasks", "-f", "old.db"), b"-f: old.db is a database: choose another file"),
        (("tasks", "-o", "old.db", "--database", "old.db"), b"-o and --database name the same file"),
        (("tasks", "--joblog", "new.db", "--database", "new.db"), b"--joblog and --database name the same file"),
        (("empty", "--database", "empty"), b"FILE and --database name the same file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_database_is_taken_for_nothing_else(home: Home, options: tuple[str, ...], why: bytes) -> None:
    """Neither are its bytes run, nor what is recorded in it written over."""
    home.write("tasks", b"echo 1\n")
    home.write("empty", b"")
    assert home.run("hs", "submit", "--database", "old.db", "echo precious").returncode == 0

    done = home.run("hs-cluster", *options)

    assert (done.returncode, done.stdout, why in done.stderr) == (2, b"", True), done.stderr
    assert home.run("hs", "task", "search", "args", "-f", "plain", "--database", "old.db").stdout == b"echo precious\n"


def test_an_input_that_is_taken_for_the_failures_is_not_emptied(home: Home) -> None:
    """`nohup hs-cluster -f tasks &`, by one who has read of `hs submit -f tasks`; what has nothing in it may be written."""
    home.write("tasks", b"echo 1\n")
    cluster = home.start("hs-cluster", "-f", "tasks", stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = cluster.communicate(timeout=END_S)[1]

    assert (cluster.returncode, home.read("tasks")) == (2, b"echo 1\n")
    assert said == b"hs-cluster: -f: tasks would be emptied, and there is no input: if it is the input, leave out -f\n"
    assert home.start("hs-cluster", "-f", "new", stdin=subprocess.DEVNULL).wait(END_S) == 0
