"""`-k`: tells in which order outputs are to be printed, as far as that is settled, in a file that hs-cluster reads.

    | row of the input u64 | row of its last attempt u64 | ...   in the order of the input, without gaps

A task is settled when its last attempt has ended: then, and when all before it are settled, its output may be printed. The store
knows; so the file only has to say how far we were, and a restarted scheduler goes on behind it. What ends when the order has
passed it (retried or reverted by hand, or left out when a run ended early) is told next, beside the row that the order is at.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from struct import Struct
from typing import Protocol

from hs_common.errors import StoppedError
from hs_scheduler.stores.store import Settled

_RECORD = Struct("<QQ")
RECORD_BYTES = _RECORD.size
_ROWS_MIN = 16
_ROWS_MAX = 1000
"""Looked at in one go."""


class Tasks(Protocol):
    """What is asked of a store."""

    def settled(self, after: int, count: int) -> list[Settled]:
        """Return up to `count` tasks of the input behind this row, in its order."""

    def passed(self, rows: Collection[int], after: int) -> list[int]:
        """Return those of these rows in which a task ended for good whose first attempt is not behind this row."""


class Ordering:
    """The order file of one run.

    Args:
        path: Of the file; made if it is missing.
        tasks: The store.

    """

    def __init__(self, path: str, tasks: Tasks) -> None:
        self._tasks = tasks
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # The last record may be cut: its writer was killed.
        self._size = os.fstat(self._fd).st_size // RECORD_BYTES * RECORD_BYTES
        self._after = 0
        if self._size:
            self._after = next(unpack_order(os.pread(self._fd, RECORD_BYTES, self._size - RECORD_BYTES)))[0]
        self._waits_for = 0
        """Row that must end before anything can be said; 0: look."""

    def ended(self, rows: Iterable[int]) -> bool:
        """These rows have ended, and that is committed; return whether more can be printed now.

        Raises:
            StoppedError: The file cannot be written.

        """
        rows = set(rows)
        before = self._size
        if self._after:
            self._write([Settled(self._after, row, ended=True) for row in self._tasks.passed(rows, self._after)])
        if self._waits_for and self._waits_for not in rows:
            return self._size > before
        count = min(_ROWS_MAX, _ROWS_MIN + 2 * len(rows))
        while True:
            found = self._tasks.settled(self._after, count)
            settled = found[: next((at for at, task in enumerate(found) if not task.ended), len(found))]
            self._write(settled)
            if len(settled) < len(found):
                self._waits_for = found[len(settled)].last
                return self._size > before
            self._waits_for = 0
            if len(found) < count:
                return self._size > before
            count = _ROWS_MAX

    def close(self) -> None:
        """Nothing will end any more: let all be printed that has.

        Not for a scheduler whose hs-cluster is gone: the next one goes on in order.
        """
        while found := self._tasks.settled(self._after, _ROWS_MAX):
            self._write([task for task in found if task.ended])
            self._after = found[-1].row
        os.close(self._fd)

    def _write(self, settled: list[Settled]) -> None:
        if settled:
            record = b"".join(_RECORD.pack(task.row, task.last) for task in settled)
            try:
                self._size += os.pwrite(self._fd, record, self._size)
            except OSError as exc:
                raise StoppedError(f"the order of the outputs cannot be written: {exc.strerror}") from exc
            self._after = settled[-1].row


def unpack_order(buffer: bytes) -> Iterator[tuple[int, int]]:
    """Yield (row of the input, row of its last attempt)."""
    return _RECORD.iter_unpack(buffer)
