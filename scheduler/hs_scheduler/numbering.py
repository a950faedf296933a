"""Which tasks share a bundle, and the number of each bundle: 24 bits of epoch, 40 bits of a count. No IO."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from hs_common import limits
from hs_common.messages import Demand
from hs_scheduler.conversation import Identity

_COUNT_BITS = 40


class Numbering:
    """Gives bundles numbers that no other bundle has which anybody may still remember.

    Args:
        identity: Who gives them.

    """

    def __init__(self, identity: Identity) -> None:
        self._epoch = identity.epoch << _COUNT_BITS
        # A worker remembers the bundles of the scheduler before this one, which may have had another store, at the same epoch.
        # 38 of 40 bits leave three quarters of the numbers, and more, to count on.
        self._count = int.from_bytes(identity.scheduler[: _COUNT_BITS // 8]) >> 2

    def place(self, tasks: Sequence[tuple[bytes, Demand]], sizes: Iterable[int], tasks_max: int) -> list[int]:
        """Return the number of a bundle for each task: neighbours alike share one.

        Args:
            tasks: Folder and demand of each.
            sizes: Of each in a message, bytes: a bundle has at most `limits.PARCEL_BYTES_MAX` unless it is one task.
            tasks_max: Most in one bundle.

        """
        if tasks_max == 1:  # each its own, whatever it is
            return list(self._next(len(tasks)))
        numbers: list[int] = []
        bytes_of = list(sizes)
        # Most tasks are so short that no bundle can have too many bytes, and each is counted here in some nanoseconds.
        short = tasks_max * max(bytes_of, default=0) <= limits.PARCEL_BYTES_MAX
        for _, alike in groupby(tasks):
            count = len(list(alike))
            if short:
                first = self._next(-(-count // tasks_max)).start
                numbers += [first + at // tasks_max for at in range(count)]
            else:
                parts = _parted(bytes_of[len(numbers) : len(numbers) + count], tasks_max)
                first = self._next(parts[-1] + 1).start
                numbers += [first + part for part in parts]
        return numbers

    def _next(self, count: int) -> range:
        first = self._epoch | self._count + 1
        self._count += count
        return range(first, first + count)


def _parted(sizes: Sequence[int], tasks_max: int) -> list[int]:
    """Return for each of some tasks in which of their bundles it goes, the first is 0."""
    parts = []
    part = count = room = 0
    for size in sizes:
        if count == tasks_max or (count and size > room):
            part, count = part + 1, 0
        if not count:
            room = limits.PARCEL_BYTES_MAX
        count, room = count + 1, room - size
        parts.append(part)
    return parts
