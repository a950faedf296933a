"""When Results are sent: at once if little is left to start, else when they have company or have waited long enough. No IO."""

from math import inf

_WAIT_S = 0.05
"""Results wait at most so long for company."""
_GAP_S = 0.005
"""Between Results that are sent because little is left to start."""


class Pace:
    """Of one worker.

    Args:
        bundlewait_s: Results are held back no longer than this.

    """

    def __init__(self, bundlewait_s: float) -> None:
        self._wait_s = min(bundlewait_s, _WAIT_S)
        self.due_at = inf
        """When what is new is sent at the latest; inf: there is nothing new."""
        self._sent_at = -inf

    def wait(self, now: float) -> None:
        """Note that something is new."""
        if self.due_at == inf:
            self.due_at = now + self._wait_s

    def due(self, now: float, waiting: int, prefetched: int) -> bool:
        """Whether to send now, with so many tasks waiting here and so many that the broker may give beyond one per slot."""
        few = 2 * waiting <= prefetched and now >= self._sent_at + _GAP_S
        return not waiting or few or now >= self.due_at

    def send(self, now: float) -> None:
        """Note that all that is new is being sent."""
        self.due_at = inf
        self._sent_at = now
