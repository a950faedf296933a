"""`--dry-run`, and templates that are refused: nothing is started, nothing is left."""

import os

import pytest
from tests.faults.home import Home

pytestmark = pytest.mark.system


@pytest.mark.parametrize("way", ["pipe", "file", "fifo"])
def test_a_dry_run_prints_every_line_and_makes_no_run(home: Home, way: str) -> None:
    """However the input comes; comments and tags are no part of the command."""
    text = b"# a comment\n\nmade 1\r\ncaf\xe9 # HYPERSHELL: k:v\nlast"
    expected = b"touch made 1; 1\ntouch caf\xe9; caf\xe9\ntouch last; last\n"
    template = ["--dry-run", "-t", "touch {}; {[-1]}"]
    home.write("tasks", text)

    match way:
        case "pipe":
            done = home.run("hs-cluster", *template, stdin=text)
        case "file":
            done = home.run("hs-cluster", *template, "tasks")
        case _:
            os.mkfifo(home.path("fifo"))
            with home.start("sh", "-c", "cat tasks >fifo"):
                done = home.run("hs-cluster", *template, "fifo")

    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")
    assert not os.path.exists(home.site)
    assert set(os.listdir(home.folder)) <= {"tasks", "fifo", "tmp", "run"}


def test_a_dry_run_names_what_can_never_run(home: Home) -> None:
    """On stderr, with the reason; the status is that of a run."""
    done = home.run("hs-cluster", "--dry-run", "-t", "echo {[1]}", stdin=b"a b\nonly\nx # HYPERSHELL: cores:no\n")

    assert (done.returncode, done.stdout) == (1, b"echo b\n")
    assert done.stderr.splitlines() == [
        b"hs-cluster: would be REJECTED: template: {[1]} is out of range: 1 arguments: only",
        b"hs-cluster: would be REJECTED: tag cores:no: is not an integer in 1..10000: x # HYPERSHELL: cores:no",
    ]


def test_a_dry_run_ends_when_nobody_reads_any_more(home: Home) -> None:
    """`| head` is no failure."""
    done = home.run(
        "sh", "-c", "yes line | head -200000 | { hs-cluster --dry-run; echo $? >status; } | head -1; cat status"
    )

    assert done.stdout.split() == [b"line", b"0"]
    assert done.stderr == b""


@pytest.mark.parametrize(
    "arguments", [["hs-cluster"], ["hs-cluster", "--dry-run"], ["hs-worker", "--connection", "none"]]
)
def test_a_bad_template_is_refused_before_anything_starts(home: Home, arguments: list[str]) -> None:
    """One line that says what is wrong with it."""
    done = home.run(*arguments, "-t", "echo {[::0]}", stdin=b"x\n")

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == f"{arguments[0]}: template: {{[::0]}}: the step of a slice cannot be 0\n".encode()
    assert not os.path.exists(home.site)


def test_commands_and_expressions_of_a_template_in_a_whole_run(home: Home) -> None:
    """What ran is recorded; what could not be expanded says why."""
    template = "echo {% basename @ %} {= len(x) =} {% test @ != /a/bad %} {attempt}"

    done = home.run("hs-cluster", "-N2", "-t", template, stdin=b"/a/b.c\n/a/bad\n/a/it's\n")
    found = home.run("hs", "task", "search", "-s", "submit_time", "-f", "csv", "args", "command", "reason")

    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == [b"b.c 6 1"]
    assert b"3 tasks, 2 failed" in done.stderr
    rows = sorted(found.stdout.decode().splitlines()[1:])
    assert rows[0] == "/a/b.c,echo b.c 6  1,"
    assert rows[1] == "/a/bad,,template: {% test @ != /a/bad %}: exit status 1"
    assert rows[2] == "/a/it's,echo it's 7  1,"
