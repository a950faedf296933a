"""Where what tasks write goes."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, state, until

pytestmark = pytest.mark.system


def test_all_output_goes_into_one_file_emptied_once(home: Home) -> None:
    """Tasks append: none overwrites what another wrote, and the log stays on stderr."""
    home.write("out", b"from an earlier run, longer than what comes\n")

    done = home.run("hs-cluster", "-N2", "-o", "out", "-e", "err", stdin=b"echo o; echo e >&2\n" * 20)

    assert (done.returncode, done.stdout) == (0, b"")
    assert home.read("out") == b"o\n" * 20
    assert home.read("err") == b"e\n" * 20
    assert b"20 tasks" in done.stderr


def test_what_a_template_said_is_captured_although_the_task_never_ran(home: Home) -> None:
    """It tells why: the reason has the exit status alone."""
    done = home.run("hs-cluster", "-c", "-t", "true {% echo why >&2; exit 3 %}", stdin=b"x\n")

    (task,) = json.loads(home.run("hs", "task", "search", "--json").stdout)
    assert (done.returncode, task["state"]) == (1, "REJECTED")
    assert home.run("hs", "task", "info", task["id"], "--stderr").stdout == b"why\n"
    assert home.run("hs", "task", "info", task["id"], "--stdout").stdout == b""


@pytest.mark.parametrize("command", ["hs-cluster -f tasks < tasks", "hs-cluster -o tasks tasks"])
def test_the_input_is_no_output_whichever_way_it_comes(home: Home, command: str) -> None:
    """It would be emptied before it is read, and the run succeed with nothing."""
    home.write("tasks", b"false\n")

    done = home.run("sh", "-c", command)

    assert (done.returncode, home.read("tasks")) == (2, b"false\n")
    assert b"tasks is the input: choose another file" in done.stderr


def test_a_pipe_that_took_the_place_of_a_file_of_results_is_not_waited_for(home: Home) -> None:
    """Nobody may ever read it."""
    done = home.run("hs-cluster", "-f", "out", stdin=b"rm out && mkfifo out && false\n")

    assert done.returncode == 3
    assert b"cannot write the failed tasks into " in done.stderr


def test_input_and_output_may_both_be_nothing(home: Home) -> None:
    """A device is not emptied."""
    assert home.run("sh", "-c", "hs-cluster -o /dev/null < /dev/null").returncode == 0


def test_both_streams_may_go_into_the_same_file(home: Home) -> None:
    """Neither truncates the other."""
    home.run("hs-cluster", "-o", "both", "-e", "both", stdin=b"echo o; echo e >&2\n" * 5)

    assert sorted(home.read("both").split()) == [b"e"] * 5 + [b"o"] * 5


def test_an_output_survives_the_death_of_the_worker(home: Home) -> None:
    """It is emptied when the run starts, not whenever a worker does."""
    home.run("hs-cluster", "-o", "out", stdin=b"echo before\nkill -9 $PPID\necho after\n")

    assert home.read("out").startswith(b"before\n")
    assert home.read("out").endswith(b"after\n")


@pytest.mark.parametrize("again", [("--once", "tasks"), ("--restart",)], ids=["--once", "--restart"])
def test_a_start_that_goes_on_empties_no_output(home: Home, again: tuple[str, ...]) -> None:
    """What wrote there in an earlier start does not run again, whether or not that was the one that is recorded."""
    home.write("tasks", b"rm go && kill -INT $(cat pid) && sleep 2; true\necho 2; echo b >&2\n")
    home.write("go", b"")
    assert home.run("sh", "-c", "echo $$ >pid; exec hs-cluster --once tasks").returncode == 130
    home.write("out", b"1\n")
    home.write("err", b"a\n")

    done = home.run("hs-cluster", "-o", "out", "-e", "err", *again)

    assert done.returncode == 0, done.stderr
    assert (home.read("out"), home.read("err")) == (b"1\n2\n", b"a\nb\n")


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
    out, _ = done.communicate(b"ls /proc/$$/fd\n", timeout=60)
    os.close(read_end)

    assert {int(fd) for fd in out.split()} <= {0, 1, 2, 10}


def test_a_process_substitution_is_an_output(home: Home) -> None:
    """It is a child of the shell, maybe even ours after an exec: it must live to write what it got."""
    script = "exec hs-cluster tasks -o >(tr a-z A-Z >upper)"
    home.write("tasks", b"echo one\necho two\n")

    home.run("bash", "-c", script)

    assert until(lambda: home.read("upper") == b"ONE\nTWO\n"), home.read("upper")


@pytest.mark.parametrize("store", [(), ("--no-db",)], ids=["recorded", "no-db"])
def test_the_job_log_has_a_row_for_each_attempt(home: Home, store: tuple[str, ...]) -> None:
    """With a heading; tabs and newlines in a command cannot break a row. A line that can never run has one, too."""
    home.run("hs-cluster", "--joblog", "log", "-r1", *store, stdin=b"true\nexit 4\na\0b\n")

    heading, *lines = home.read("log").decode().splitlines()
    names = heading.split("\t")
    rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
    assert names[:2] == ["id", "attempt"]
    assert sorted(row["exit_status"] for row in rows) == ["", "0", "4", "4"]
    assert [row["reason"] for row in rows if not row["exit_status"]] == ["NUL in the line"]


def test_stdin_by_its_name_is_the_stdin_of_hs_cluster(home: Home) -> None:
    """`/dev/stdin` means another file in the scheduler, which reads the input."""
    home.write("tasks", b"echo one\n")

    done = home.run("sh", "-c", "hs-cluster /dev/stdin <tasks; cat tasks | hs-cluster /dev/stdin")

    assert (done.returncode, done.stdout) == (0, b"one\n" * 2)


@pytest.mark.parametrize("store", [(), ("--no-db",)], ids=["recorded", "no-db"])
def test_outputs_in_the_order_of_the_input(home: Home, store: tuple[str, ...]) -> None:
    """The slowest first, failures retried, silent ones between; both streams, each whole; and nothing is left of it."""
    lines = [b"until [ -e last ]; do sleep 0.05; done; echo 0; echo e0 >&2"]
    lines += [b"[ $TASK_ATTEMPT = 2 ] && echo %d || { echo failed; false; }" % row for row in range(1, 20)]
    lines += [b"true", b"printf 21", b"echo; touch last"]

    done = home.run("hs-cluster", "-q", "-k", "-N3", "-r1", *store, stdin=b"\n".join(lines) + b"\n")

    assert (done.returncode, done.stderr) == (0, b"e0\n")
    assert done.stdout == b"".join(b"%d\n" % row for row in range(20)) + b"21\n"
    assert [names for _, names, _ in os.walk(home.folder) if "outputs" in names] == []
    assert home.leftovers() == []


def test_whole_outputs_are_not_mixed(home: Home) -> None:
    """Larger than any buffer, and written a little at a time."""
    line = b"for i in 1 2 3; do head -c 200000 /dev/zero | tr '\\0' %d; done; echo\n"

    done = home.run("hs-cluster", "-q", "--group-output", "-N3", stdin=b"".join(line % row for row in range(1, 7)))

    assert done.returncode == 0
    assert sorted(done.stdout.split()) == [b"%d" % row * 600_000 for row in range(1, 7)]


def test_ordered_outputs_may_go_into_files(home: Home) -> None:
    """As without an order."""
    done = home.run(
        "hs-cluster", "-k", "-o", "out", "-e", "err", "-N2", stdin=b"sleep 0.2; echo 1; echo a >&2\necho 2\n"
    )

    assert (done.returncode, done.stdout) == (0, b"")
    assert (home.read("out"), home.read("err")) == (b"1\n2\n", b"a\n")


def test_ordered_outputs_survive_every_daemon(home: Home) -> None:
    """What was spooled is printed in its place, whoever dies meanwhile; what ran then is printed once, as it ran last."""
    lines = b"echo 1\n[ $TASK_DISPATCH -gt 1 ] || { echo lost; kill -9 $PPID; }; echo 2\n"
    lines += b"".join(b"echo %d\n" % row for row in range(3, 40))
    home.write("tasks", lines)

    done = home.run("hs-cluster", "tasks", "-q", "-k", "-N2")

    assert done.returncode == 0
    assert done.stdout.split() == [b"%d" % row for row in range(1, 40)]


@pytest.mark.parametrize("options", [("-k",), ("--group-output",)], ids=" ".join)
def test_output_that_nobody_can_write_ends_the_run(home: Home, options: tuple[str, ...]) -> None:
    """Status 3 with the reason, and what is left is said."""
    home.write("tasks", b"echo x\n" * 3 + b"sleep 61.5\n" * 3)

    done = home.run("sh", "-c", "exec hs-cluster tasks -N2 " + " ".join(options) + " >/dev/full")

    assert done.returncode == 3
    assert b"the tasks' stdout cannot be written: No space left on device" in done.stderr
    assert home.leftovers() == []


def test_failures_that_could_not_be_written_are_written_by_a_restart(home: Home) -> None:
    """All tasks have ended by then, and nothing else is said to be left."""
    os.symlink("/dev/full", home.path("out"))

    done = home.run("hs-cluster", "-f", "out", stdin=b"false\n" * 3)
    os.unlink(home.path("out"))
    again = home.run("hs-cluster", "--restart")

    assert done.returncode == 3
    assert b"the end of the run is left, to go on: hs-cluster --restart --database " in done.stderr
    assert b"3 tasks, 3 failed" in done.stderr
    assert (again.returncode, home.read("out")) == (1, b"false\n" * 3)


@pytest.mark.parametrize("options", ["-k", "--group-output"])
def test_what_nobody_could_write_is_printed_by_a_restart(home: Home, options: str) -> None:
    """Its task has succeeded, and does not run again: the output is all that is left of it."""
    home.write("tasks", b"echo 1; echo ran >>ran\n")

    done = home.run("sh", "-c", f"exec hs-cluster tasks {options} >/dev/full")
    again = home.run("hs-cluster", "--restart", "-q")

    assert done.returncode == 3
    assert b"outputs that were not printed left, to go on: hs-cluster --restart" in done.stderr
    assert (again.returncode, again.stdout, home.read("ran")) == (0, b"1\n", b"ran\n")
    assert b"nothing is left" in home.run("hs-cluster", "--restart").stderr


def test_outputs_are_printed_by_one_hs_cluster_at_a_time(home: Home) -> None:
    """All tasks have ended, but a reader takes his time; the database is nobody's any more, the outputs are."""
    home.write("tasks", b"head -c 300000 /dev/zero | tr '\\0' 1; echo\n" * 5)
    cluster = home.start("hs-cluster", "tasks", "-k", stdout=subprocess.PIPE)
    assert cluster.stdout is not None
    assert until(lambda: daemon(cluster.pid, "scheduler") is not None)
    assert until(lambda: daemon(cluster.pid, "scheduler") is None)

    other = home.run("hs-cluster", "--restart")

    assert (other.returncode, other.stdout) == (3, b"")
    assert b"another hs-cluster prints these outputs" in other.stderr
    assert cluster.stdout.read() == (b"1" * 300_000 + b"\n") * 5
    assert cluster.wait(60) == 0
    assert b"nothing is left" in home.run("hs-cluster", "--restart").stderr


