"""How much work a worker asks for, and when it is worth saying. No IO."""

from hs_common import limits
from hs_worker.tasks.holding import Holding

_OFFER_S = 0.01
"""Between looks at the credit."""
_SHORT = 10
"""Tasks are short when a slot can take more than so many at a time."""


class Credit:
    """What the broker knows that we can take.

    Args:
        holding: What we have.

    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self.look_at = float("-inf")
        """When to look whether it changed."""
        self.told = (holding.slots.count, 0)
        """Slots and credit as the broker knows them."""

    def tell(self, now: float, *, draining: bool) -> tuple[int, int]:
        """Return slots and credit, which are being told now."""
        self.told = (self._holding.slots.count, 0 if draining else self._tasks(now))
        return self.told

    def changed(self, now: float, *, draining: bool) -> bool:
        """Look whether the credit differs by more than a fifth from what was told, or by half while tasks are short.

        Short ones vary much, nobody waits long behind them, and each word of ours goes on to the scheduler.
        """
        self.look_at = now + _OFFER_S
        slots, credit = self._holding.slots.count, 0 if draining else self._tasks(now)
        told_slots, told = self.told
        parts = 2 if min(told, credit) > _SHORT * slots else 5
        return slots != told_slots or (credit != told and (not credit or parts * abs(credit - told) > told))

    def _tasks(self, now: float) -> int:
        holding = self._holding
        usable = holding.rest.usable
        whole = usable == holding.slots.count
        # What waits for cores or memory must not keep out the smaller ones that could pass it.
        blocked = min(usable, holding.passing.blocked)
        return min(limits.CREDIT_MAX, usable + blocked + (holding.prefetch.tasks(now) if whole else usable))
