"""Tasks that fit no worker which is here: kept until another one comes, and not passed over in silence. No IO.

refused, fits nobody ──▶ parked ──another worker comes──▶ submitted again; whose body is not kept ──▶ back to the store
                           └── said at once, and while it lasts after a minute, then seldom and seldomer
"""

from collections.abc import Sequence

from hs_scheduler.events import ClaimedBundle, Tell
from hs_scheduler.out import Out
from hs_scheduler.reminder import Reminder

PARKED_TASKS_MAX = 10_000
"""Beyond it nothing more is claimed."""

WAITING = "no worker has the cores, memory or time for them; they wait for a larger one, or for hs task update --cancel"
"""What is said of them."""


class Parking:
    """Which bundles they are knows `out`. Instants are monotonic seconds.

    Args:
        out: All that is handed out.

    """

    def __init__(self, out: Out) -> None:
        self._out = out
        self._reminder = Reminder()

    @property
    def full(self) -> bool:
        """Whether nothing more is to be claimed."""
        return self._out.parked_tasks >= PARKED_TASKS_MAX

    def park(self, bundles: Sequence[int], now: float) -> list[Tell]:
        """Keep these; return what is to be said. Of those that come soon after others the reminder tells."""
        if not bundles:
            return []
        anew = not self._out.parked_tasks
        self._out.park(bundles)
        return [self._told()] if self._reminder.begin(now, anew=anew) else []

    def clear(self) -> tuple[list[ClaimedBundle], list[int]]:
        """Keep none any more; return those that can be submitted again, and those of which only the store has the tasks."""
        again, bare = [], []
        for bundle in self._out.unpark():
            out = self._out.bundles[bundle]
            if out.body:
                again.append(ClaimedBundle(bundle, list(out.rows.items()), out.demand, out.body, out.group))
            else:
                bare.append(bundle)
        return again, bare

    def remind(self, now: float) -> list[Tell]:
        """Return what is to be said again, if its time has come."""
        return [self._told()] if self._reminder.due(now, still=bool(self._out.parked_tasks)) else []

    def deadline(self) -> float:
        """Return when to call `remind` next, or inf."""
        return self._reminder.at

    def _told(self) -> Tell:
        return Tell("tasks.waiting", WAITING, self._out.parked_tasks)
