"""Memory that guardian and worker share: what a successor must know when a worker dies, however it dies.

    words:  [0] tail << 32 | used  of the ring     [1] tasks finished since ever     [2..3] incarnation of the worker
            [4..5] the one it replaces    [6] whether a broker has welcomed it    [7] turns of its loop, where they are counted
            [8] the boot, in a file
    slots:  per slot [row, dispatch, bundle, pid, start as a double]; row 0: empty
    ring:   records, oldest first, around the end: | length u32 | - u32 | bundle u64 | packed outcome |

Each change is one store of one aligned word, done last: so a worker killed between two instructions leaves either the old or the
new, never a mixture. Slot before spawn, record before the slot is cleared: a task is in one of the two as long as it matters.

The pages are anonymous, gone with the last of the two processes; or those of a file in the folder of a run, which says what
had finished when everybody was killed (`left_in`). Nothing is written or synced for that: the kernel keeps the pages as long as
it lives itself. What an earlier boot left is not trusted.
"""

import mmap
import os
import sys
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from hs_common import limits
from hs_common.outcomes import key_of, pack_outcome
from hs_common.tasks import Outcome, OutcomeKind

_HEADER_WORDS = 9
_BOOT_WORD = 8
_SLOT_WORDS = 5
_WORD = 8
_RECORD = Struct("<IIQ")
_START = Struct("@d")
_LOW = 0xFFFF_FFFF


class Occupied(NamedTuple):
    """A slot that was not empty when its worker died."""

    row: int
    dispatch: int
    bundle: int
    pid: int
    """0: it died before it knew."""
    start: float
    """Wall clock, seconds since the epoch."""


