"""A queue on a network file system: its scheduler has the database to itself, and whoever wants to look asks it."""

import json
import os
import subprocess
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import click
import pytest
from tests.faults.processes import resident_bytes, until
from tests.scheduler import generated
from tests.scheduler.building import output
from tests.system.namespaces import Host, may_make
from tests.system.network_home import NetworkHome
from tests.system.standing import STEP_S, Queue

from hs_common.tasks import Outcome
from hs_scheduler.commands import looking
from hs_scheduler.commands.info import info
from hs_scheduler.commands.quick_search import STYLES
from hs_scheduler.commands.search import search
from hs_scheduler.commands.update import update
from hs_scheduler.commands.wait import wait
from hs_scheduler.search import questions
from hs_scheduler.search.questions import Question
from hs_scheduler.stores.engines import owner_of
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NewTask, Retry
from hs_scheduler.tasks.fields import BY_NAME, FIELDS

pytestmark = pytest.mark.system

MANY = 100_000
QUESTIONS = 60
SEED = 7
T0 = 1_700_000_000.0
GROWTH_BYTES_MAX = 24 << 20
"""Of a daemon while somebody reads 100,000 tasks through it, and does not go on."""


class Served:
    """A database of the home, and a scheduler that owns it, by hand: nothing runs, so nothing changes."""

    def __init__(self, home: NetworkHome) -> None:
        self.home = home
        self.database = home.path("site", "main", "tasks.db")
        self.broker = home.start("hs-broker", "--bind", "127.0.0.1")
        self.scheduler = self.serve()

    def serve(self) -> "subprocess.Popen[bytes]":
        """Start a scheduler."""
        started = self.home.start("hs-scheduler", "--forever", "--connection", "main")
        assert until(lambda: self._owned_by(started.pid), STEP_S)
        return started

    def kill(self) -> None:
        """Kill the scheduler: the database is as it was."""
        self.scheduler.kill()
        self.scheduler.wait()

    def search(self, *options: str) -> bytes:
        done = self.home.run("hs", "task", "search", "--database", self.database, *options)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr
        return done.stdout

    def _owned_by(self, pid: int) -> bool:
        owner = owner_of(self.database)
        return owner is not None and owner.pid == pid and bool(owner.control)


@pytest.fixture
def network_home() -> Iterator[NetworkHome]:
    with NetworkHome() as home:
        os.mkdir(home.path("site", "main"), 0o700)
        yield home


def a_store(home: NetworkHome) -> SqliteStore:
    return SqliteStore(home.path("site", "main", "tasks.db"))


def fill(home: NetworkHome, count: int) -> None:
    """Put in tasks that have ended, every hundredth one failed."""
    store = a_store(home)
    for start in range(0, count, 10_000):
        with store.transaction():
            lines = [NewTask(b"work on %d" % number, None, 0, 0, "") for number in range(start, start + 10_000)]
            tasks = store.add(lines, [1] * len(lines), b"/work", T0)
            ended = [
                Outcome(task.row, 1, 0, (task.row % 100 == 0) << 8, "", T0, task.row % 7, 0.0, 0.0, 0, b"", b"", b"")
                for task in tasks
            ]
            store.record(b"w" * 16, "n1", ended, Retry(0, eager=False), T0)
    store.close()


Answer = tuple[list[list[object]], int]


def answer(asker: Any, location: str, question: Question) -> Answer:
    """Return the tasks, and how many they are said to be."""
    with asker.asking(location, question) as rows:
        found = [list(row) for row in rows]
    return found, asker.number_of(location, question)


