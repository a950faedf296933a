"""A standing queue over days, in minutes: many processes submit, while clusters come, are killed and go.

    hs submit -f FILE | -f - | --template | -- ARGS ──▶ the standing queue ◀── hs-cluster --forever, one after the other

Each task writes its number to the ledger, which is all that it does. Every piece is accepted in the end, and every task must have
been run and recorded once.

Is a long queue slower than a short one? At its end, when nobody submits, a probe of some tasks runs in it, and the same in a
queue that was made a moment ago: in turns, so that what else the machine does meets both. The young queue is what the old one was
at its start.
"""

import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.faults.home import Home
from tests.faults.queue_place import Queue
from tests.faults.queue_submit import Piece, cut

DISTURBED = 0.75
"""Part of the tasks that have ended when the last cluster comes, which is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    tasks: int
    pieces: int
    processes: int
    calm_max_s: float
    """Between two faults, at most."""
    probes: int
    """In each of the two queues."""
    probe_tasks: int
    """Of one probe."""


FULL = Size(tasks=200_000, pieces=2_000, processes=8, calm_max_s=15.0, probes=9, probe_tasks=2_000)


@dataclass(slots=True)
class Outcome:
    """How it went."""

    wrong: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    again: int = 0
    """Submits that ended with status 3 and were done again."""
    reruns: int = 0
    old: list[float] = field(default_factory=list)
    """Rate of each probe in the queue, tasks/s."""
    young: list[float] = field(default_factory=list)
    """Of the probe beside it, in a new queue."""
    submitted_s: float = 0.0
    """Until everything was accepted."""
    drained_s: float = 0.0
    """Until everything had ended."""
    seconds: float = 0.0

    @property
    def slowed_to(self) -> float:
        """The rate in the queue against that in a new one: the median of the pairs."""
        return statistics.median(old / young for old, young in zip(self.old, self.young, strict=True))

    def __str__(self) -> str:
        """Return a line for people."""
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"queue: {len(self.wrong)} wrong; {faults}; {self.again} submits again, {self.reruns} tasks again; "
            f"all submitted after {self.submitted_s:.0f} s, all ended after {self.drained_s:.0f} s; then "
            f"{statistics.median(self.old):.0f} tasks/s, and {statistics.median(self.young):.0f} in a new queue "
            f"({self.slowed_to:.2f}); {self.seconds:.0f} s"
        )


def conduct(size: Size, seed: str) -> Outcome:
    """Let the days go by; return what was seen."""
    dice = random.Random(seed)
    outcome = Outcome()
    begin = time.monotonic()
    with Home() as home:
        queue = Queue(home)
        clusters = queue.clusters
        with ThreadPoolExecutor(size.processes) as pool:
            submits = [pool.submit(queue.submitter.submit, piece) for piece in cut(size.tasks, size.pieces, dice)]

            def over() -> bool:
                if not all(submit.done() for submit in submits):
                    return False
                outcome.submitted_s = outcome.submitted_s or time.monotonic() - begin
                return queue.ended() >= size.tasks * DISTURBED

            clusters.disturb(over, dice, size.calm_max_s)
        for submit in submits:
            submit.result()
        clusters.need()
        queue.drain()
        outcome.drained_s = time.monotonic() - begin
        _compare(queue, size, outcome)
        outcome.reruns = queue.end(size.tasks + size.probes * size.probe_tasks)
        outcome.wrong += queue.wrong
        outcome.faults, outcome.again = clusters.faults, queue.submitter.again
    outcome.seconds = time.monotonic() - begin
    return outcome


def _compare(old: Queue, size: Size, outcome: Outcome) -> None:
    """Run the probes, each beside one in a new queue."""
    with Home() as home:
        young = Queue(home)
        young.clusters.need()
        for number, (ours, theirs) in enumerate(zip(_probes(size, size.tasks), _probes(size, 0), strict=True)):
            turns = [(old, ours, outcome.old), (young, theirs, outcome.young)]
            for queue, piece, rates in turns if number % 2 else reversed(turns):
                rates.append(queue.probe(piece))
        young.end(size.probes * size.probe_tasks)
        outcome.wrong += [f"in the new queue: {line}" for line in young.wrong]


def _probes(size: Size, first: int) -> Iterator[Piece]:
    for number in range(size.probes):
        yield Piece(first + number * size.probe_tasks, size.probe_tasks, "file")
