"""Where what tasks write goes."""

import os
import subprocess

import pytest
from tests.faults.home import Home

pytestmark = pytest.mark.system


def test_all_output_goes_into_one_file_emptied_once(home: Home) -> None:
    """Tasks append: none overwrites what another wrote, and the log stays on stderr."""
    home.write("out", b"from an earlier run, longer than what comes\n")

    done = home.run("hs-cluster", "-N2", "-o", "out", "-e", "err", stdin=b"echo o; echo e >&2\n" * 20)

    assert (done.returncode, done.stdout) == (0, b"")
    assert home.read("out") == b"o\n" * 20
    assert home.read("err") == b"e\n" * 20
    assert b"20 tasks" in done.stderr


def test_both_streams_may_go_into_the_same_file(home: Home) -> None:
    """Neither truncates the other."""
    home.run("hs-cluster", "-o", "both", "-e", "both", stdin=b"echo o; echo e >&2\n" * 5)

    assert sorted(home.read("both").split()) == [b"e"] * 5 + [b"o"] * 5


def test_an_output_survives_the_death_of_the_worker(home: Home) -> None:
    """It is emptied when the run starts, not whenever a worker does."""
    home.run("hs-cluster", "-o", "out", stdin=b"echo before\nkill -9 $PPID\necho after\n")

    assert home.read("out").startswith(b"before\n")
    assert home.read("out").endswith(b"after\n")


def test_outputs_are_opened_with_the_users_umask(home: Home) -> None:
    """They are the user's files, as if a shell had redirected."""
    home.run("sh", "-c", "umask 027; echo true | hs-cluster -o out")

    assert os.stat(home.path("out")).st_mode & 0o777 == 0o640


def test_binary_output_is_passed_on_byte_by_byte(home: Home) -> None:
    """A megabyte of everything."""
    data = bytes(range(256)) * 4096
    home.write("data", data)

    done = home.run("hs-cluster", stdin=b"cat data\n")

    assert done.stdout == data


def test_a_reader_that_leaves_does_not_stop_the_run(home: Home) -> None:
    """`hs-cluster | head -1`: writers get SIGPIPE as in any pipeline, the others run."""
    script = "hs-cluster tasks | head -n 1"
    home.write("tasks", b"echo one\n" + b"echo more; touch ran.$TASK_SLOT\n" * 3 + b"touch last\n")

    done = home.run("sh", "-c", script)

    assert done.stdout == b"one\n"
    assert os.path.exists(home.path("last"))


def test_closed_standard_streams_are_no_trap(home: Home) -> None:
    """A descriptor that is opened in their place must not become a task's output."""
    home.write("tasks", b"echo out; echo err >&2; touch ran\n")

    done = home.run("sh", "-c", "hs-cluster tasks <&- >&- 2>&-")

    assert done.returncode == 0
    assert os.path.exists(home.path("ran"))


def test_daemons_keep_no_descriptor_of_the_caller(home: Home) -> None:
    """Whoever waits for the end of a pipe that we inherited by accident is not kept waiting by a task that stays."""
    read_end, write_end = os.pipe()
    done = home.start("hs-cluster", stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(write_end,))
    os.close(write_end)
    out, _ = done.communicate(b"ls /proc/$$/fd\n", timeout=30)
    os.close(read_end)

    assert {int(fd) for fd in out.split()} <= {0, 1, 2, 10}


def test_a_process_substitution_is_an_output(home: Home) -> None:
    """It is a child of the shell, maybe even ours after an exec: it must live to write what it got."""
    script = "exec hs-cluster tasks -o >(tr a-z A-Z >upper)"
    home.write("tasks", b"echo one\necho two\n")

    home.run("bash", "-c", script)

    from tests.faults.processes import until  # noqa: PLC0415

    assert until(lambda: home.read("upper") == b"ONE\nTWO\n", 5), home.read("upper")


def test_the_job_log_has_a_row_for_each_attempt(home: Home) -> None:
    """With a heading; tabs and newlines in a command cannot break a row."""
    home.run("hs-cluster", "--joblog", "log", "-r1", stdin=b"true\nexit 4\n")

    heading, *rows = home.read("log").decode().splitlines()
    assert heading.split("\t")[:2] == ["id", "attempt"]
    assert sorted(row.split("\t")[heading.split("\t").index("exit_status")] for row in rows) == ["0", "4", "4"]


def test_stdin_by_its_name_is_the_stdin_of_hs_cluster(home: Home) -> None:
    """`/dev/stdin` means another file in the scheduler, which reads the input."""
    home.write("tasks", b"echo one\n")

    done = home.run("sh", "-c", "hs-cluster /dev/stdin <tasks; cat tasks | hs-cluster /dev/stdin")

    assert (done.returncode, done.stdout) == (0, b"one\n" * 2)