class SharedMap:
    """The map of one guardian and its workers.

    Args:
        slots: How many tasks run at once.
        area_bytes: Room for outcomes that are not committed.
        path: Of the file; what one of the same slots and boot holds is taken over. "": anonymous.

    Raises:
        OSError: The file cannot be made.

    """

    def __init__(self, slots: int, area_bytes: int, path: str = "") -> None:
        if not 1 <= slots <= limits.SLOTS_MAX:
            raise ValueError(f"{slots} slots are not in 1..{limits.SLOTS_MAX}")
        self._slots = slots
        head = (_HEADER_WORDS + slots * _SLOT_WORDS) * _WORD
        self._capacity = area_bytes
        self._map = _mapped(path, head + area_bytes) if path else mmap.mmap(-1, head + area_bytes)
        view = memoryview(self._map)
        self._words = view[:head].cast("Q")
        self._bytes = view[:head]
        self._ring = view[head:]
        if path:
            self._words[_BOOT_WORD] = _boot()

    @property
    def finished(self) -> int:
        """Tasks of which an outcome was ever recorded: how a guardian knows that restarting helps."""
        return self._words[1]

    @property
    def used(self) -> int:
        """Bytes of the ring that are in use."""
        return self._words[0] & _LOW

    @property
    def incarnation(self) -> bytes:
        """Id of the present worker."""
        return bytes(self._bytes[2 * _WORD : 4 * _WORD])

    @property
    def replaces(self) -> bytes:
        """Id of the worker that died in its place, or b""."""
        found = bytes(self._bytes[4 * _WORD : 6 * _WORD])
        return found if any(found) else b""

    @property
    def beats(self) -> int:
        """Turns of the loop of the present worker; 0: it has not begun."""
        return self._words[7]

    def beat(self) -> None:
        """Note a turn of the loop."""
        self._words[7] += 1

    def succeed(self, fresh: bytes) -> None:
        """Give the next worker its id: `fresh`, 16 random bytes, if a broker may know the last one.

        One that was never welcomed has sent no results: its successor goes on under its name and replaces whom it replaced.
        """
        self._words[7] = 0
        if self._words[6] or not any(self.incarnation):
            self._bytes[4 * _WORD : 6 * _WORD] = self.incarnation
            self._bytes[2 * _WORD : 4 * _WORD] = fresh
            self._words[6] = 0

    def welcome(self) -> None:
        """Note that a broker knows this worker."""
        self._words[6] = 1

    def occupy(self, slot: int, row: int, dispatch: int, bundle: int, start: float) -> None:
        """Note that a task is about to be spawned in a slot."""
        words = self._words
        at = _HEADER_WORDS + slot * _SLOT_WORDS
        words[at + 1] = dispatch
        words[at + 2] = bundle
        words[at + 3] = 0
        _START.pack_into(self._bytes, (at + 4) * _WORD, start)
        words[at] = row

    def set_pid(self, slot: int, pid: int) -> None:
        """Note which process it became."""
        self._words[_HEADER_WORDS + slot * _SLOT_WORDS + 3] = pid

    def clear(self, slot: int) -> None:
        """Note that the slot is empty."""
        self._words[_HEADER_WORDS + slot * _SLOT_WORDS] = 0

    def append(self, bundle: int, packed: bytes) -> None:
        """Write an outcome. The core has seen to it that there is room.

        Raises:
            BufferError: There is none. Our fault.

        """
        record = _RECORD.pack(len(packed), 0, bundle) + packed
        words = self._words
        word = words[0]
        tail, used = word >> 32, word & _LOW
        size = len(record)
        if used + size > self._capacity:
            raise BufferError(f"a record of {size} bytes beside {used} in {self._capacity}")
        at = (tail + used) % self._capacity
        end = at + size
        if end <= self._capacity:
            self._ring[at:end] = record
        else:
            first = self._capacity - at
            self._ring[at:] = record[:first]
            self._ring[: size - first] = record[first:]
        words[0] = word + size
        words[1] += 1

    def release(self, size: int) -> None:
        """Forget the oldest records, `size` bytes in all."""
        word = self._words[0]
        tail, used = word >> 32, word & _LOW
        left = used - size
        if left < 0:
            raise BufferError(f"{size} bytes to release of {used}")
        # Empty: from the start again, so that the same few pages serve for ever.
        self._words[0] = ((tail + size) % self._capacity) << 32 | left if left else 0

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield (bundle, packed outcome), oldest first."""
        word = self._words[0]
        at, end = word >> 32, (word >> 32) + (word & _LOW)
        while at < end:
            length, _, bundle = _RECORD.unpack(self._read(at, _RECORD.size))
            yield bundle, self._read(at + _RECORD.size, length)
            at += _RECORD.size + length

    def occupied(self) -> Iterator[tuple[int, Occupied]]:
        """Yield (slot, what is in it)."""
        for slot in range(self._slots):
            at = _HEADER_WORDS + slot * _SLOT_WORDS
            row, dispatch, bundle, pid, _ = self._words[at : at + _SLOT_WORDS]
            if row:
                (start,) = _START.unpack_from(self._bytes, (at + 4) * _WORD)
                yield slot, Occupied(row, dispatch, bundle, pid, start)

    def _read(self, at: int, size: int) -> bytes:
        at %= self._capacity
        end = at + size
        if end <= self._capacity:
            return bytes(self._ring[at:end])
        return bytes(self._ring[at:]) + bytes(self._ring[: end - self._capacity])


def left_in(path: str, area_bytes: int) -> tuple[bytes, list[bytes]] | None:
    """Return what the last worker of a run left in its file: its incarnation, and the packed outcomes, oldest first.

    None: there is no such file, or it is of another boot: what of it reached the disk is anybody's guess.
    """
    try:
        spare = os.stat(path).st_size - area_bytes - _HEADER_WORDS * _WORD
    except FileNotFoundError:
        return None
    slots, rest = divmod(spare, _SLOT_WORDS * _WORD)
    if rest or not 1 <= slots <= limits.SLOTS_MAX:
        return None
    shared = SharedMap(slots, area_bytes, path)
    return shared.incarnation, [packed for _, packed in shared.records()]


def _mapped(path: str, size: int) -> mmap.mmap:
    """Map a file of this size: what is there, if it is of this boot, else zeros.

    All of it is reserved at once, or a full disk would be a SIGBUS in the middle of the work.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        boot = int.from_bytes(os.pread(fd, _WORD, _BOOT_WORD * _WORD), sys.byteorder)
        if os.fstat(fd).st_size != size or boot != _boot():
            os.ftruncate(fd, 0)
            os.posix_fallocate(fd, 0, size)
        return mmap.mmap(fd, size)
    finally:
        os.close(fd)


def _boot() -> int:
    """Return what is the same until the kernel is started anew, and not 0."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return int(file.read(8), 16) | 1 << 32


def settle(shared: SharedMap) -> list[tuple[int, bytes]]:
    """Turn what a dead worker left into records, and return them all: (bundle, packed outcome), oldest first.

    What was running has CRASHED, unless its outcome had been written already and only its slot not been cleared. May itself be
    cut off at any point and done again.
    """
    records = list(shared.records())
    told = {key_of(packed) for _, packed in records}
    for slot, found in list(shared.occupied()):
        if (found.row, found.dispatch) not in told:
            outcome = Outcome(
                found.row, found.dispatch, int(OutcomeKind.CRASHED), 0, "", found.start, 0.0, 0.0, 0.0, 0, b"", b"", b""
            )
            packed = pack_outcome(outcome)
            shared.append(found.bundle, packed)
            records.append((found.bundle, packed))
        shared.clear(slot)
    return records
