"""A standing queue over days, in minutes: many processes submit, while clusters come, are killed and go.

    hs submit -f FILE | -f - | --template | -- ARGS ──▶ the standing queue ◀── hs-cluster --forever, one after the other

Each task writes its number to the ledger, which is all that it does. A submit that ends with status 3 is done again as a script
would, with --once, so that every piece is accepted in the end, and every task must have been run and recorded once.

Submitters and clusters share the machine, so what shows whether a long queue is slower than a short one is the rate while nobody
submits: of the first tasks, before the others come, and of as many at the end.
"""

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

from tests.faults.databases import SqliteFile
from tests.faults.home import Home
from tests.faults.processes import daemon, descendants, ended_within, identify, kill, until
from tests.faults.queue_judge import Span, Tally, Task, judged, rates

from hs_scheduler.engines import owner_of
from hs_scheduler.store import State

SLOTS = 2

FAULTS = ("broker", "scheduler", "worker", "guardian", "cluster", "all", "stop", "second")
"""A daemon is killed, hs-cluster alone is, all of them are, it is told to stop, or another one wants the same queue."""

DEADLY = frozenset({"worker", "guardian", "cluster", "all", "stop"})
"""What ends a worker: each task that it was running may start again."""

STOPPED, TERMINATED = 3, 143

OPENING = 0.05
"""Part of the tasks that the first cluster runs before anybody else submits."""

DISTURBED = 0.75
"""Part of the tasks that have ended when the last cluster comes, which is left alone."""

SINGLES = 0.1
"""Part of the pieces that are one task."""

TRIES_MAX = 30
RETRY_S = 0.5

STEP_S = 60.0
"""Whatever takes longer is stuck."""

AFTER_CLUSTER_S = 5.0
"""When hs-cluster itself was killed, everything must be gone after so long."""

DRAIN_MAX_S = 300.0
POLL_S = 0.05

DRAIN_POLL_S = 0.5
"""Counting is work too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    tasks: int
    pieces: int
    processes: int
    calm_max_s: float
    """Between two faults, at most."""


FULL = Size(tasks=200_000, pieces=2_000, processes=8, calm_max_s=15.0)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one hs submit adds."""

    first: int
    count: int
    way: str
    """file, stream, template or one."""


@dataclass(slots=True)
class Outcome:
    """How it went."""

    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    """Submits that ended with status 3 and were done again."""
    reruns: int = 0
    rates: tuple[float, float] = (0.0, 0.0)
    """In the first and in the last quarter of the completions."""
    rates_alone: tuple[float, float] = (0.0, 0.0)
    """Of the opening and of as many at the end."""
    seconds: float = 0.0

    @property
    def slowed_to(self) -> float:
        """The rate at the end against that at the start, the worse of both."""
        return min(end / start if start else 0.0 for start, end in (self.rates, self.rates_alone))

    def __str__(self) -> str:
        """Return a line for people."""
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"queue: {len(self.wrong)} wrong; {faults}; {self.retries} submits again, {self.reruns} tasks again; "
            f"{_compared(self.rates)} in the first and last quarter, {_compared(self.rates_alone)} while nobody submits; "
            f"{self.seconds:.0f} s"
        )


def conduct(size: Size, seed: str) -> Outcome:
    """Let the days go by; return what was seen."""
    begin = time.monotonic()
    with Home() as home:
        trial = _Trial(home, size, seed)
        trial.perform()
        trial.outcome.seconds = time.monotonic() - begin
        return trial.outcome


def cut(size: Size, dice: random.Random) -> list[Piece]:
    """Return the pieces: the opening, then some of one task, the others of any size."""
    opening = int(size.tasks * OPENING)
    singles = int(size.pieces * SINGLES)
    rest = size.tasks - opening - singles
    edges = [0, *sorted(dice.sample(range(1, rest), size.pieces - singles - 2)), rest]
    counts = [1] * singles + [end - start for start, end in pairwise(edges)]
    dice.shuffle(counts)
    pieces, first = [Piece(0, opening, "file")], opening
    for count in counts:
        way = "one" if count == 1 else dice.choice(("file", "stream", "template"))
        pieces.append(Piece(first, count, way))
        first += count
    return pieces


