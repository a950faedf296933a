"""`hs submit` to a cluster that waits for tasks: started at once, once each, whoever is killed meanwhile."""

import os
import re
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, ended_within, kill, until
from tests.system.standing import STEP_S, Queue

from hs_scheduler.commands.sink import Sink
from hs_scheduler.serving.asking import SUBMIT_TASKS_MAX
from hs_scheduler.stores.engines import owner_of
from hs_scheduler.stores.store import NewTask

pytestmark = pytest.mark.system

HELD = 1_000
"""Lines that come only when a test says so: until then their submit is not through."""


def test_what_is_submitted_starts_at_once(queue: Queue) -> None:
    """The database is owned, so it goes through its owner; the id is printed as without one."""
    done = queue.home.run("hs", "submit", "-t", "kind:test", "--", "echo", "two words")
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.strip()) == 36
    bulk = queue.home.write("tasks.txt", b"".join(b"echo %d >>ran\n" % number for number in range(300)))

    done = queue.home.run("hs", "submit", "-f", bulk)

    assert (done.stdout, done.stderr) == (b"300\n", b"")
    assert until(lambda: len(queue.lines()) == 300, STEP_S)
    again = queue.home.run("hs", "submit", "--once", "-f", bulk)
    assert again.stdout == b"0\n", "the database holds them all"
    queue.end()
    assert sorted(queue.args()) == sorted(["echo 'two words'", *(f"echo {number} >>ran" for number in range(300))])
    assert queue.home.leftovers() == []


def test_a_cluster_that_has_just_begun_is_waited_for(queue: Queue) -> None:
    """Its scheduler owns the database, and its broker has yet to write the file by which it is reached."""
    owner = owner_of(queue.database)
    assert owner is not None
    os.rename(owner.control, owner.control + ".later")

    submit = queue.home.start("hs", "submit", "--", "echo one >>ran", stdout=subprocess.PIPE)
    assert not ended_within(submit.pid, 1.0)
    os.rename(owner.control + ".later", owner.control)

    assert len(submit.communicate(timeout=STEP_S)[0].strip()) == 36
    assert until(lambda: queue.lines() == [b"one"], STEP_S)
    queue.end()


