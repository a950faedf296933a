"""The slots of a worker and what those in use take: cores, memory, room in the map. No IO.

Rules, checked by `check`:
1. A slot is free, occupied by one run, or lost.
2. What was recorded and what is set aside for running tasks fits the map.
"""

from collections.abc import Iterator
from math import inf

from hs_common.tasks import Detail
from hs_worker.settings import Rules
from hs_worker.tasks.run import Run


class Slots:
    """Who is where."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._runs: list[Run | None] = [None] * rules.slots
        # The lowest number on top: TASK_SLOT stays small while little runs.
        self._free = list(range(rules.slots - 1, -1, -1))
        self._lost = 0
        self._cores = 0
        self._memory = 0
        self.area = 0
        """Bytes of the map that are recorded, or set aside for what runs."""
        self.due_at = inf
        """When the first limit ends or signal is due; may be early, for a run that has ended since."""

    @property
    def count(self) -> int:
        """Slots that still exist."""
        return self._rules.slots - self._lost

    @property
    def free(self) -> int:
        """Slots without a run."""
        return len(self._free)

    @property
    def next(self) -> int:
        """The slot that `occupy` takes; there must be a free one."""
        return self._free[-1]

    @property
    def running(self) -> int:
        """Slots with one."""
        return self._rules.slots - self._lost - len(self._free)

    def __getitem__(self, slot: int) -> Run | None:
        """Return what runs in a slot."""
        return self._runs[slot]

    def runs(self) -> Iterator[tuple[int, Run]]:
        """Yield (slot, run)."""
        for slot, run in enumerate(self._runs):
            if run is not None:
                yield slot, run

    def has_space(self, weight: int) -> bool:
        """Whether the map takes the outcome of one more task."""
        return self.area + weight <= self._rules.area_bytes

    def has_room(self, detail: Detail) -> bool:
        """Whether a task fits beside what runs. One that asks for more than there is runs alone: the broker judges that."""
        if not self.running:
            return True
        memory = self._rules.memory
        return self._cores + detail.cores <= self._rules.cores and (
            not memory or self._memory + detail.memory <= memory
        )

    def occupy(self, run: Run) -> int:
        """Put a run in a free slot and return which."""
        slot = self._free.pop()
        self._runs[slot] = run
        self.area += run.weight
        if run.due_at < self.due_at:  # noqa: PLR1730 - once per task: min() is a call
            self.due_at = run.due_at
        detail = run.task.detail
        if detail is not None:
            self._cores += detail.cores
            self._memory += detail.memory
        return slot

    def reweigh(self, run: Run, weight: int) -> bool:
        """Set aside so many bytes for a run instead of what was; return False where there is no room for that."""
        area = self.area + weight - run.weight
        if area > self._rules.area_bytes:
            return False
        self.area = area
        run.weight = weight
        return True

    def vacate(self, slot: int, run: Run, *, lost: bool = False) -> None:
        """Take the run out of its slot; `lost`: nothing else will ever run there."""
        self._runs[slot] = None
        if lost:
            self._lost += 1
        else:
            self._free.append(slot)
        self.area -= run.weight
        detail = run.task.detail
        if detail is not None:
            self._cores -= detail.cores
            self._memory -= detail.memory

    def due(self, now: float) -> list[tuple[int, Run]]:
        """Return the runs whose time has come; `rearm` afterwards."""
        return [(slot, run) for slot, run in self.runs() if run.due_at <= now]

    def rearm(self) -> None:
        """Find out when the next is due."""
        self.due_at = min((run.due_at for _, run in self.runs()), default=inf)

    def check(self) -> None:
        """Assert the two rules."""
        occupied = {slot for slot, _ in self.runs()}
        assert len(self._free) == len(set(self._free))
        assert not occupied & set(self._free)
        assert len(occupied) + len(self._free) + self._lost == self._rules.slots
        assert sum(run.weight for _, run in self.runs()) <= self.area <= self._rules.area_bytes
        assert self._cores == sum(run.task.detail.cores for _, run in self.runs() if run.task.detail)
        assert self._memory == sum(run.task.detail.memory for _, run in self.runs() if run.task.detail)
        assert all(run.due_at >= self.due_at for _, run in self.runs())
