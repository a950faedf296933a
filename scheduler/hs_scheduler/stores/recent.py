"""How long the last tasks took, for whoever scales the cluster; nobody else pays for it."""

from collections import deque
from collections.abc import Sequence

from hs_scheduler.stores.store import Applied
from hs_scheduler.tasks.state import State

TASKS_MAX = 1_000
"""The last ones that finished count."""


class Recent:
    """Durations of the active group."""

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=TASKS_MAX)
        self._group = 0

    def note(self, applied: Sequence[Applied]) -> None:
        """Take note of what was recorded."""
        self._durations.extend(item.outcome.duration for item in applied[-TASKS_MAX:] if item.state == State.DONE)

    def average_s(self, group: int) -> float | None:
        """Return the mean; None: none of the group that is active now has finished."""
        if group != self._group:
            self._group = group
            self._durations.clear()
        return sum(self._durations) / len(self._durations) if self._durations else None