def test_a_stream_is_handed_on_line_by_line(queue: Queue) -> None:
    """A task runs while its producer thinks about the next one."""
    submit = queue.home.start("hs", "submit", "-f", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert submit.stdin is not None
    for number in range(3):
        submit.stdin.write(b"echo %d >>ran\n" % number)
        submit.stdin.flush()
        assert until(lambda: len(queue.lines()) == number + 1, STEP_S)  # noqa: B023 - called within the turn
    assert submit.communicate(timeout=STEP_S)[0] == b"3\n"
    queue.end()


def a_held_submit(queue: Queue, file: str, *options: str) -> "subprocess.Popen[bytes]":
    """Start a submit of the lines of a file; for the last `HELD` it has to wait until there is a file `go`."""
    feed = f"head -n -{HELD} {file}; until [ -e go ]; do sleep 0.05; done; tail -n {HELD} {file}"
    feeder = queue.home.start("sh", "-c", feed, stdout=subprocess.PIPE)
    assert feeder.stdout is not None
    pipe = subprocess.PIPE
    submit = queue.home.start("hs", "submit", "-f", "-", *options, stdin=feeder.stdout, stdout=pipe, stderr=pipe)
    feeder.stdout.close()
    return submit


@pytest.mark.parametrize("name", ["broker", "scheduler"])
def test_nothing_is_lost_and_nothing_added_twice_when_a_daemon_is_killed_meanwhile(queue: Queue, name: str) -> None:
    """The answer to a piece may be lost: the client asks again with the same key, and the store knows it."""
    count = 20_000
    text = b"".join(b": %d # HYPERSHELL: group:9 cores:99\n" % number for number in range(count))
    submit = a_held_submit(queue, queue.home.write("t", text))

    killed = 0
    for _ in range(3):
        before = stored(queue)
        assert until(lambda: stored(queue) > min(before, count - HELD - 1), STEP_S)  # noqa: B023 - called within the turn
        if (pid := daemon(queue.cluster.pid, name)) is not None:
            killed += kill(pid)
    queue.home.write("go", b"")

    assert submit.communicate(timeout=2 * STEP_S)[0] == b"%d\n" % count
    assert submit.returncode == 0
    assert killed
    queue.end()
    assert sorted(queue.args()) == sorted(f": {number}" for number in range(count))


@pytest.mark.parametrize("template", [(), ("--template", ": {}")], ids=["lines", "template"])
def test_a_killed_submit_is_done_again_with_once(queue: Queue, template: tuple[str, ...]) -> None:
    """What it had handed on stays, and the next one adds the rest; a line that was expanded is known again."""
    count = 20_000
    line = b"%d # HYPERSHELL: group:9 cores:99\n"
    text = b"".join((line if template else b": " + line) % number for number in range(count))
    file = queue.home.write("t", text)
    submit = a_held_submit(queue, file, *template)
    assert until(lambda: stored(queue) > 0, STEP_S)

    kill(submit.pid)

    assert submit.wait() == -signal.SIGKILL
    again = queue.home.run("hs", "submit", "--once", "-f", file, *template)
    assert (again.returncode, again.stderr) == (0, b"")
    assert 0 < int(again.stdout) < count
    assert queue.home.run("hs", "submit", "--once", "-f", file, *template).stdout == b"0\n"
    queue.end()
    assert sorted(queue.args()) == sorted(f": {number}" for number in range(count))


def test_an_interrupted_submit_says_how_much_was_accepted(queue: Queue) -> None:
    """At least so much: the piece that was on its way may be in the queue as well."""
    text = b"".join(b": %d # HYPERSHELL: cores:99\n" % number for number in range(4 * SUBMIT_TASKS_MAX))
    submit = a_held_submit(queue, queue.home.write("t", text))
    # When the second piece is there, the answer to the first one has been heard.
    assert until(lambda: stored(queue) >= 2 * SUBMIT_TASKS_MAX, STEP_S)

    submit.send_signal(signal.SIGINT)

    out, err = submit.communicate(timeout=STEP_S)
    assert (submit.returncode, out) == (130, b"")
    said = re.fullmatch(rb"hs: at least (\d+) tasks were accepted before it ended", err.strip())
    assert said, err
    assert SUBMIT_TASKS_MAX <= int(said[1]) <= stored(queue)


def stored(queue: Queue) -> int:
    """Return how many tasks are committed."""
    with closing(sqlite3.connect(f"file:{queue.database}?mode=ro", uri=True)) as db:
        ((count,),) = db.execute("SELECT count(*) FROM task")
    return int(count)


def test_eight_at_once_are_all_accepted(queue: Queue) -> None:
    """Each hears of its own."""
    texts = [b"".join(b": %d.%d\n" % (who, number) for number in range(250)) for who in range(8)]
    submits = [
        queue.home.start("hs", "submit", "-f", queue.home.write(f"t{who}", text), stdout=subprocess.PIPE)
        for who, text in enumerate(texts)
    ]
    assert [submit.communicate(timeout=STEP_S)[0] for submit in submits] == [b"250\n"] * 8
    queue.end()
    expected = [line.decode() for text in texts for line in text.splitlines()]
    assert sorted(queue.args()) == sorted(expected)


def test_a_submit_to_a_run_of_its_own_waits_for_who_takes_all(home: Home) -> None:
    """A one-shot runs what it was given; the other task is accepted, kept, and run by the next one."""
    database = home.path("shared.db")
    text = "hs submit --database shared.db -- 'echo later >>ran'; echo now >>ran\n"
    done = home.run("hs-cluster", "--database", database, stdin=text.encode())
    assert done.returncode == 0, done.stderr
    assert home.read("ran") == b"now\n"
    home.run("hs-cluster", "--restart", "--database", database)
    assert sorted(home.read("ran").split()) == [b"later", b"now"]


def test_a_submit_that_began_without_a_scheduler_goes_through_the_one_that_came_first(home: Home) -> None:
    """While it waited for the database, as behind another submit."""
    sink = Sink(home.path("site", "main", "tasks.db"))
    queue = Queue(home)

    (accepted,) = sink.add([[NewTask(b"echo 1 >>%s" % home.path("ran").encode(), None, 0, 0, "")]], whole=True)

    sink.close()
    assert accepted.count == 1
    assert until(lambda: queue.lines() == [b"1"], STEP_S)
    queue.end()


def test_a_submit_goes_on_with_the_next_cluster(queue: Queue) -> None:
    """The one that it spoke to was killed with all its daemons; another one, with other keys, owns the database now."""
    submit = queue.home.start("hs", "submit", "-f", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert submit.stdin is not None
    submit.stdin.write(b"echo first >>ran\n")
    submit.stdin.flush()
    assert until(lambda: queue.lines() == [b"first"], STEP_S)

    kill(queue.cluster.pid)
    assert until(lambda: not queue.takes_requests(), STEP_S)
    queue.cluster.wait()
    after = Queue(queue.home)
    submit.stdin.write(b"echo second >>ran\n")
    submit.stdin.close()
    submit.stdin = None

    assert submit.communicate(timeout=STEP_S)[0] == b"2\n"
    assert until(lambda: queue.lines() == [b"first", b"second"], STEP_S)
    after.end()