def test_a_signal_ends_the_printing_and_a_restart_goes_on_with_it(home: Home) -> None:
    """The tasks have ended, but a reader takes his time, maybe for ever; Ctrl-Z before that changes nothing."""
    home.write("tasks", b"head -c 300000 /dev/zero | tr '\\0' 1; echo\n" * 5)
    cluster = home.start("hs-cluster", "tasks", "-k", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert cluster.stdout is not None
    assert until(lambda: daemon(cluster.pid, "scheduler") is not None)
    assert until(lambda: daemon(cluster.pid, "scheduler") is None)
    assert until(lambda: state(cluster.pid) == "S")

    cluster.send_signal(signal.SIGTSTP)
    assert until(lambda: state(cluster.pid) == "T")
    cluster.send_signal(signal.SIGCONT)
    assert until(lambda: state(cluster.pid) == "S")
    cluster.send_signal(signal.SIGTERM)
    assert cluster.stderr is not None
    said = cluster.stderr.read()

    assert cluster.wait(60) == 128 + signal.SIGTERM
    assert b"outputs that were not printed left, to go on: " in said
    again = home.run("hs-cluster", "--restart", "-q")
    assert (again.returncode, again.stdout) == (0, (b"1" * 300_000 + b"\n") * 5)
    cluster.stdout.close()


def test_what_waits_for_its_turn_when_all_is_killed_is_printed_by_a_restart(home: Home) -> None:
    """The scheduler could not say any more that the task before it is passed."""
    gated = b"trap '' INT TERM; until [ -e go ]; do sleep 0.1; done; echo one\n"
    home.write("tasks", gated + b"echo two; echo ran >>ran\n")
    cluster = home.start("hs-cluster", "tasks", "-k", "-N2", "-S", "600", stderr=subprocess.PIPE)
    assert until(lambda: b"DONE" in home.run("hs", "task", "search", "state", "-f", "plain").stdout)
    assert cluster.stderr is not None
    for said in (b"draining", b"stopping", b"killing"):
        cluster.send_signal(signal.SIGINT)
        assert said in cluster.stderr.readline()
    assert cluster.wait(60) == 130

    home.write("go", b"")
    again = home.run("hs-cluster", "--restart", "-q")

    assert (again.returncode, again.stdout, home.read("ran")) == (0, b"one\ntwo\n", b"ran\n")
    assert b"nothing is left" in home.run("hs-cluster", "--restart").stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [("-f", "cannot write the failed tasks into /dev/full"), ("--joblog", "cannot write the job log /dev/full")],
)
def test_a_file_of_results_on_a_full_disk_ends_the_run_with_a_line(home: Home, options: str, says: str) -> None:
    """Status 3, which file and why, and no traceback; what was recorded stands."""
    done = home.run("hs-cluster", "-q", options, "/dev/full", stdin=b"false\n")

    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[0] == f"hs-scheduler: {says}: No space left on device"
    assert b"Traceback" not in done.stderr


