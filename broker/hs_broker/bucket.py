"""A token bucket: how often something may happen."""

from math import inf

from hs_common.values import dataclass


@dataclass(slots=True)
class Bucket:
    """A right to do something so often: `size` times at once, `per_s` times a second for ever."""

    size: float
    per_s: float
    left: float = inf
    """Never more than `size`, however long nothing was taken."""
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Use the right once, if it is there."""
        self.left = min(self.size, self.left + (now - self.at) * self.per_s)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
