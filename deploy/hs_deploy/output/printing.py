"""Prints the outputs of tasks that their worker spooled: in the order of the input (-k), or each as a whole (--group-output).

    spool files of the workers ──▶ index: where the last record of each row is (a sparse file, so memory stays small)
    order file of the scheduler: (row of the input, row of its last attempt) ──▶ next row ──▶ parts ──▶ stdout, stderr

With --group-output the records are printed as they come. What was printed is given back to the disk, and written down: how far
the order was printed in a file of its own, else in the spools. So the next hs-cluster of a run that was killed goes on there.
Nothing here waits: an outlet that is full is waited for by the caller.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable
from struct import Struct

from hs_deploy.holes import Consumed
from hs_deploy.output.relay import Outlet
from hs_deploy.output.spool_reader import Spool
from hs_deploy.runs.folders import ORDER_NAME, PRINTED_NAME
from hs_scheduler.ordering import RECORD_BYTES as ORDER_BYTES
from hs_scheduler.ordering import unpack_order
from hs_worker.output.spool_file import HEAD_BYTES, SUFFIX, Record

_PLACE = Struct("<Q")
_NUMBER_SHIFT = 48
"""A place is (number of the spool + 1) << this | offset."""
_OFFSET_MASK = (1 << _NUMBER_SHIFT) - 1
_CHUNK_BYTES = 64 * 1024
_ORDERS_MAX = 4096
"""Taken from the order file at once."""


Sink = tuple[Outlet, Callable[[bytes], None]]


class Index:
    """Row -> place, in a file without a name."""

    def __init__(self, folder: str) -> None:
        path = os.path.join(folder, f".index.{os.getpid()}")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)

    def put(self, row: int, place: int) -> None:
        """Note where the latest output of a row is."""
        os.pwrite(self._fd, _PLACE.pack(place), row * _PLACE.size)

    def get(self, row: int) -> int:
        """Return it; 0: there is none."""
        found = os.pread(self._fd, _PLACE.size, row * _PLACE.size)
        return int(_PLACE.unpack(found)[0]) if len(found) == _PLACE.size else 0


class Printer:
    """What of the spools was printed, and what comes next.

    Args:
        folder: Where the spools and the order are.
        out: For the tasks' stdout: the outlet, and how to write there.
        err: Likewise for their stderr.
        in_order: Whether in the order of the input.

    """

    def __init__(self, folder: str, out: Sink, err: Sink, *, in_order: bool) -> None:
        self.outlets = (out[0], err[0])
        self._write = (out[1], err[1])
        self._folder = folder
        self._spools: dict[str, Spool] = {}
        self._by_number: list[Spool] = []
        self._index = Index(folder) if in_order else None
        self._order_fd = -1
        self._order: Consumed | None = None
        self._printed_fd = os.open(os.path.join(folder, PRINTED_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found = os.pread(self._printed_fd, _PLACE.size, 0)
        self._printed = self._order_at = int(_PLACE.unpack(found)[0]) if len(found) == _PLACE.size else 0
        self._next: deque[int] = deque()
        """Rows to be printed."""
        self._places: deque[int] = deque()
        """Outputs to be printed."""
        self._parts: deque[tuple[int, int, int, int]] = deque()
        """Of the output that is being printed: (spool, offset, bytes, stream)."""
        self._written: list[tuple[Spool, int, int]] = []
        """Records that an outlet has got: (spool, offset, size)."""
        self._sure = (self._printed, 0)
        """How far the order, and how many of `_written`, were printed when last nothing was on its way."""

    @property
    def full(self) -> bool:
        """Whether an outlet has to be waited for."""
        return any(outlet.full for outlet in self.outlets)

    def pump(self) -> bool:
        """Print what can be printed, a bounded piece of it; return whether to call again at once."""
        more = self._pump()
        self._look_back()
        self._settle()
        return more

    def _look_back(self) -> None:
        """Note what is printed: what an outlet still holds, or could not write, is not."""
        if not self._parts and not any(outlet.waits or outlet.failure for outlet in self.outlets):
            self._sure = (self._order_at - ORDER_BYTES * len(self._next), len(self._written))

    def _settle(self) -> None:
        """Write down what was printed, and give it back."""
        printed, records = self._sure
        if self._order is not None and printed != self._printed:
            os.pwrite(self._printed_fd, _PLACE.pack(printed), 0)
            self._printed = printed
            self._order.up_to(printed)
        if records:
            for spool, at, size in self._written[:records]:
                spool.drop(at, size)
            del self._written[:records]
            self._sure = (printed, 0)
            for spool in self._by_number:
                spool.settle(remember=self._index is None)

    def _pump(self) -> bool:
        for _ in range(_ORDERS_MAX):
            self._look_back()
            if self.full:
                return False
            if self._parts:
                self._print_part()
            elif self._places:
                self._open(self._places.popleft())
            elif self._next:
                assert self._index is not None
                if place := self._index.get(self._next.popleft()):
                    self._open(place)
            elif not self._look():
                return False
        return True

    def _look(self) -> bool:
        """Look what has come; return whether anything has."""
        if self._index is not None:
            # The order first: what it names is in the spools by now.
            self._read_order()
            if not self._next:
                return False
        self._find_spools()
        for number, spool in enumerate(self._by_number, 1):
            for offset, head in spool.scan():
                place = number << _NUMBER_SHIFT | offset
                if self._index is not None:
                    self._put(self._index, head, place)
                else:
                    self._places.append(place)
                    if len(self._places) >= _ORDERS_MAX:
                        return True
        return bool(self._next or self._places)

    def _put(self, index: Index, head: Record, place: int) -> None:
        """Note where the output of a row is, unless that of a later dispatch was found before: spools are read in any order."""
        before = index.get(head.row)
        if not before or self._spool_of(before).head(before & _OFFSET_MASK).dispatch <= head.dispatch:
            index.put(head.row, place)

    def _spool_of(self, place: int) -> Spool:
        return self._by_number[(place >> _NUMBER_SHIFT) - 1]

    def _read_order(self) -> None:
        if self._order_fd < 0:
            try:
                self._order_fd = os.open(os.path.join(self._folder, ORDER_NAME), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return
            self._order = Consumed(self._order_fd)
        found = os.pread(self._order_fd, ORDER_BYTES * _ORDERS_MAX, self._order_at)
        whole = len(found) - len(found) % ORDER_BYTES
        self._order_at += whole
        self._next.extend(last for _, last in unpack_order(found[:whole]))

    def _find_spools(self) -> None:
        for name in os.listdir(self._folder):
            if name.endswith(SUFFIX) and name not in self._spools:
                self._spools[name] = spool = Spool(os.path.join(self._folder, name))
                self._by_number.append(spool)

    def _open(self, place: int) -> None:
        """Find all parts of an output, by going back from its last record."""
        spool = self._spool_of(place)
        for at, head in spool.parts(place & _OFFSET_MASK):
            begin = at + HEAD_BYTES
            if head.err:
                self._parts.appendleft((spool.fd, begin + head.out, head.err, 1))
            if head.out:
                self._parts.appendleft((spool.fd, begin, head.out, 0))
            self._written.append((spool, at, HEAD_BYTES + head.out + head.err))

    def _print_part(self) -> None:
        fd, at, left, stream = self._parts.popleft()
        chunk = os.pread(fd, min(left, _CHUNK_BYTES), at)
        self._write[stream](chunk)
        if chunk and len(chunk) < left:
            self._parts.appendleft((fd, at + len(chunk), left - len(chunk), stream))

    @property
    def unprinted(self) -> bool:
        """Whether some of what was looked at is not printed: an outlet does not take it, or cannot."""
        return bool(self._parts or self._places or self._next) or any(
            outlet.waits or outlet.failure for outlet in self.outlets
        )

    def close(self, *, keep: bool, ordered: bool) -> bool:
        """Remove the spools; return whether they were kept.

        Args:
            keep: But not if something in them is unprinted: another printer may go on there.
            ordered: Whether the order names all that has ended. A scheduler that was left alone, or killed, tells no more of it.

        """
        if keep and (self.unprinted or (self._index is not None and not ordered)):
            return True
        names = set(os.listdir(self._folder)) - {PRINTED_NAME}
        for name in (*names, PRINTED_NAME):  # the lock last: until then nobody else begins
            os.unlink(os.path.join(self._folder, name))
        with contextlib.suppress(OSError):  # somebody else has begun
            os.rmdir(self._folder)
        return False