def test_captured_output_is_found_by_its_paths(home: Home) -> None:
    """Each attempt has its own."""
    done = home.run("hs-cluster", "-c", "-r1", stdin=b"echo $TASK_ATTEMPT; echo bad >&2; [ $TASK_ATTEMPT = 2 ]\n")

    assert (done.returncode, done.stdout) == (0, b"")
    rows = json.loads(home.run("hs", "task", "search", "--json", "-s", "attempt").stdout)
    assert [Path(row["outpath"]).read_bytes() for row in rows] == [b"1\n", b"2\n"]
    assert [Path(row["errpath"]).read_bytes() for row in rows] == [b"bad\n"] * 2


@pytest.mark.parametrize(
    "options", [("-o", "x"), ("-e", "x"), ("-k",), ("--group-output",)], ids=lambda options: options[0]
)
def test_capture_excludes_what_else_wants_the_output(home: Home, options: tuple[str, ...]) -> None:
    """Both are named."""
    done = home.run("hs-cluster", "--capture", *options, stdin=b"echo ran\n")

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--capture" in done.stderr
    assert options[0].encode() in done.stderr


def test_tasks_share_the_cores_that_the_worker_was_given(home: Home) -> None:
    """One of two cores alone, or two of one."""
    hold = b"echo + >>log; sleep 0.1; echo - >>log # HYPERSHELL: cores:%d\n"

    done = home.run("hs-cluster", "-N5", "--cores", "2", stdin=(hold % 2 + hold % 1 + hold % 1) * 3)

    assert done.returncode == 0
    running = most = 0
    for word in home.read("log").split():
        running += 1 if word == b"+" else -1
        most = max(most, running)
    assert most == 2


