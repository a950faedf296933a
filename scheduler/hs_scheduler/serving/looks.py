"""Who looks into a database that only its scheduler can open, and when it is his turn.

    search ──▶ [in line] ──his turn──▶ one page ──Reply──▶ printed ──▶ search, for the next one ──▶ [in line]

So of each reader there is one page at most, however slow he is. A turn lasts `TURN_S`; while the scheduler has work of its own it
rests after each turn, for `REST` times as long as that took: readers, however many, get a quarter of its time then.
"""

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from hs_common.messages import Request

if TYPE_CHECKING:
    from hs_scheduler.stores.pages import Look

TURN_S = 0.005
"""A page that takes longer ends after the step that it is at."""

REST = 3.0

QUIET_S = 0.1
"""A scheduler that has written nothing for so long has no work of its own: there is no rest then."""


class Looks:
    """Questions in line. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._line: deque[tuple[Request, Look]] = deque()
        self._worked_at = self._rests_until = 0.0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._line)

    def add(self, request: Request, look: "Look") -> None:
        """Let one wait; how many there can be is the broker's to say (`limits.REQUESTS_MAX`)."""
        self._line.append((request, look))

    def forget(self, client: bytes) -> None:
        """Forget what this client asked."""
        self._line = deque(item for item in self._line if item[0].client != client)

    def forget_all(self) -> None:
        """Forget what anybody asked."""
        self._line.clear()

    def worked(self, now: float) -> None:
        """Take note that the scheduler has work of its own."""
        self._worked_at = now

    def due_at(self) -> float:
        """Return when the next turn may begin; inf: nobody waits."""
        return min(self._rests_until, self._worked_at + QUIET_S) if self._line else inf

    def take(self) -> tuple[Request, "Look"]:
        """Return who has waited longest; he waits no more."""
        return self._line.popleft()

    def took(self, since: float, now: float) -> None:
        """Take note of how long a turn lasted."""
        self._rests_until = now + REST * (now - since)
