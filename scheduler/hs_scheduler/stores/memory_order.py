"""The order of the input, as the store in memory knows it: which of its tasks have ended, until that was told (`-k`)."""

from collections.abc import Iterable

from hs_scheduler.stores.memory_rows import Row
from hs_scheduler.stores.store import Settled


class InputOrder:
    """What became of each task of the input behind those that were told."""

    def __init__(self) -> None:
        self._last_of: dict[int, int] = {}
        """Row of a first attempt -> row of the last, once that ended; minus row of the present one; row of a retry -> 0."""
        self._told_up_to = 0

    def end(self, row: Row) -> None:
        """Note that an attempt has ended, the last one as far as is known."""
        self._last_of[row.origin] = row.task.row

    def end_all(self, rows: Iterable[Row]) -> None:
        """Note it of many."""
        self._last_of.update((row.origin, row.task.row) for row in rows)

    def retry(self, origin: int, number: int) -> None:
        """Note that row `number` is the present attempt of a task, whose first one is row `origin`."""
        self._last_of[number] = 0
        self._last_of[origin] = -number

    def put_back(self, row: Row) -> None:
        """Note that an attempt has not ended after all."""
        number = row.task.row
        self._last_of.pop(number, None)
        if row.origin != number:
            self.retry(row.origin, number)

    def remove(self, number: int) -> None:
        """Note that a row was not added after all."""
        self._last_of.pop(number, None)

    def settled(self, after: int, count: int, last_row: int) -> list[Settled]:
        """Return up to `count` tasks of the input behind this row, of all up to `last_row`; forget those before."""
        for number in range(self._told_up_to + 1, after + 1):
            self._last_of.pop(number, None)
        self._told_up_to = after
        found: list[Settled] = []
        for number in range(after + 1, last_row + 1):
            last = self._last_of.get(number, -number)
            if last:
                found.append(Settled(number, abs(last), last > 0))
            if len(found) == count:
                break
        return found
