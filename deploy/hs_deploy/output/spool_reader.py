"""The spool file of a worker, as hs-cluster reads it: what has come, and what is done with.

    | done with ........ | record | record | done with | record | ...
      one head, then a hole in the file

What was printed is made one record of no row, as large as all that it was, and its bytes are given back to the disk. So a spool
needs as much disk as what still waits, and whoever reads it anew (hs-cluster was killed) finds just that.
"""

import os
from collections.abc import Iterator

from hs_common import limits
from hs_deploy.holes import WORTH_BYTES, Ranges, give_back
from hs_worker.output.spool_file import HEAD_BYTES, Record, pack_head, unpack_head

_READ_BYTES = 256 * limits.KIB

RANGES_MAX = 65_536
"""Stretches between outputs that wait; beyond that, disk is given back at the end only."""


class Spool:
    """One spool file and how far it was looked at."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._at = 0
        self._done = Ranges(RANGES_MAX)
        self._fresh: dict[int, int] = {}
        """Begin of a range -> bytes of it that are not given back."""
        self._changed: set[int] = set()
        """Begins of ranges that grew since `settle`."""
        self._able = True

    def scan(self) -> Iterator[tuple[int, Record]]:
        """Yield (offset, head) of the records of tasks that have come whole since the last time."""
        size = os.fstat(self.fd).st_size
        buffer, begin = b"", self._at
        while self._at + HEAD_BYTES <= size:
            if not begin <= self._at <= begin + len(buffer) - HEAD_BYTES:
                buffer, begin = os.pread(self.fd, _READ_BYTES, self._at), self._at
                if len(buffer) < HEAD_BYTES:
                    return
            head = unpack_head(buffer, self._at - begin)
            end = self._at + HEAD_BYTES + head.out + head.err
            if end > size:
                return
            at, self._at = self._at, end
            if head.row:
                yield at, head

    def head(self, at: int) -> Record:
        """Return the head of the record that stands there."""
        return unpack_head(os.pread(self.fd, HEAD_BYTES, at), 0)

    def parts(self, at: int) -> Iterator[tuple[int, Record]]:
        """Yield (offset, head) of the record that stands there and of those before it of the same task, the last one first."""
        earlier = at + 1
        while earlier:
            head = self.head(earlier - 1)
            yield earlier - 1, head
            earlier = head.earlier

    def drop(self, at: int, size: int) -> None:
        """Note that a record, `size` bytes with its head, is done with; `settle` writes that down."""
        found = self._done.add(at, at + size)
        if found is not None:
            begin = found[0]
            # The ranges before and behind it are one with it now.
            before = self._fresh.pop(begin, 0) if begin < at else 0
            self._fresh[begin] = before + size + self._fresh.pop(at + size, 0)
            self._changed.add(begin)

    def settle(self, *, remember: bool) -> None:
        """Give back what is done with; `remember`: write down even what is not worth giving back."""
        for begin in self._changed:
            end = self._done.end_of(begin)
            if end is None:
                continue  # one with the range before it by now
            worth = self._able and self._fresh[begin] >= WORTH_BYTES
            if worth or remember:
                # The head first: a hole without it would be the end of every later reading.
                os.pwrite(self.fd, pack_head(Record(0, 0, end - begin - HEAD_BYTES, 0)), begin)
            if worth:
                self._able = give_back(self.fd, begin + HEAD_BYTES, end)
                self._fresh[begin] = 0
        self._changed.clear()