class _Trial:
    """Submitters, clusters, and the judge."""

    def __init__(self, home: Home, size: Size, seed: str) -> None:
        self._home = home
        self._size = size
        self._dice = random.Random(seed)
        self.outcome = Outcome()
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        """When there was a cluster, by the clock of the wall."""
        self._since = 0.0
        self.cluster: subprocess.Popen[bytes] | None = None
        os.makedirs(home.path("site", "main"), 0o700)
        self._database = SqliteFile(home)
        self._database.location = home.path("site", "main", "tasks.db")
        self._database.install_audit()

    def perform(self) -> None:
        """Submit, disturb, drain, judge."""
        opening, *pieces = cut(self._size, self._dice)
        self._need_cluster()
        self._submit(opening)
        self._drain()
        enough = int(self._size.tasks * DISTURBED)
        with ThreadPoolExecutor(self._size.processes) as pool:
            submits = [pool.submit(self._submit, piece) for piece in pieces]
            self._disturb(lambda: all(submit.done() for submit in submits) and self._count("state >=") >= enough)
        for submit in submits:
            submit.result()
        self._need_cluster()
        self._drain()
        self._stop()
        self.outcome.wrong += self._home.leftovers(AFTER_CLUSTER_S)
        self._judge()

    def _drain(self) -> None:
        if not until(lambda: self._count("state <") == 0, DRAIN_MAX_S, DRAIN_POLL_S):
            self._say(f"{self._count('state <')} tasks did not end")

    # Submitters: threads, a process at a time each.

    def _submit(self, piece: Piece) -> None:
        """Have a piece accepted, as a script would that minds the status."""
        name = f"piece{piece.first}"
        command = b"%d\n" if piece.way == "template" else b"echo %d >>ran\n"
        text = b"".join(command % task for task in range(piece.first, piece.first + piece.count))
        file = self._home.write(name, text)
        again: tuple[str, ...] = ()
        for _ in range(TRIES_MAX):
            match piece.way:
                case "one" if not again:
                    options: tuple[str, ...] = ("--", text.decode().rstrip())
                case "stream":
                    options = ("-f", "-")
                case "template":
                    options = ("-f", file, "--template", "echo {} >>ran")
                case _:
                    options = ("-f", file)
            stdin = text if piece.way == "stream" else b""
            done = self._home.run("hs", "submit", *again, *options, stdin=stdin, seconds=STEP_S)
            if done.returncode != STOPPED:
                break
            again = ("--once",)
            with self._lock:
                self.outcome.retries += 1
            time.sleep(RETRY_S)
        os.unlink(file)
        said = done.stdout.decode().strip()
        as_expected = again or (len(said) == 36 if piece.way == "one" else said == str(piece.count))
        if done.returncode or not as_expected:
            self._say(f"{piece}: status {done.returncode}, said {said!r}, {done.stderr[-300:]!r}")

    # Clusters.

    def _disturb(self, over: Callable[[], bool]) -> None:
        """Let one cluster after the other come, each fault at least once, until the submitters are through."""
        for name in self._faults():
            if over() and len(self.outcome.faults) == len(FAULTS):
                return
            cluster = self._need_cluster()
            if ended_within(cluster.pid, self._size.calm_max_s * self._dice.uniform(0.2, 1.0)):
                self._say(f"hs-cluster ended by itself: {self._errors()}")
                self._gone()
                continue
            if not until(self._owned, STEP_S, POLL_S):
                self._say("no scheduler came back")
            self.outcome.faults[name] += 1
            self._strike(name, cluster)

    def _faults(self) -> Iterator[str]:
        while True:
            yield from self._dice.sample(FAULTS, len(FAULTS))

    def _strike(self, name: str, cluster: subprocess.Popen[bytes]) -> None:
        match name:
            case "stop":
                self._stop()
            case "second":
                self._second()
            case "cluster" | "all":
                below = [found for pid in descendants(cluster.pid) if (found := identify(pid))]
                kill(cluster.pid)
                if name == "all":
                    for process in below:
                        kill(process.pid)
                self._gone()
                if not until(lambda: all(identify(each.pid) != each for each in below), AFTER_CLUSTER_S):
                    self._say("something outlived a killed hs-cluster")
            case _:
                pid = daemon(cluster.pid, name)
                if pid is None or not kill(pid):
                    self._say(f"there was no {name} to kill")

    def _need_cluster(self) -> subprocess.Popen[bytes]:
        if self.cluster is None:
            with open(self._home.path("stderr"), "ab") as errors:
                self.cluster = self._home.start("hs-cluster", "--forever", f"-N{SLOTS}", stderr=errors)
            if not until(self._owned, STEP_S, POLL_S):
                self._say(f"no cluster came: {self._errors()}")
            self._since = time.time()
        return self.cluster

    def _owned(self) -> bool:
        owner = owner_of(self._database.location)
        return owner is not None and bool(owner.control)

    def _second(self) -> None:
        """Start another one: it must be refused, and say by whom."""
        done = self._home.run("hs-cluster", "--forever", f"-N{SLOTS}", seconds=STEP_S)
        if done.returncode != STOPPED or b" is owned by " not in done.stderr:
            self._say(f"a second cluster: status {done.returncode}, {done.stderr[-300:]!r}")

    def _stop(self) -> None:
        assert self.cluster is not None, "it was needed before"
        self.cluster.terminate()
        cluster = self.cluster
        if not ended_within(cluster.pid, STEP_S):
            self._say("hs-cluster did not end by SIGTERM")
            kill(cluster.pid, signal.SIGKILL)
        if (status := self._gone()) != TERMINATED:
            self._say(f"hs-cluster was told to stop and ended with {status}: {self._errors()}")

    def _gone(self) -> int:
        """Note that there is no cluster any more; return how it ended."""
        assert self.cluster is not None, "it was there"
        self._spans.append((self._since, time.time()))
        status = self.cluster.wait()
        self.cluster = None
        return status

    # The judge.

    def _judge(self) -> None:
        found = self._database.ask("SELECT args, state, exit_status, completion_time FROM task")
        applied = self._database.ask("SELECT args FROM audit JOIN task ON task.row = audit.row")
        rows = [Task(_number(args), *rest) for args, *rest in found]
        tally = Tally(
            tasks=self._size.tasks,
            rows=rows,
            applied=Counter(_number(args) for (args,) in applied),
            ran=Counter(int(line) for line in self._home.read("ran").split()),
        )
        deaths = sum(count for name, count in self.outcome.faults.items() if name in DEADLY)
        self.outcome.reruns = tally.reruns
        self.outcome.wrong += judged(tally, reruns_max=SLOTS * deaths)
        times = [row.completed for row in rows if row.completed is not None]
        self.outcome.rates = rates(times, self._spans, len(times) // 4)
        self.outcome.rates_alone = rates(times, self._spans, int(self._size.tasks * OPENING))

    def _count(self, which: str) -> int:
        ((count,),) = self._database.ask(f"SELECT count(*) FROM task WHERE {which} {State.DONE:d}")
        return int(count)

    def _errors(self) -> str:
        return self._home.read("stderr")[-500:].decode(errors="replace")

    def _say(self, what: str) -> None:
        with self._lock:
            self.outcome.wrong.append(what)


def _number(args: bytes) -> int:
    return int(args.removeprefix(b"echo ").split()[0])


def _compared(rates: tuple[float, float]) -> str:
    start, end = rates
    return f"{start:.0f} and {end:.0f} tasks/s ({end / start if start else 0:.2f})"
