"""A run at a terminal: the progress line, and tasks' output that never mixes with it."""

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys

import pytest
from tests.faults.home import Home
from tests.faults.processes import until

pytestmark = pytest.mark.system

SILENT_S = 60
"""A terminal that shows nothing for so long belongs to a run that hangs."""

UNTIL_GO = b"until [ -e go ]; do sleep 0.05; done"


def begun_at_a_terminal(home: Home, *argv: str, out_too: bool = True) -> tuple["subprocess.Popen[bytes]", int]:
    """Return a program with stderr (and stdout) on a terminal, and our side of that."""
    ours, theirs = pty.openpty()
    process = home.start(
        *argv,
        stdin=theirs,
        stdout=theirs if out_too else subprocess.PIPE,
        stderr=theirs,
        env={"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    return process, ours


def all_shown(ours: int, home: Home, gate: bytes | None = None) -> bytes:
    """Return what the terminal gets until nobody has it open; `gate`: what it shows before the file `go` is made."""
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while select.select([ours], [], [], SILENT_S)[0]:
            shown += os.read(ours, 65536)
            if gate is not None and gate in shown[-65536 - len(gate) :]:
                home.write("go", b"")
    os.close(ours)
    return shown


def at_a_terminal(home: Home, *argv: str, out_too: bool = True, gate: bytes | None = None) -> tuple[int, bytes, bytes]:
    """Run with stderr (and stdout) on a terminal; return status, what the terminal got, what stdout got."""
    process, ours = begun_at_a_terminal(home, *argv, out_too=out_too)
    shown = all_shown(ours, home, gate)
    out = process.stdout.read() if process.stdout else b""
    return process.wait(60), shown, out


def screen(shown: bytes) -> list[bytes]:
    """Return the lines that stand on the screen at the end: what was erased is gone."""
    lines = [line.rpartition(b"\x1b[2K")[2].rpartition(b"\r")[2] for line in shown.replace(b"\r\n", b"\n").split(b"\n")]
    return [line for line in lines if line]


def test_a_progress_line_counts_and_leaves_no_trace(home: Home) -> None:
    """While it runs: done, failed, running. At the end: the tasks' lines and the summary."""
    counts = b"2/3  1 failed  1 running"
    home.write("tasks", b"echo one\nfalse\n" + UNTIL_GO + b"; echo three >&2\n")

    status, shown, _ = at_a_terminal(home, "hs-cluster", "tasks", "-N3", gate=counts)

    assert (status, counts in shown) == (1, True)
    one, three, head, _, line = screen(shown)
    assert (one, three, head) == (b"one", b"three", b"hs-cluster: failed:")
    assert line.startswith(b"hs-cluster: 3 tasks, 1 failed")


def test_nothing_more_is_started_for_a_terminal_that_takes_nothing(home: Home) -> None:
    """As after Ctrl-S: what is kept for it has a limit. Then all goes on, and nothing is lost."""
    # Given tasks that end at once, and say more together than anybody keeps
    tasks, said_bytes = 400, 20_000
    home.write("tasks", f"echo >>ran; head -c {said_bytes} /dev/zero | tr '\\0' x; echo\n".encode() * tasks + UNTIL_GO)
    process, ours = begun_at_a_terminal(home, "hs-cluster", "-N2", "tasks")

    def stands_still() -> bool:
        before = home.read("ran")
        return bool(before) and not until(lambda: home.read("ran") != before, 2)

    # When nobody reads
    assert until(stands_still, 120)

    # Then
    assert len(home.read("ran")) < 300
    counted = b"%d/%d" % (tasks, tasks + 1)
    assert all_shown(ours, home, counted).count(b"x") >= tasks * said_bytes
    assert process.wait(60) == 0
    assert len(home.read("ran")) == tasks


def test_a_slow_terminal_is_waited_for_at_the_end_of_a_run(home: Home) -> None:
    """What the last tasks said lies with their worker, in a pipe or with us, until it is taken."""
    # Given a run whose tasks have ended
    tasks, said_bytes = 50, 20_000
    home.write("tasks", f"head -c {said_bytes} /dev/zero | tr '\\0' x; echo; echo >>ran\n".encode() * tasks)
    process, ours = begun_at_a_terminal(home, "hs-cluster", "-N2", "tasks")
    assert until(lambda: len(home.read("ran")) == tasks, 120)

    # When nobody reads anything for a while
    assert not until(lambda: process.poll() is not None, 6)

    # Then
    assert all_shown(ours, home).count(b"x") >= tasks * said_bytes
    assert process.wait(60) == 0
    assert home.leftovers() == []


def test_an_unfinished_line_of_a_task_is_not_overwritten(home: Home) -> None:
    """It has no newline, so the progress line would begin right after it."""
    home.write("tasks", b"printf unfinished; sleep 0.5; printf ' business'\n")

    _, shown, _ = at_a_terminal(home, "hs-cluster", "tasks")

    assert screen(shown)[0] == b"unfinished business"


def test_stdout_that_is_no_terminal_gets_tasks_output_only(home: Home) -> None:
    """`hs-cluster tasks >file` at a terminal shows progress there."""
    counts = b"0/1  0 failed  1 running"
    home.write("tasks", UNTIL_GO + b"; echo one\n")

    status, shown, out = at_a_terminal(home, "hs-cluster", "tasks", out_too=False, gate=counts)

    assert (status, out, counts in shown) == (0, b"one\n", True)


@pytest.mark.parametrize("quiet", [["-q"], ["--quiet"]])
def test_quiet_shows_no_progress(home: Home, quiet: list[str]) -> None:
    """Only what tasks say."""
    home.write("tasks", b"sleep 0.4; echo one\n")

    _, shown, _ = at_a_terminal(home, "hs-cluster", "tasks", *quiet)

    assert shown == b"one\r\n"


def test_no_input_at_a_terminal_is_the_usage(home: Home) -> None:
    """Rather than a program that seems to hang."""
    status, shown, _ = at_a_terminal(home, "hs-cluster")

    assert status == 2
    assert b"Usage: hs-cluster [OPTIONS] [FILE]" in shown


def test_a_long_output_at_a_terminal_arrives_whole(home: Home) -> None:
    """A terminal is slower than the tasks: they wait, nothing is dropped."""
    home.write("tasks", b"seq 1 20000\n" * 2)

    _, shown, _ = at_a_terminal(home, "hs-cluster", "tasks", "-N1")

    numbers = [line for line in screen(shown) if line.isdigit()]
    assert numbers == [b"%d" % i for i in range(1, 20001)] * 2


@pytest.mark.parametrize("out_too", [True, False])
def test_one_terminal_has_one_order(home: Home, out_too: bool) -> None:
    """Or what erases the progress line, kept back while the terminal is full, comes in the middle of a task's line."""
    alike = "import sys; from hs_deploy.output.terminal import Terminal as T; t = T(quiet=False); sys.exit(t.out is not t.err)"

    status, _, _ = at_a_terminal(home, sys.executable, "-c", alike, out_too=out_too)

    assert status == (0 if out_too else 1)


def test_a_closed_terminal_is_a_hangup(home: Home) -> None:
    """The kernel says SIGHUP: the run drains; that nobody reads any more harms nobody."""
    home.write("tasks", b"touch started; until [ -e go ]; do sleep 0.05; done; touch finished\n")
    pid, ours = pty.fork()
    if not pid:
        os.chdir(home.folder)
        os.execve(_program(home), ["hs-cluster", "tasks"], home.env | {"TERM": "xterm"})
    from tests.faults.processes import until  # noqa: PLC0415

    assert until(lambda: os.path.exists(home.path("started")))
    os.close(ours)
    home.write("go", b"")

    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert os.path.exists(home.path("finished"))
    assert home.leftovers() == []


def _program(home: Home) -> str:
    import shutil  # noqa: PLC0415

    path = shutil.which("hs-cluster", path=home.env["PATH"])
    assert path is not None
    return path
