"""Runs that are stopped, killed, halted and continued, as users do it."""

import json
import os
import re
import signal
import subprocess
from typing import Any

import pytest
from tests.faults.home import Home
from tests.faults.processes import ended_within, until

pytestmark = pytest.mark.system

STEP_S = 60.0


def rows(home: Home, *options: str) -> list[dict[str, Any]]:
    found = home.run("hs", "task", "search", "--json", *options)
    parsed: list[dict[str, Any]] = json.loads(found.stdout)
    return parsed


def lines(home: Home, name: str = "ran") -> list[bytes]:
    return home.read(name).split()


def stopped_after(home: Home, count: int, *options: str, text: bytes, signum: int = signal.SIGINT) -> int:
    """Run it with this input until so many lines are in `ran`, then send a signal; return the status.

    When the signal was heard the file `go` is made.
    """
    cluster = home.start("hs-cluster", *options, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert cluster.stdin is not None
    assert cluster.stderr is not None
    cluster.stdin.write(text)
    cluster.stdin.close()
    assert until(lambda: len(lines(home)) >= count, STEP_S)
    cluster.send_signal(signum)
    while b"draining" not in cluster.stderr.readline():
        assert cluster.poll() is None
    home.write("go", b"")
    cluster.stderr.read()
    return cluster.wait(STEP_S)


def test_a_stopped_run_goes_on_with_its_template(home: Home) -> None:
    """All that was recorded holds; what is typed now wins, and is said."""
    numbers = b"".join(b"%d\n" % number for number in range(300))
    template = "echo {} >>ran; [ {} -lt 100 ] || until [ -e go ]; do sleep 0.05; done"
    status = stopped_after(home, 20, "-N2", "-t", template, text=numbers)
    assert status == 130
    assert 20 <= len(lines(home)) < 300

    done = home.run("hs-cluster", "--restart", "-N4")

    assert done.returncode == 0, done.stderr
    assert sorted(lines(home), key=int) == numbers.split(), "each once"
    assert b"--num-tasks 4 instead of 2 as recorded" in done.stderr
    assert {row["command"].split()[0] for row in rows(home)} == {"echo"}
    assert home.run("hs-cluster", "--restart").returncode == 0
    assert home.leftovers() == []


def test_a_template_is_for_the_lines_of_its_run(home: Home) -> None:
    """What is submitted to its database afterwards says by itself what is to be run."""
    there = ("--database", home.path("tasks.db"))
    assert home.run("hs-cluster", "-t", "echo run-{} >>ran", *there, stdin=b"1\n").returncode == 0
    assert home.run("hs", "submit", *there, "--", "echo submitted >>ran").returncode == 0

    done = home.run("hs-cluster", "--restart", *there)

    assert done.returncode == 0, done.stderr
    assert lines(home) == [b"run-1", b"submitted"]


def test_half_a_line_of_a_pipe_is_never_run(home: Home) -> None:
    """It was to be longer; nobody knows how."""
    cluster = home.start("hs-cluster", stdin=subprocess.PIPE)
    assert cluster.stdin is not None
    cluster.stdin.write(b"echo one >>ran\necho half >>ran")
    cluster.stdin.flush()
    assert until(lambda: lines(home) == [b"one"], STEP_S)
    spool = os.path.join(home.site, "latest", "input")
    assert until(lambda: os.path.getsize(spool) == 30, STEP_S)
    cluster.kill()
    cluster.wait()

    done = home.run("hs-cluster", "--restart")

    assert done.returncode == 0
    assert lines(home) == [b"one"]
    assert b"not at its end" in done.stderr
    assert b"nothing to do" in home.run("hs-cluster", "--restart").stderr


@pytest.mark.parametrize("where", [[], ["--database", "runs.db"]])
def test_what_is_over_has_the_status_of_its_run_for_ever(home: Home, where: list[str]) -> None:
    """Nobody may have seen it: hs-cluster may be killed after its last task."""
    home.write("tasks", b"echo ran >>ran; [ -e better ]\ntrue\n")

    failed = home.run("hs-cluster", *where, "tasks")
    again = home.run("hs-cluster", "--restart", *where)
    silent = home.run("hs-cluster", "--restart", "-q", *where)
    home.write("better", b"")
    retried = home.run("hs-cluster", "--retry-failed", *where)
    over = home.run("hs-cluster", "--restart", *where)

    assert (failed.returncode, again.returncode, silent.returncode) == (1, 1, 1)
    assert b"nothing is left, but of the last run 1 failed; to try what failed once more" in again.stderr
    assert silent.stderr == b""
    assert (retried.returncode, lines(home)) == (0, [b"ran", b"ran"])
    assert (over.returncode, over.stderr) == (0, b"hs-cluster: nothing to do: nothing is left\n")


@pytest.mark.parametrize("text", [b"", b"# none\n\n"], ids=["empty", "comments"])
def test_a_file_without_a_task_leaves_nothing(home: Home, text: bytes) -> None:
    """It was read to its end, although there was nothing to write down with that."""
    home.write("tasks", text)

    assert home.run("hs-cluster", "tasks").returncode == 0
    again = home.run("hs-cluster", "--restart")

    assert (again.returncode, again.stderr) == (0, b"hs-cluster: nothing to do: nothing is left\n")


def test_half_a_line_of_a_producer_that_heard_the_same_ctrl_c_is_never_run(home: Home) -> None:
    """A terminal sends it to the whole pipeline: who writes ends at once, maybe in the middle of a line."""
    one = b"touch started; until [ -e go ]; do sleep 0.05; done; echo one >>ran\n"
    home.write("input", one + b"echo two >>ran\necho half >>ran")
    pipeline = home.start("sh", "-c", "sh -c 'cat input; exec sleep 600' | hs-cluster", stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")), STEP_S)
    assert until(lambda: len(rows(home)) == 2, STEP_S)

    os.killpg(pipeline.pid, signal.SIGINT)
    assert pipeline.stderr is not None
    assert b"draining" in pipeline.stderr.readline()
    assert until(lambda: "sleep 600" not in home.alive().values(), STEP_S)
    home.write("go", b"")
    assert b"1 task and input that was not read left" in pipeline.stderr.read()
    done = home.run("hs-cluster", "--restart")

    assert (done.returncode, lines(home)) == (0, [b"one", b"two"])
    assert b"not at its end" in done.stderr
    assert home.leftovers() == []


def test_nor_is_it_run_at_once_where_nothing_is_recorded(home: Home) -> None:
    """A slot is free, and nothing but that line is there for it."""
    home.write("input", b"touch started; until [ -e go ]; do sleep 0.05; done; echo one >>ran\necho half >>ran")
    script = "sh -c 'cat input; exec sleep 600' | hs-cluster --no-db -N2"
    pipeline = home.start("sh", "-c", script, stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")), STEP_S)

    os.killpg(pipeline.pid, signal.SIGINT)
    assert pipeline.stderr is not None
    assert b"draining" in pipeline.stderr.readline()
    assert until(lambda: "sleep 600" not in home.alive().values(), STEP_S)
    home.write("go", b"")

    assert b"input that was not read left" in pipeline.stderr.read()
    assert lines(home) == [b"one"]
    assert home.leftovers() == []


def test_the_copy_of_a_pipe_needs_no_disk_for_what_was_read(home: Home) -> None:
    """So input may be without end; and a restart goes on behind the hole."""
    # Given much input, all of which is in the database
    cluster = home.start("hs-cluster", "-N2", stdin=subprocess.PIPE)
    assert cluster.stdin is not None
    for number in range(100):
        cluster.stdin.write(b"# " + b"x" * 200_000 + b"\necho %d >>ran\n" % number)
    cluster.stdin.flush()
    spool = os.path.join(home.site, "latest", "input")
    assert until(lambda: len(lines(home)) == 100, STEP_S)

    # Then the disk has it back
    assert until(lambda: os.stat(spool).st_blocks * 512 < 2_000_000, STEP_S)
    assert os.path.getsize(spool) > 20_000_000

    # And when hs-cluster is killed, no line is run twice, and none that came last is lost
    cluster.stdin.write(b"until [ -e go ]; do sleep 0.05; done; echo 100 >>ran\n")
    cluster.stdin.flush()
    assert until(lambda: len(rows(home)) == 101, STEP_S)
    cluster.kill()
    cluster.wait()
    home.write("go", b"")
    done = home.run("hs-cluster", "--restart")
    assert (done.returncode, sorted(lines(home), key=int)) == (0, [b"%d" % number for number in range(101)])


def test_the_command_that_is_printed_goes_on(home: Home) -> None:
    """From another folder, although another run came between, and with a blank in the path."""
    os.mkdir(home.path("a b"))
    cluster = home.start("hs-cluster", "--database", "a b/x.db", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    out = cluster.communicate(b"false # HYPERSHELL: group:1\npwd >>ran # HYPERSHELL: group:2\n", timeout=STEP_S)[1]
    command = out.decode().partition("to go on: ")[2].splitlines()[0]
    home.run("hs-cluster", stdin=b"true\n")

    os.mkdir(home.path("elsewhere"))
    script = f"cd elsewhere && {command} -t 'true && {{}}' --retry-failed"
    done = home.run("sh", "-c", script.replace("--restart ", ""))

    assert done.returncode == 1, "it fails again"
    assert lines(home) == []
    done = home.run("sh", "-c", f"cd elsewhere && {command} --retry-failed -t '{{}}; true'")
    assert done.returncode == 0, done.stderr
    assert lines(home) == [home.folder.encode()], "in the folder where it was given"


def test_what_a_failed_group_holds_is_held_again_by_a_restart(home: Home) -> None:
    """Both say so, with status 1."""
    text = b"false # HYPERSHELL: group:0\necho late >>ran # HYPERSHELL: group:1\n"
    first = home.run("hs-cluster", stdin=text)
    again = home.run("hs-cluster", "--restart")

    assert (first.returncode, again.returncode, lines(home)) == (1, 1, [])
    assert all(b"group 0 has tasks that failed" in done.stderr for done in (first, again))
    assert [row["state"] for row in rows(home, "-g", "1")] == ["NEW"]


def test_what_failed_and_is_given_up_holds_no_group(home: Home) -> None:
    """By the command that is told; also a line that can never run, so that retrying it is of no use."""
    home.run("hs-cluster", stdin=b"false\na\0b\n# HYPERSHELL: group:1\necho late >>ran\n")
    again = home.run("hs-cluster", "--retry-failed")
    command = again.stderr.decode().partition("give them up (")[2].partition(")")[0]

    assert home.run("sh", "-c", f"{command} -y").returncode == 0
    assert (home.run("hs-cluster", "--restart").returncode, lines(home)) == (0, [b"late"])


def test_tasks_that_failed_and_are_cancelled_hold_no_group(home: Home) -> None:
    """They keep what was recorded of them; a cancel that does not name what failed leaves them."""
    home.run("hs-cluster", stdin=b"false # HYPERSHELL: group:1\necho late >>ran # HYPERSHELL: group:2\n")

    assert b"left as it is: failed" in home.run("hs", "task", "update", "--cancel", "-g", "1", "-y").stdout
    assert home.run("hs", "task", "update", "--cancel", "-F", "-g", "1", "-y").returncode == 0

    assert (home.run("hs-cluster", "--restart").returncode, lines(home)) == (1, [b"late"])
    states = [(row["args"], row["state"], row["exit_status"]) for row in rows(home, "-g", "1")]
    assert states == [("false", "CANCELLED", 1)]


def test_without_a_database_a_failed_group_ends_the_run_too(home: Home) -> None:
    """What is held is told in the reason."""
    text = b"false\n" + b"echo late >>ran # HYPERSHELL: group:1\n" * 5

    done = home.run("hs-cluster", "--no-db", stdin=text)

    assert (done.returncode, lines(home)) == (1, [])
    assert b"the 5 in later groups wait" in done.stderr


def test_too_many_failures_halt_the_run(home: Home) -> None:
    """What ran finishes; the rest can be continued without the limit being reached by old failures."""
    text = b"sleep 0.2; echo x >>ran; exit 1\n" * 40

    done = home.run("hs-cluster", "-N2", "--halt", "3", stdin=text)

    assert done.returncode == 1
    assert b"--halt 3" in done.stderr
    assert 3 <= len(lines(home)) < 20
    states = [row["state"] for row in rows(home)]
    assert (states.count("DONE"), states.count("NEW")) == (len(lines(home)), 40 - len(lines(home)))
    before = len(lines(home))
    assert home.run("hs-cluster", "--restart").returncode == 1
    assert len(lines(home)) >= before + 3


def test_of_short_tasks_none_starts_after_the_failure_that_was_one_too_many(home: Home) -> None:
    """A worker that has hundreds of them in hand waits for the judgement of each failure."""
    short = b"echo x >>ran\n" * 100

    done = home.run("hs-cluster", "-N1", "--halt", "2", stdin=short + b"false\n" + short + b"false\n" + short)

    assert done.returncode == 1
    assert len(lines(home)) == 200
    states = [row["state"] for row in rows(home)]
    assert (states.count("DONE"), states.count("NEW")) == (202, 100)


def test_a_halt_leaves_what_fits_no_worker_as_it_was_submitted(home: Home) -> None:
    """Nobody has it: whoever goes on with the run need not wait for who might."""
    text = b"echo too large # HYPERSHELL: cores:9999\nfalse\n"

    done = home.run("hs-cluster", "-N1", "--halt", "1", "--database", home.path("a.db"), stdin=text)

    assert done.returncode == 1
    found = home.run("hs", "task", "search", "state", "-f", "plain", "--database", home.path("a.db"))
    assert found.stdout == b"NEW\nDONE\n"


def test_a_halt_now_stops_what_runs(home: Home) -> None:
    """It is NEW again."""
    done = home.run(
        "hs-cluster", "-N2", "-S1", "--halt", "now,1", stdin=b"sleep 300\nsleep 0.2; false\n", seconds=STEP_S
    )

    assert done.returncode == 1
    assert sorted(row["state"] for row in rows(home)) == ["DONE", "NEW"]


def test_the_same_line_does_for_the_first_start_and_every_later_one(home: Home) -> None:
    """`--once` adds what is missing, and goes on with what is left."""
    tasks = home.write("tasks.txt", b"echo a >>ran\n" * 2 + b"echo b >>ran; test -e ok\n")
    assert home.run("hs-cluster", "--once", tasks).returncode == 1
    with open(tasks, "ab") as file:
        file.write(b"echo a >>ran\necho c >>ran\n")

    done = home.run("hs-cluster", "--once", tasks)

    assert sorted(lines(home)) == [b"a", b"a", b"a", b"b", b"c"]
    assert done.returncode == 1, "one of them has failed before"
    assert len(rows(home)) == 5
    assert len(os.listdir(os.path.join(home.site, "runs"))) == 1


@pytest.mark.parametrize("how", ["--restart", "--retry-failed"])
def test_what_once_left_out_is_not_added_by_going_on(home: Home, how: str) -> None:
    """A run that found nothing new has written down no place in its input: whoever goes on reads it as that run did."""
    tasks = home.write("tasks.txt", b"echo a >>ran\n")
    for _ in range(2):
        assert home.run("hs-cluster", "--once", tasks, "--database", "x.db").returncode == 0

    done = home.run("hs-cluster", how)

    assert (done.returncode, lines(home)) == (0, [b"a"]), done.stderr


def test_a_cluster_waits_for_ever_until_it_is_told_to_stop(home: Home) -> None:
    """It runs what was submitted, its file first; the queue is continued by --restart."""
    home.run("hs", "submit", "--", "echo submitted >>ran")
    tasks = home.write("tasks.txt", b"echo line >>ran\n")
    cluster = home.start("hs-cluster", "--forever", "-N1", tasks)
    assert until(lambda: len(lines(home)) == 2, STEP_S)
    assert not ended_within(cluster.pid, 0.5)

    cluster.send_signal(signal.SIGTERM)

    assert ended_within(cluster.pid, STEP_S)
    assert cluster.wait() == 143
    home.run("hs", "submit", "--", "echo more >>ran")
    assert home.run("hs-cluster", "--restart").returncode == 0
    assert sorted(lines(home)) == [b"line", b"more", b"submitted"]


@pytest.mark.parametrize("kind", ["a pipe", "a file"])
def test_a_cluster_that_stays_says_that_stdin_is_not_read(home: Home, kind: str) -> None:
    """Whoever has filled it meant it to be."""
    if kind == "a pipe":
        stdin, end = os.pipe()
        os.write(end, b"true\n")
    else:
        stdin = end = os.open(home.write("tasks", b"true\n"), os.O_RDONLY)
    cluster = home.start("hs-cluster", "--forever", stdin=stdin, stderr=subprocess.PIPE)
    assert cluster.stderr is not None

    said = cluster.stderr.readline()

    assert said == b"hs-cluster: stdin is not read: a cluster that stays reads it first where FILE is -\n"
    cluster.terminate()
    assert ended_within(cluster.pid, STEP_S)
    for fd in {stdin, end}:
        os.close(fd)


@pytest.mark.parametrize("options", [[], ["--eager"]])
def test_the_order_of_retries_as_it_was_recorded(home: Home, options: list[str]) -> None:
    """New tasks first; --eager: the retry goes before all that was not handed out yet."""
    gate = home.path("gate")
    os.mkfifo(gate)
    text = f"echo bad >>ran; test $TASK_ATTEMPT = 2 || {{ read x <{gate}; false; }}\n".encode()
    text += b"".join(b"echo %d >>ran; sleep 0.05\n" % number for number in range(30))
    cluster = home.start("hs-cluster", "-r1", *options, home.write("tasks.txt", text))
    # The first task waits here until the others were read: so the order is the scheduler's, not that of the reading.
    with open(gate, "w", encoding="ascii") as file:
        assert until(lambda: len(rows(home)) == 31, STEP_S)
        file.write("go\n")

    assert ended_within(cluster.pid, STEP_S)
    assert cluster.wait() == 0
    names = [row["args"].split()[1] for row in rows(home, "-s", "start_time")]
    assert lines(home) == [name.encode() for name in names]
    assert names[0] == "bad"
    assert [name for name in names if name != "bad"] == [str(number) for number in range(30)]
    assert names.index("bad", 1) < 15 if options else names[-1] == "bad"


def test_the_rate_of_a_queue_leaves_out_what_had_ended_before(home: Home) -> None:
    """Ten tasks of sixty are this start's: so many the rate times the duration makes, not sixty."""
    for count in (50, 10):
        home.run("hs", "submit", "-f", "-", stdin=b"true\n" * count)
        done = home.run("hs-cluster", "--restart")
        assert done.returncode == 0, done.stderr

    found = re.search(rb"60 tasks, .* ([\d.]+) s, ([\d.]+) tasks/s", done.stderr)

    assert found, done.stderr
    assert 5 < float(found[1]) * float(found[2]) < 15
