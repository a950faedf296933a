"""The workers of a cluster, as the scheduler knows them: who is attached, and for whom it still waits.

known to the store, or attached before ──▶ expected ──Attached──▶ here ──Lost, gone──▶ forgotten
└── the grace is over: not expected any more
"""

from collections import Counter
from collections.abc import Iterable

from hs_common.ids import uuid_text
from hs_common.incarnation import is_named
from hs_common.messages import Attached
from hs_common.values import dataclass
from hs_scheduler.out import OpenBundle


@dataclass(slots=True)
class _Worker:
    """A worker that the present broker knows."""

    host: str
    slots: int


class Crew:
    """Workers by incarnation."""

    def __init__(self) -> None:
        self._here: dict[bytes, _Worker] = {}
        self._expected: set[bytes] = set()

    def __len__(self) -> int:
        """Return how many are attached."""
        return len(self._here)

    @property
    def slots(self) -> int:
        """Slots of all that are attached."""
        return sum(worker.slots for worker in self._here.values())

    def host(self, worker: bytes) -> str:
        """Return where a worker is, "" if it is not known."""
        known = self._here.get(worker)
        return known.host if known else ""

    def census(self, bundles: Iterable[OpenBundle]) -> list[dict[str, str | int]]:
        """Return id, host, slots and tasks in hand of each that is attached."""
        tasks: Counter[bytes] = Counter()
        for bundle in bundles:
            tasks[bundle.worker] += len(bundle.rows)
        return [
            {"id": uuid_text(worker), "host": known.host, "slots": known.slots, "tasks": tasks[worker]}
            for worker, known in self._here.items()
        ]

    def expect(self, workers: Iterable[bytes]) -> None:
        """Wait for these: an earlier scheduler had them."""
        self._expected = set(workers)

    def attach(self, attached: Attached) -> None:
        """Note that a worker is here, in place of the one that it replaces."""
        self._here[attached.worker] = _Worker(attached.host, attached.slots)
        self._expected.discard(attached.replaces)
        self._expected.add(attached.worker)
        self._here.pop(attached.replaces, None)

    def lose(self, name: bytes) -> list[bytes]:
        """Note that a worker, or all of an origin, does not come back; return who."""
        lost = [worker for worker in self._expected | self._here.keys() if is_named(worker, name)] or [name]
        for worker in lost:
            self._here.pop(worker, None)
            self._expected.discard(worker)
        return lost

    def part(self) -> None:
        """Note that a new session begins: whoever is there will be told of again."""
        self._here.clear()

    def give_up(self) -> list[bytes]:
        """Wait for nobody any more who is not here; return for whom it was."""
        missing = sorted(self.missing())
        self._expected.difference_update(missing)
        return missing

    def missing(self) -> set[bytes]:
        """Return who is expected and not here."""
        return self._expected - self._here.keys()
