"""How fast tasks end, and when all will have: from a look at their number now and then."""

from collections import deque

WINDOW_S = 60.0
"""What ended within so long counts."""

STEP_S = 1.0
"""Between two looks that are kept."""


class Rate:
    """The number of ended tasks over time."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=int(WINDOW_S / STEP_S) + 1)

    def note(self, now: float, ended: int) -> None:
        """Take note of how many have ended by now (monotonic seconds). May be called as often as one likes."""
        if not self._seen or now - self._seen[-1][0] >= STEP_S:
            self._seen.append((now, ended))

    def per_s(self, now: float, ended: int) -> float:
        """Return tasks per second over the last minute, or since the first look."""
        recent = [(at, count) for at, count in self._seen if now - at <= WINDOW_S]
        if not recent or now - recent[0][0] <= 0:
            return 0.0
        return max(0.0, (ended - recent[0][1]) / (now - recent[0][0]))