def test_a_question_has_the_same_answer_whoever_is_asked(
    network_home: NetworkHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler, page by page, or the file: the same values in the same order, archives included."""
    store = a_store(network_home)
    generated.fill(store, Random(SEED))
    store.rotate()
    generated.fill(store, Random(SEED + 1))
    store.close()
    served = Served(network_home)
    network_home.pretend(monkeypatch)
    rows = json.loads(served.search("--json"))
    random = Random(SEED)
    asked = [
        Question(
            filter=one.filter,
            fields=FIELDS,
            order_by=BY_NAME.get(one.order_by or ""),
            descending=one.descending,
            limit=one.limit,
        )
        for one in (generated.question(random, rows) for _ in range(QUESTIONS))
    ]

    said = [answer(looking, served.database, question) for question in asked]
    served.kill()
    assert said == [answer(questions, served.database, question) for question in asked]

    assert sum(count > 0 for _, count in said) > QUESTIONS / 4, "many questions have an answer"


def test_every_reader_prints_what_it_prints_without_a_scheduler(
    network_home: NetworkHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, in every form; and an update means the same tasks."""
    store = a_store(network_home)
    generated.fill(store, Random(SEED))
    store.close()
    served = Served(network_home)
    network_home.pretend(monkeypatch)
    where = ("--database", served.database)
    task = json.loads(output(search, "id", "-l", "1", "--json", "-C", *where))[0]["id"]
    commands: list[tuple[click.Command, tuple[str, ...]]] = [
        *((search, ("-f", style)) for style in STYLES),
        (search, ("args", "-s", "duration", "--desc", "-l", "7")),
        (search, ("--triage",)),
        (info, (task,)),
        (wait, (task, "--info")),
        (wait, (task, "--status")),
        (update, ("color:red", "-w", "args ~ ^no such")),
    ]

    live = [output(command, *options, *where) for command, options in commands]
    served.kill()
    alone = [output(command, *options, *where) for command, options in commands]

    assert live == alone
    assert all(live)


def test_a_reader_that_stops_reading_costs_nothing_and_ends_with_all_of_it(network_home: NetworkHome) -> None:
    """One page is under way for it, whatever there is; meanwhile others are served, and the scheduler may be killed."""
    fill(network_home, MANY)
    served = Served(network_home)
    before = {process: resident_bytes(process.pid) for process in (served.broker, served.scheduler)}
    slow = network_home.start(
        "hs", "task", "search", "args", "-f", "plain", "--database", served.database,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert slow.stdout is not None
    first = os.read(slow.stdout.fileno(), 10)

    assert served.search("-c") == b"%d\n" % MANY
    assert served.search("-c", "-F") == b"%d\n" % (MANY // 100)
    growth = {process: resident_bytes(process.pid) - size for process, size in before.items()}
    assert max(growth.values()) < GROWTH_BYTES_MAX, growth
    served.kill()
    served.serve()
    rest, errors = slow.communicate(timeout=4 * STEP_S)

    assert (slow.returncode, errors) == (0, b"")
    assert first + rest == b"".join(b"work on %d\n" % number for number in range(MANY))


def test_what_is_left_is_read_out_of_the_file_when_the_scheduler_ends_in_the_middle(network_home: NetworkHome) -> None:
    """Nobody owns it then."""
    count = 3 * MANY // 10  # three pages
    fill(network_home, count)
    served = Served(network_home)
    slow = network_home.start(
        "hs", "task", "search", "args", "-f", "plain", "--desc", "--database", served.database,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert slow.stdout is not None
    first = os.read(slow.stdout.fileno(), 10)

    served.broker.kill()
    served.kill()
    rest, errors = slow.communicate(timeout=4 * STEP_S)

    assert (slow.returncode, errors) == (0, b"")
    assert first + rest == b"".join(b"work on %d\n" % number for number in reversed(range(count)))


def test_an_owner_that_cannot_be_asked_is_one_clear_line(network_home: NetworkHome) -> None:
    """Status 3, not half an answer."""
    fill(network_home, 10_000)
    served = Served(network_home)
    os.unlink(network_home.path("site", "connect", "main", "control.json"))
    done = network_home.run("hs", "task", "search", "-c", "--database", served.database)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, b"", 1)
    assert b"is owned by hs-scheduler" in done.stderr


class Login(NamedTuple):
    """A host that shares the home, and nothing else: no sockets, no temporary files."""

    ours: str
    """Our address, as it reaches us."""
    prefix: tuple[str, ...]
    """What runs a command there."""


@pytest.fixture
def login(network_home: NetworkHome) -> Iterator[Login]:
    host = Host()
    hide = " && ".join(f"mount -t tmpfs none {network_home.path(name)}" for name in ("tmp", "run"))
    there = ("unshare", "--mount", "--uts", "sh", "-c", f'hostname login && {hide} && exec "$@"', "sh")
    yield Login(host.ours, (*host.prefix, *there))
    host.close()


@pytest.mark.skipif(not may_make() and not os.environ.get("CI"), reason="needs root and network namespaces")
def test_a_cluster_on_one_host_is_asked_on_another(network_home: NetworkHome, login: Login) -> None:
    """The queue is in the shared home, the cluster in a batch job, the user on a login node."""
    queue = Queue(network_home, "-H", login.ours)
    task = network_home.run(*login.prefix, "hs", "submit", "--", "exit 3")
    assert (task.returncode, task.stderr) == (0, b"")
    uid = task.stdout.decode().strip()

    waited = network_home.run(*login.prefix, "hs", "task", "wait", uid, "--return")
    found = network_home.run(*login.prefix, "hs", "task", "search", "args", "exit_status", "-f", "plain")
    ran = network_home.run(*login.prefix, "hs", "task", "run", "--", "true")

    assert (waited.returncode, waited.stderr) == (3, b"")
    assert (found.stdout, found.stderr) == (b"exit 3\t3\n", b"")
    assert ran.returncode == 0, ran.stderr
    queue.end()


@pytest.mark.skipif(not may_make() and not os.environ.get("CI"), reason="needs root and network namespaces")
def test_a_cluster_that_lets_nobody_join_is_named_with_its_host(network_home: NetworkHome, login: Login) -> None:
    """And with what would let others reach it; status 3."""
    queue = Queue(network_home)
    done = network_home.run(*login.prefix, "hs", "task", "search", "-c")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, b"", 1)
    assert f"reached from host {os.uname().nodename} only (hs-cluster -p lets others reach it)".encode() in done.stderr
    queue.end()


def test_what_is_asked_of_a_cluster_works_there_as_anywhere(network_home: NetworkHome) -> None:
    """Submit what is missing, run, wait, change, find: told by the scheduler, as on a local disk."""
    queue = Queue(network_home, "--capture")
    network_home.write("tasks", b"true 1\ntrue 2  # HYPERSHELL: color:red priority:3\n")
    assert network_home.run("hs", "submit", "-f", "tasks").stdout == b"2\n"
    network_home.write("tasks", network_home.read("tasks") + b"true 3\n")
    assert network_home.run("hs", "submit", "--once", "-f", "tasks").stdout == b"1\n"
    done = network_home.run("hs", "task", "run", "--", "sh", "-c", "echo said; exit 7")
    assert (done.returncode, done.stdout) == (7, b"said\n")
    task = network_home.run("hs", "submit", "--", "sleep 60").stdout.decode().strip()
    waiting = network_home.start("hs", "task", "wait", task, "--info", stdout=subprocess.PIPE)
    assert until(lambda: queue.search("-w", "state == RUNNING"), STEP_S)

    done = network_home.run("hs", "task", "update", "--cancel", "-w", "args ~ ^sleep", "-y")

    assert (done.returncode, done.stdout[:14]) == (0, b"1 task changed"), done.stderr
    assert b"state: CANCELLED" in waiting.communicate(timeout=STEP_S)[0]
    assert waiting.returncode == 0
    found = json.loads(network_home.run("hs", "task", "info", task, "--json").stdout)
    assert (found["args"], found["state"]) == ("sleep 60", "CANCELLED")
    queue.end()
