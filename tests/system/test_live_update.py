"""`hs task update` on a cluster that works: rows and processes agree, at whatever moment it comes."""

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, kill, until
from tests.system.standing import STEP_S, Queue

from hs_scheduler.commands.changing import carry_out
from hs_scheduler.commands.live import client_of
from hs_scheduler.stores.changes import Action, Change, Changed, Span
from hs_scheduler.tasks.filters import Filter

pytestmark = pytest.mark.system

MANY = 1_000
"""More tasks than are handed out at once."""

LASTING = 4_000
"""Tasks that take much longer together than it takes to submit and to cancel all of `WAITING`, however busy the machine is."""

WAITING = 30_000
"""Tasks that cannot be cancelled in the time in which the scheduler does anything else once."""

BLOCKER = "sleep 1234 & echo started >>ran; exec sleep 1235"
"""Runs until it is stopped, and has a child."""


@pytest.fixture
def queue(home: Home) -> Queue:
    return Queue(home, "-N1", "-r2")


def submit(queue: Queue, *args: str) -> str:
    done = queue.home.run("hs", "submit", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def submit_lines(queue: Queue, *lines: str) -> None:
    done = queue.home.run("hs", "submit", "-f", "-", stdin="".join(f"{line}\n" for line in lines).encode())
    assert done.returncode == 0, done.stderr


def update(queue: Queue, *options: str) -> list[str]:
    done = queue.home.run("hs", "task", "update", "-y", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    return [line.replace(f" in {queue.database}", "") for line in done.stdout.decode().splitlines()]


def cancel(queue: Queue, uid: str, *options: str) -> list[str]:
    return update(queue, "--cancel", "-w", f"id == {uid}", *options)


def states(queue: Queue) -> dict[str, str]:
    return {row["id"]: row["state"] for row in queue.search("id", "state")}


def block(queue: Queue) -> str:
    """Fill the only slot."""
    before = queue.lines().count(b"started")
    uid = submit(queue, "--", BLOCKER)
    assert until(lambda: queue.lines().count(b"started") > before, STEP_S)
    return uid


def sleeping(queue: Queue) -> list[str]:
    return sorted(line for line in queue.home.alive().values() if line in ("sleep 1234", "sleep 1235"))


def test_who_means_the_cluster_is_told_that_a_run_came_between(queue: Queue) -> None:
    """The database used last is that of the run; what the cluster has is left alone, and named."""
    uid = block(queue)
    assert queue.home.run("hs-cluster", stdin=b"true\n").returncode == 0

    done = queue.home.run("hs", "task", "update", "--cancel", "--all", "-y")

    assert done.returncode == 0
    assert done.stderr.endswith(b"cluster which runs here: --database %s\n" % queue.database.encode())
    assert until(lambda: states(queue) == {uid: "RUNNING"}, STEP_S)
    assert cancel(queue, uid, "--database", queue.database) == ["1 task changed"]
    queue.end()


def test_a_cancel_at_four_moments(queue: Queue) -> None:
    """New, handed out, running, finished: what is cancelled never runs, is not retried, and survives a restart."""
    finished = submit(queue, "--", "echo finished >>ran")
    assert until(lambda: states(queue)[finished] == "DONE", STEP_S)
    running = block(queue)
    submit_lines(queue, *(f"echo {number} >>ran" for number in range(MANY)))
    waiting = [row for row in queue.search("id", "state", "args") if row["args"].split()[1].isdigit()]
    handed_out = next(row for row in reversed(waiting) if row["state"] == "ASSIGNED")
    new = next(row for row in waiting if row["state"] == "NEW")

    assert cancel(queue, finished) == ["0 tasks changed", "1 task left as it is: succeeded"]
    assert cancel(queue, new["id"]) == cancel(queue, handed_out["id"]) == ["1 task changed"]
    assert sleeping(queue) == ["sleep 1234", "sleep 1235"]
    assert cancel(queue, running) == ["1 task changed"]

    assert until(lambda: len(queue.lines()) == MANY, STEP_S)
    assert until(lambda: not sleeping(queue), STEP_S), "everything that it started is gone"
    assert until(lambda: set(states(queue).values()) == {"DONE", "CANCELLED"}, STEP_S)
    assert {uid for uid, state in states(queue).items() if state == "CANCELLED"} == {
        new["id"], handed_out["id"], running
    }  # fmt: skip
    ran = queue.lines()
    queue.end()
    done = queue.home.run("hs-cluster", "--restart", "--database", queue.database)
    assert done.returncode in (0, 1)
    assert (queue.lines(), len(queue.search())) == (ran, MANY + 2)
    expected = {str(number).encode() for number in range(MANY)} | {b"finished", b"started"}
    assert {bytes(line) for line in ran} == expected - {row["args"].split()[1].encode() for row in (new, handed_out)}
    assert queue.home.leftovers() == []


def test_what_is_held_waits_until_it_is_released(queue: Queue) -> None:
    running = block(queue)
    submit_lines(queue, *(f"echo {number} >>ran # HYPERSHELL: n:{number} group:1" for number in range(5)))

    assert update(queue, "--hold", "-g", "1", "-t", "n:3") == ["1 task changed"]
    cancel(queue, running)
    assert until(lambda: len(queue.lines()) == 5, STEP_S)
    assert sorted(set(states(queue).values())) == ["CANCELLED", "DONE", "ON_HOLD"]
    assert [queue.status()[name] for name in ("queued", "on_hold")] == [0, 1]
    assert update(queue, "--release", "-t", "n:3") == ["1 task changed"]
    assert until(lambda: queue.lines()[-1] == b"3", STEP_S)
    queue.end()


def test_what_is_too_large_for_every_worker_waits_and_can_be_made_smaller(queue: Queue) -> None:
    submit_lines(queue, *(f"echo {number} >>ran # HYPERSHELL: n:{number} cores:9999" for number in range(2)))
    assert until(lambda: queue.status()["fits_nobody"] == 2, STEP_S)
    assert [queue.status()[name] for name in ("queued", "running")] == [2, 0]

    assert update(queue, "--hold", "-t", "n:0") == ["1 task changed"]
    assert update(queue, "cores=1", "-t", "n:1") == ["1 task changed"]
    assert until(lambda: queue.lines() == [b"1"], STEP_S)
    assert update(queue, "cores=null", "--release", "-t", "n:0") == ["1 task changed"]
    assert until(lambda: queue.lines() == [b"1", b"0"], STEP_S)
    queue.end()


def test_one_of_a_bundle_that_is_too_large_is_cancelled_as_handed_out(home: Home) -> None:
    """So its state calls it; the other one of the bundle still goes when it can."""
    queue = Queue(home, "-b2")
    submit_lines(queue, *(f"echo {number} >>ran # HYPERSHELL: n:{number} cores:9999" for number in range(2)))
    assert until(lambda: queue.status()["fits_nobody"] == 2, STEP_S)

    assert update(queue, "--cancel", "-t", "n:0", "-w", "state == ASSIGNED") == ["1 task changed"]
    assert until(lambda: queue.status()["fits_nobody"] == 1, STEP_S)
    assert update(queue, "cores=1", "-t", "n:1") == ["1 task changed"]
    assert until(lambda: queue.lines() == [b"1"], STEP_S)
    queue.end()


def test_a_retry_goes_at_once_and_frees_the_groups_behind(queue: Queue) -> None:
    submit_lines(
        queue,
        "test -e allowed && echo first >>ran # HYPERSHELL: group:1",
        "echo second >>ran # HYPERSHELL: group:2",
    )
    assert until(lambda: len(queue.search("-F")) == 3, STEP_S), "three attempts"
    queue.home.write("allowed", b"")

    assert update(queue, "--retry", "-F")[0] == "1 task changed"
    assert until(lambda: queue.lines() == [b"first", b"second"], STEP_S)
    queue.end()


def test_a_revert_and_new_values_go_at_once(queue: Queue) -> None:
    uid = submit(queue, "--", "echo one >>ran")
    assert until(lambda: states(queue)[uid] == "DONE", STEP_S)

    assert update(queue, "--revert", "args=echo two >>ran", "again:true", "-w", f"id == {uid}") == ["1 task changed"]
    assert until(lambda: queue.lines() == [b"one", b"two"], STEP_S)
    assert until(lambda: [row["state"] for row in queue.search("-t", "again:true")] == ["DONE"], STEP_S)
    assert update(queue, "--delete", "-t", "again") == ["1 task changed"]
    assert queue.search() == []
    queue.end()


def test_a_large_cancel_leaves_the_scheduler_free(queue: Queue) -> None:
    """Also one by a regular expression: between its pieces tasks go out and end, and questions are answered."""
    submit_lines(queue, *["sleep 0.01"] * LASTING, *[f": waits {n} # HYPERSHELL: group:1" for n in range(WAITING)])

    cancel = queue.home.start("hs", "task", "update", "--cancel", "-w", "args ~ ^: w", "-y", stdout=subprocess.PIPE)
    client = client_of(queue.database)
    assert client is not None
    with closing(client):
        answers = []
        while cancel.poll() is None:
            answers.append(json.loads(client.ask("status", b"")))

    assert cancel.stdout is not None
    assert cancel.stdout.read().startswith(b"%d tasks changed" % WAITING)
    during = [answer for answer in answers if 0 < answer["cancelled"] < WAITING]
    assert during, "questions are answered meanwhile"
    assert during[-1]["succeeded"] > during[0]["succeeded"], "tasks end meanwhile"
    queue.end()


def test_an_update_is_made_once_though_its_scheduler_is_killed(queue: Queue) -> None:
    """The answer may be lost: the same piece is asked for again, by its key."""
    submit_lines(queue, *(": # HYPERSHELL: group:9 cores:99" for _ in range(45_000)))
    change = queue.home.start("hs", "task", "update", "--hold", "-g", "9", "-y", stdout=subprocess.PIPE)

    killed = 0
    for _ in range(2):
        before = held(queue)
        assert until(lambda: change.poll() is not None or held(queue) > before, STEP_S)  # noqa: B023 - called within the turn
        if change.poll() is None and (pid := daemon(queue.cluster.pid, "scheduler")) is not None:
            killed += kill(pid)

    said = change.communicate(timeout=2 * STEP_S)[0].decode().splitlines()
    assert (change.returncode, killed > 0) == (0, True)
    out = sum(int(line.split()[0]) for line in said[1:])
    assert int(said[0].split()[0]) + out == 45_000
    assert held(queue) == int(said[0].split()[0])
    queue.end()


def test_an_update_goes_on_with_the_next_cluster(queue: Queue) -> None:
    """The one that it spoke to was killed with all its daemons before the second piece; another one owns the database now."""
    first = block(queue)
    uids = [submit(queue, "-g", "9", "--", "true") for _ in range(2)]
    rows = rows_of(queue, uids)
    after: list[Queue] = []

    def spans() -> Iterator[Span]:
        yield Span(rows[0], rows[0], 1)
        kill(queue.cluster.pid)
        assert until(lambda: not queue.takes_requests(), STEP_S)
        queue.cluster.wait()
        after.append(Queue(queue.home, "-N1"))
        yield Span(rows[1], rows[1], 1)

    hold = Change(filter=Filter(), action=Action.HOLD)

    assert carry_out(queue.database, hold, spans()) == Changed(count=2)
    assert [states(queue)[uid] for uid in uids] == ["ON_HOLD", "ON_HOLD"]
    cancel(queue, first)
    after[0].end()


def rows_of(queue: Queue, uids: list[str]) -> list[int]:
    """Return the numbers of tasks."""
    with closing(sqlite3.connect(f"file:{queue.database}?mode=ro", uri=True)) as db:
        return [db.execute("SELECT row FROM task WHERE uid = ?", (UUID(uid).bytes,)).fetchone()[0] for uid in uids]


def held(queue: Queue) -> int:
    """Return how many tasks are on hold; at once, for the next piece comes soon."""
    with closing(sqlite3.connect(f"file:{queue.database}?mode=ro", uri=True)) as db:
        ((count,),) = db.execute("SELECT count(*) FROM task WHERE state = -1")
    return int(count)


def test_a_run_of_its_own_can_be_changed_while_it_works(home: Home) -> None:
    """Its tasks are found by `latest`, its scheduler by the database."""
    run = home.start("hs-cluster", "-N1", home.write("tasks", b"echo started >>ran; sleep 1235\necho after >>ran\n"))
    assert until(lambda: home.read("ran") == b"started\n", STEP_S)

    done = home.run("hs", "task", "update", "--cancel", "-w", "args ~ sleep", "-y")
    assert (done.returncode, done.stdout[:14]) == (0, b"1 task changed")
    assert run.wait(STEP_S) == 1, "a cancelled task has not succeeded"
    assert home.read("ran") == b"started\nafter\n"
    assert home.leftovers() == []
