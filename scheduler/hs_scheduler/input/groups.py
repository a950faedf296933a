"""Which group may be handed out: one after the other, and none after a failed one.

    group g waits ──▶ something of a lower group is out? ──▶ the input may still show a lower one? ──▶ a lower one failed?
                        yes: waits for it                      yes: waits for the input                yes: held
                                                                                                       no: g may go

A lower group that turns up later goes next: it waits for nothing that is out of higher ones. Whether a lower group failed is
looked up when g becomes the one to go, not at each claim: then all lower groups are over, retries included.
"""

from collections.abc import Callable

ALL_SHOWN = 2**31
"""Above every group: an input that is continued has shown what is in the store."""

NONE_SHOWN = -ALL_SHOWN


class Groups:
    """The gate before the groups.

    Args:
        shown: The highest group that the input has shown.
        failed_group: Returns the lowest group with a task that finally failed or is on hold, or None.
        holding: Returns how many such tasks there are.

    """

    def __init__(self, *, shown: int, failed_group: Callable[[], int | None], holding: Callable[[], int]) -> None:
        self._shown = shown
        self._failed_group = failed_group
        self._holding = holding
        self._looked: tuple[int, int] | None = None
        self.held_by: int | None = None
        """The group whose failed tasks, or tasks on hold, hold all that wait; or None."""
        self.awaits_input = False
        """Whether what waits is held only because the input may still show a lower group."""

    def show(self, group: int) -> None:
        """Note that the input has shown this group."""
        self._shown = max(self._shown, group)

    @property
    def several(self) -> bool:
        """Whether the input may have shown any but group 0."""
        return self._shown not in (0, NONE_SHOWN)

    def may_go(self, group: int, lowest_out: int | None, *, input_ended: bool) -> bool:
        """Whether tasks of this group, the lowest that waits, may be handed out; lowest_out: of what is out, or None."""
        self.awaits_input = False
        if (lowest_out is not None and lowest_out < group) or (group > self._shown and not input_ended):
            # Until it is over, a lower group may still fail.
            self.held_by = self._looked = None
        if lowest_out is not None and lowest_out < group:
            return False
        if group > self._shown and not input_ended:
            self.awaits_input = True
            return False
        self._look(group)
        return self.held_by is None

    def _look(self, group: int) -> None:
        """Find out if a lower group failed: once for each group, and while it is held again when failures come or go."""
        looked = (group, self._holding() if self.held_by is not None else -1)
        if looked == self._looked:
            return
        failed = self._failed_group() if self._holding() else None
        self.held_by = failed if failed is not None and failed < group else None
        self._looked = (group, self._holding() if self.held_by is not None else -1)
