"""What a store answers to a Result of plain successes that all applied: no object for each of them, unless somebody asks."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import overload

from hs_common.outcomes import Successes
from hs_common.tuples import table
from hs_scheduler.stores.store import Applied
from hs_scheduler.tasks.state import State


class Succeeded(Sequence[Applied]):
    """Each of these outcomes ended its row, which is DONE now, neither failed nor tried again."""

    __slots__ = ("outcomes",)

    def __init__(self, outcomes: Successes) -> None:
        self.outcomes = outcomes

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Applied]:
        """Yield them one by one."""
        no = repeat(False)  # noqa: FBT003 - a column
        return iter(table(Applied, self.outcomes.rows, self.outcomes, repeat(State.DONE), no, no))

    @overload
    def __getitem__(self, at: int) -> Applied: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Applied]: ...

    def __getitem__(self, at: int | slice) -> Applied | Sequence[Applied]:
        """Return one of them, or some."""
        return list(self)[at]
