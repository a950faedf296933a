"""The bundles that wait for a worker: first in, first out, among those that a worker can take.

    put ──▶ one line for each Demand ──take──▶ the oldest head of a line that fits the worker

Rules, checked by `check`:
1. A bundle waits in one line, that of its demand.
2. `tasks` and `size` are the sums over what waits.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace

from hs_common import limits
from hs_common.messages import BundleHeader, Demand


class Backlog:
    """Bundles in the order of their coming, their bodies unopened."""

    def __init__(self) -> None:
        self.tasks = 0
        self.size = 0
        """Bytes of all bodies."""
        self._waiting: dict[int, tuple[int, BundleHeader, bytes]] = {}
        """Bundle -> (number, header, body)."""
        self._lines: dict[Demand, deque[tuple[int, int]]] = {}
        """(number, bundle): a bundle that was removed out of turn stays in its line until it is at the head."""
        self._heads: list[tuple[int, Demand]] = []
        """A heap with one entry for each line: the number of its head (or of one removed since)."""
        self._number = 0

    def __len__(self) -> int:
        """Return how many bundles wait."""
        return len(self._waiting)

    def __contains__(self, bundle: int) -> bool:
        """Return whether this bundle waits."""
        return bundle in self._waiting

    def bundles(self) -> tuple[int, ...]:
        """Return the ids of what waits."""
        return tuple(self._waiting)

    def demands(self) -> tuple[Demand, ...]:
        """Return every demand that has a line."""
        return tuple(self._lines)

    def knows(self, demand: Demand) -> bool:
        """Return whether there is a line for this demand."""
        return demand in self._lines

    def obstacle(self, header: BundleHeader) -> str:
        """Return why a bundle cannot be put here now, or ""."""
        if self.size + header.size > limits.QUEUE_BYTES_MAX or self.tasks + header.tasks > limits.QUEUE_TASKS_MAX:
            return "queue full"
        if len(self._lines) >= limits.CLASSES_MAX and header.demand not in self._lines:
            return "too many different demands"
        return ""

    def put(self, header: BundleHeader, body: bytes) -> None:
        """Add a bundle that does not wait yet."""
        bundle = header.bundle
        line = self._lines.get(header.demand)
        number = self._number = self._number + 1
        if line is None:
            line = self._lines[header.demand] = deque()
            heappush(self._heads, (number, header.demand))
        line.append((number, bundle))
        self._waiting[bundle] = number, header, body
        self.tasks += header.tasks
        self.size += header.size

    def take(
        self, fits: Callable[[Demand, float], bool], now: float, tasks_max: int
    ) -> tuple[BundleHeader, bytes] | None:
        """Remove and return the oldest bundle that fits at `now`, if it has at most `tasks_max` tasks.

        A smaller but younger one is not given instead: or a worker that is never quite free would hold back a large bundle
        for ever.
        """
        unfit: list[tuple[int, Demand]] = []
        found = None
        while self._heads:
            demand = self._heads[0][1]
            line = self._lines[demand]
            while line and not self._waits(line[0]):
                line.popleft()
            if not line:
                heappop(self._heads)
                del self._lines[demand]
            elif not fits(demand, now):
                unfit.append(heappop(self._heads))
            else:
                found = self._take_head(line, tasks_max)
                break
        for head in unfit:
            heappush(self._heads, head)
        return found

    def remove(self, bundle: int) -> BundleHeader | None:
        """Forget a bundle out of turn; return its header if it waited."""
        waiting = self._waiting.pop(bundle, None)
        if waiting is None:
            return None
        self.tasks -= waiting[1].tasks
        self.size -= waiting[1].size
        if not self._waiting:
            self.clear()
        return waiting[1]

    def remove_all(self, demand: Demand) -> tuple[int, ...]:
        """Forget a whole line; return its bundles."""
        bundles = tuple(entry[1] for entry in self._lines.get(demand, ()) if self._waits(entry))
        for bundle in bundles:
            self.remove(bundle)
        return bundles

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._lines.clear()
        self._heads.clear()
        self.tasks = self.size = 0

    def check(self) -> None:
        """Assert the rules."""
        for demand, line in self._lines.items():
            assert all(self._waiting[entry[1]][1].demand == demand for entry in line if self._waits(entry))
        lined = [entry[1] for line in self._lines.values() for entry in line if self._waits(entry)]
        assert sorted(lined) == sorted(self._waiting)
        assert self.tasks == sum(header.tasks for _, header, _ in self._waiting.values())
        assert self.size == sum(len(body) for _, _, body in self._waiting.values())
        assert sorted(demand for _, demand in self._heads) == sorted(self._lines)

    def _take_head(self, line: deque[tuple[int, int]], tasks_max: int) -> tuple[BundleHeader, bytes] | None:
        bundle = line[0][1]
        _, header, body = self._waiting[bundle]
        if header.tasks > tasks_max:
            return None
        line.popleft()
        del self._waiting[bundle]
        if line:
            heapreplace(self._heads, (line[0][0], header.demand))
        else:
            heappop(self._heads)
            del self._lines[header.demand]
        self.tasks -= header.tasks
        self.size -= header.size
        return header, body

    def _waits(self, entry: tuple[int, int]) -> bool:
        waiting = self._waiting.get(entry[1])
        return waiting is not None and waiting[0] == entry[0]
