"""Outcomes on their way out: gathered, cut into Results, kept until the scheduler's commit is acknowledged. No IO.

    add ──▶ pending ──cut──▶ kept (sequence 1, 2, 3 ...) ──commit──▶ forgotten
                          └▶ take: to be sent now

Some outcomes are *recorded* in the map that outlives the worker (those of tasks that ran). Records are released oldest first, so
a Result that is acknowledged early frees its records when its elders are.

Rules, checked by `check`:
1. Sequences rise by one, in the order in which the outcomes came.
2. What counts as unacknowledged is exactly what is pending or kept.
3. A Result holds at most `limits.IDS_MAX` outcomes and closed bundles, and `limits.BODY_BYTES_MAX` bytes unless it is one task's.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import msgpack

from hs_common import limits
from hs_common.values import dataclass


@dataclass(slots=True)
class Kept:
    """One Result, as often as it must be sent."""

    sequence: int
    tasks: int
    closed: tuple[int, ...]
    body: bytes
    recorded: int
    """Bytes that its outcomes occupy in the map."""
    committed: bool = False


class Outbox:
    """What this worker has to tell about tasks that ended."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._pending_recorded = 0
        self._pending_closed: list[int] = []
        self._kept: dict[int, Kept] = {}
        self._in_order: deque[Kept] = deque()
        self._fresh: list[Kept] = []
        self._sequence = 0
        self._packer = msgpack.Packer()
        self.unacknowledged = 0
        """Outcomes pending or kept."""

    @property
    def empty(self) -> bool:
        """Whether all that was ever added is committed."""
        return not (self._pending or self._pending_closed or self._kept)

    @property
    def oldest(self) -> int:
        """The lowest sequence that is not committed; the next one where all are."""
        return self._in_order[0].sequence if self._in_order else self._sequence + 1

    @property
    def newest(self) -> int:
        """The sequence of the Result in which the outcome that was added last is, or will be."""
        return self._sequence + bool(self._pending)

    @property
    def has_news(self) -> bool:
        """Whether there is anything that was not taken yet."""
        return bool(self._pending or self._pending_closed or self._fresh)

    def add(self, packed: bytes, recorded: int) -> None:
        """Take one packed outcome, which occupies `recorded` bytes of the map."""
        if len(self._pending) >= limits.IDS_MAX or self._pending_bytes + len(packed) > limits.BODY_BYTES_MAX:
            self._cut()
        self._pending.append(packed)
        self._pending_bytes += len(packed)
        self._pending_recorded += recorded
        self.unacknowledged += 1

    def close(self, bundle: int) -> None:
        """The last outcome of this bundle was added."""
        self._pending_closed.append(bundle)

    def take(self) -> list[Kept]:
        """Make Results of what is pending, and return all that were made since the last call."""
        self._cut()
        fresh, self._fresh = self._fresh, []
        return fresh

    def kept(self) -> Iterator[Kept]:
        """Yield what must be sent again, oldest first."""
        return (kept for kept in self._in_order if not kept.committed)

    def commit(self, sequences: Iterable[int]) -> int:
        """Forget these Results; return how many bytes of the map are free again. An unknown sequence is ordinary: a late one."""
        for sequence in sequences:
            kept = self._kept.pop(sequence, None)
            if kept is not None:
                kept.committed = True
                kept.body = b""
                self.unacknowledged -= kept.tasks
        released = 0
        while self._in_order and self._in_order[0].committed:
            released += self._in_order.popleft().recorded
        return released

    def bundles(self) -> Iterator[int]:
        """Yield the closed bundles that are not committed yet."""
        yield from self._pending_closed
        for kept in self._kept.values():
            yield from kept.closed

    def check(self) -> None:
        """Assert the three rules."""
        sequences = [kept.sequence for kept in self._in_order]
        assert sequences == list(range(self._sequence - len(sequences) + 1, self._sequence + 1))
        assert self.unacknowledged == len(self._pending) + sum(kept.tasks for kept in self._kept.values())
        assert {kept.sequence for kept in self._in_order if not kept.committed} == set(self._kept)
        for kept in self._kept.values():
            assert max(kept.tasks, len(kept.closed)) <= limits.IDS_MAX
            assert kept.tasks == 1 or len(kept.body) <= limits.BODY_BYTES_MAX + 8

    def _cut(self) -> None:
        while self._pending or self._pending_closed:
            self._sequence += 1
            closed = tuple(self._pending_closed[: limits.IDS_MAX])
            body = self._packer.pack_array_header(len(self._pending)) + b"".join(self._pending)
            kept = Kept(self._sequence, len(self._pending), closed, body, self._pending_recorded)
            del self._pending_closed[: limits.IDS_MAX]
            self._pending = []
            self._pending_bytes = self._pending_recorded = 0
            self._kept[kept.sequence] = kept
            self._in_order.append(kept)
            self._fresh.append(kept)