def test_a_task_that_fits_no_worker_waits_and_says_so(home: Home) -> None:
    """It does not fail: a larger worker may come."""
    home.write("tasks", b"touch small\ntouch big # HYPERSHELL: memory:2T\n")
    cluster = home.start("hs-cluster", "tasks", "--memory", "1G", stderr=subprocess.PIPE)
    assert cluster.stderr is not None

    said = cluster.stderr.readline()
    assert b"tasks.waiting" in said
    assert b"hs task update --cancel" in said
    cluster.send_signal(signal.SIGINT)
    _, err = cluster.communicate(timeout=60)

    assert cluster.returncode == 130
    assert b"1 task left" in err
    assert not os.path.exists(home.path("big"))


def test_a_restart_prints_what_had_waited_for_its_turn(home: Home) -> None:
    """Also after the death of everybody: nothing twice, nothing out of order."""
    # Given a first task that holds up the others, all of which have ended
    home.write(
        "tasks", b"until [ -e go ]; do sleep 0.05; done; echo 0\n" + b"".join(b"echo %d\n" % i for i in range(1, 9))
    )
    cluster = home.start("hs-cluster", "tasks", "-k", "-N2", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert until(lambda: done_tasks(home) == 8)

    # When hs-cluster is killed
    cluster.kill()
    out, _ = cluster.communicate()
    assert home.leftovers() == []
    home.write("go", b"")
    again = home.run("hs-cluster", "--restart", "-q")

    # Then the next one prints them behind the first
    assert (again.returncode, out) == (0, b"")
    assert again.stdout.split() == [b"%d" % i for i in range(9)]


def test_a_restart_prints_what_was_whole_and_not_printed(home: Home) -> None:
    """With --group-output too: nothing of a task that has ended is lost, and nothing is printed twice."""
    # Given outputs that were printed, and then some that were not, for hs-cluster stands still
    home.write(
        "tasks",
        b"echo 1; echo first\nuntil [ -e more ]; do sleep 0.05; done; echo 2; echo more\n"
        b"until [ -e go ]; do sleep 0.05; done; echo 3; echo last\n",
    )
    with open(home.path("out"), "wb") as file:
        cluster = home.start("hs-cluster", "tasks", "--group-output", "-N3", stdout=file, stderr=subprocess.DEVNULL)
    assert until(lambda: home.read("out") == b"1\nfirst\n")
    assert until(lambda: state(cluster.pid) == "S"), "it has written down as well that it printed that"
    cluster.send_signal(signal.SIGSTOP)
    home.write("more", b"")
    assert until(lambda: done_tasks(home) == 2)

    # When it is killed
    cluster.kill()
    cluster.wait()
    home.write("go", b"")
    again = home.run("hs-cluster", "--restart", "-q")

    # Then the next one prints the rest
    assert (again.returncode, home.read("out")) == (0, b"1\nfirst\n")
    assert again.stdout == b"2\nmore\n3\nlast\n"


def done_tasks(home: Home) -> int:
    found = home.run("hs", "task", "search", "--json", "-S")
    return len(json.loads(found.stdout)) if found.returncode == 0 else 0


def test_capture_may_take_the_place_of_a_recorded_order(home: Home) -> None:
    """What is typed now wins over what the run recorded and that excludes it; the difference is said."""
    home.run("hs-cluster", "-k", stdin=b"false\n")

    again = home.run("hs-cluster", "--retry-failed", "-c")

    assert again.returncode == 1
    assert b"--capture instead of -k as recorded" in again.stderr
