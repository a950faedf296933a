"""How many tasks to hold beyond those that run: as many as will finish in about `limits.PREFETCH_S`.

Measured by how long tasks take, not by how many finish: so a worker that had nothing to do is not taken for a slow one.
A new kind of task is prefetched one per slot, until the first has finished: it may be long, and nobody should wait behind it.
"""

from math import ceil

from hs_common import limits
from hs_common.tasks import Task

_WEIGHT = 0.1
"""Of the newest duration in the running mean: some twenty tasks decide."""
_SLOW_S = 1.0
"""When none has finished for so long, what we knew of this kind is in doubt."""
_DURATION_MIN_S = 1e-6
"""No task is faster; keeps the rate finite."""

Kind = tuple[bytes, tuple[str, ...]]
"""Template and names of the tags. Not their values: those may number the tasks."""
_PLAIN: Kind = (b"", ())


def kind_of(task: Task) -> Kind:
    """Return which kind of task this is."""
    if task.detail is None:
        return _PLAIN
    return task.detail.template, tuple(key for key, _ in task.detail.tags)


class Prefetch:
    """The measure of one worker."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._kind: Kind | None = None
        self._mean_s = 0.0
        """0: nothing of this kind has finished yet."""
        self._finished_at = 0.0

    def see(self, task: Task) -> None:
        """Note the kind of a task that arrived."""
        kind = _PLAIN if task[5] is None else kind_of(task)
        if kind != self._kind:
            self._kind = kind
            self._mean_s = 0.0

    def finish(self, duration_s: float, now: float) -> None:
        """Note that a task finished."""
        mean_s = self._mean_s
        self._mean_s = mean_s + (duration_s - mean_s) * _WEIGHT if mean_s else max(duration_s, _DURATION_MIN_S)
        self._finished_at = now

    def tasks(self, now: float) -> int:
        """Return how many to hold beyond those that run."""
        if not self._mean_s:
            return self._slots
        per_s = self._slots / max(self._mean_s, _DURATION_MIN_S)
        # Below a tenth of a task nothing is held back for a slot: the way to the scheduler takes less than 1 % of such a task.
        wanted = min(limits.CREDIT_MAX, ceil(per_s * limits.PREFETCH_S - 0.1))
        if now - self._finished_at > _SLOW_S:
            return min(wanted, self._slots)
        return wanted
