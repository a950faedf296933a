"""How a worker takes less when its host cannot make processes, or the worker before it died, and more again. No IO.

fault: as many slots as run at this moment, none started for 0.1 s; the next fault doubles the pause (10 s at most)
doubt: one slot; one of the tasks that ran when the worker before this one died may have killed it, and all of them come first
    again. Side by side, each death of a worker would count for all of them: so they go one after the other
each pause without a fault: twice as many slots, until all are back; after a doubt also when so many tasks have ended
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
        self._fault_s = 0.0
        """How long the pause of the last fault was."""
        self.doubted = 0
        """So many tasks more have to end before nobody is in doubt."""

    def doubt(self, tasks: int, now: float) -> None:
        """Take note that so many ran when the worker before this one died."""
        self.usable = min(1, self._slots)
        self.doubted, self.until, self._pause_s = tasks, now, _PAUSE_MAX_S

    def acquit(self) -> None:
        """Take note that a task has ended, and this worker lives."""
        self.doubted -= 1
        if not self.doubted:
            self.usable, self._pause_s = self._slots, 0.0

    def fault(self, now: float, running: int) -> bool:
        """Take note that a process could not be made while `running` others were; return whether that begins a pause."""
        begins = now >= self.until  # several spawns of one burst fail together: that is one fault
        if begins:
            # So soon after the last one, it is the same: with one or two slots, all are back before the next can be seen.
            same = now < self.until + 2 * self._fault_s
            self._pause_s = self._fault_s = min(_PAUSE_MAX_S, 2 * self._fault_s) if same else _PAUSE_MIN_S
        self.doubted = 0  # the host gives the pace now
        self.usable = max(1, min(self.usable, running))
        self.until = now + self._pause_s
        return begins

    def recover(self, now: float) -> bool:
        """Give back slots if the last fault is long enough ago; return whether it did."""
        if not self._pause_s or now < self.until + self._pause_s:
            return False
        self.usable = min(self._slots, 2 * self.usable)
        self.until = now
        if self.usable == self._slots:
            self.doubted, self._pause_s = 0, 0.0
        return True

    def deadline(self) -> float:
        """Return when something changes, or inf."""
        return self.until + self._pause_s if self._pause_s else inf

    def lose_slot(self) -> None:
        """One slot exists no more."""
        self._slots -= 1
        self.usable = max(0, min(self.usable, self._slots))
