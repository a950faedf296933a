"""Giving the disk back what a file holds and nobody will read any more, while the file is still being written."""

import ctypes

from hs_common import limits

WORTH_BYTES = limits.MIB
"""Less than this is not worth a call."""

_PUNCH_HOLE_KEEP_SIZE = 0x03
"""Source: linux/falloc.h, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE."""


def give_back(fd: int, begin: int, end: int) -> bool:
    """Make a hole of these bytes: they read as zeros from now on. Return whether the file system can do that."""
    if end <= begin:
        return True
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, begin, end - begin) == 0)


class Consumed:
    """The start of a file, up to where it was read for good."""

    def __init__(self, fd: int) -> None:
        """Take a descriptor that may write."""
        self._fd = fd
        self._given = 0
        self._able = True

    def up_to(self, offset: int) -> None:
        """Note that nothing before this is read any more."""
        if self._able and offset - self._given >= WORTH_BYTES:
            self._able = give_back(self._fd, 0, offset)
            self._given = offset


class Ranges:
    """Ranges of whole bytes that have been dealt with; those that touch are one. No IO.

    Args:
        count_max: Ranges apart from each other; what would be one more is not remembered.

    """

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._end_of: dict[int, int] = {}
        self._begin_of: dict[int, int] = {}

    def add(self, begin: int, end: int) -> tuple[int, int] | None:
        """Add [begin, end), which is apart from all others; return the whole range that it is now part of."""
        if end in self._end_of:
            end = self._end_of.pop(end)
        elif begin not in self._begin_of and len(self._end_of) >= self._count_max:
            return None
        if begin in self._begin_of:
            begin = self._begin_of.pop(begin)
        self._end_of[begin] = end
        self._begin_of[end] = begin
        return begin, end

    def end_of(self, begin: int) -> int | None:
        """Return where the range ends that begins there, or None: none does."""
        return self._end_of.get(begin)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._end_of)
