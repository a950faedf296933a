"""Ids that users see: UUIDv7, in the order in which they were made.

Source: RFC 9562, section 6.2, method 2: the random part of the first id of a batch, then counting up.
"""

import os

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_COUNTER_BITS = 62
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1


class Uids:
    """Makes ids in batches. They never go back, even where the clock does."""

    def __init__(self) -> None:
        self._milliseconds = -1
        self._prefix = b""
        self._counter = 0

    def take(self, count: int, now: float) -> list[bytes]:
        """Return `count` new ids of 16 bytes; now: wall clock, seconds since the epoch."""
        milliseconds = int(now * 1000)
        if milliseconds > self._milliseconds:
            self._milliseconds = milliseconds
            random = int.from_bytes(os.urandom(10))
            self._prefix = (milliseconds << 16 | _VERSION_7 >> 64 | random >> 68).to_bytes(8)
            # Its top bit is left free, so that a batch cannot overflow it.
            self._counter = _VARIANT | (random & _COUNTER_MASK >> 1)
        prefix, first = self._prefix, self._counter + 1
        self._counter += count
        return [prefix + number.to_bytes(8) for number in range(first, first + count)]
