"""How a worker takes less when its host cannot make processes, and more again when it can. No IO.

fault: as many slots as run at this moment, none started for 0.1 s; the next fault doubles the pause (10 s at most)
each pause without a fault: twice as many slots, until all are back
"""

from math import inf

_PAUSE_MIN_S = 0.1
_PAUSE_MAX_S = 10.0


class Rest:
    """The slots in use and the pause of one worker."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.usable = slots
        """Slots that may be occupied now."""
        self.until = -inf
        """Nothing is started before this instant."""
        self._pause_s = 0.0

    def fault(self, now: float, running: int) -> None:
        """Take note that a process could not be made while `running` others were."""
        if now >= self.until:  # several spawns of one burst fail together: that is one fault
            self._pause_s = min(_PAUSE_MAX_S, max(_PAUSE_MIN_S, 2 * self._pause_s))
        self.usable = max(1, min(self.usable, running))
        self.until = now + self._pause_s

    def recover(self, now: float) -> bool:
        """Give back slots if the last fault is long enough ago; return whether it did."""
        if not self._pause_s or now < self.until + self._pause_s:
            return False
        self.usable = min(self._slots, 2 * self.usable)
        self.until = now
        if self.usable == self._slots:
            self._pause_s = 0.0
        return True

    def deadline(self) -> float:
        """Return when something changes, or inf."""
        return self.until + self._pause_s if self._pause_s else inf

    def lose_slot(self) -> None:
        """One slot exists no more."""
        self._slots -= 1
        self.usable = max(0, min(self.usable, self._slots))
