"""NEW rows of the store in memory, in the order of dispatch.

    heap ──in order──▶ front (sorted, already looked at)
      ▲                  │ something sorts before its end: back
      └──────────────────┘

Rows that were dispatched meanwhile are dropped when they are met; so leaving costs nothing. An entry may be there twice.
"""

from collections.abc import Callable
from heapq import heappop, heappush

Entry = tuple[int, int, int, int]
"""Group, place of retries, priority downwards, row: smaller goes first."""


class Waiting:
    """A sorted queue of entries of which some may have left.

    Args:
        stays: Whether an entry still waits.

    """

    def __init__(self, stays: Callable[[Entry], bool]) -> None:
        self._stays = stays
        self._heap: list[Entry] = []
        self._front: list[Entry] = []

    def push(self, entry: Entry) -> None:
        """Let a row wait."""
        if self._front and entry < self._front[-1]:
            for known in self._front:
                heappush(self._heap, known)
            self._front.clear()
        heappush(self._heap, entry)

    def first(self, count: int) -> list[int]:
        """Return the first `count` rows that still wait, of the first group alone."""
        stays, heap = self._stays, self._heap
        front = [entry for entry in self._front if stays(entry)]
        while heap and len(front) < count and not (front and front[0][0] < heap[0][0]):
            entry = heappop(heap)
            if stays(entry) and (not front or front[-1] != entry):
                front.append(entry)
        self._front = front
        return [entry[3] for entry in front[:count]]
