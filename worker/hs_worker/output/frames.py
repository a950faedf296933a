"""What a worker says on stdout to who holds its session of SSH: frames, so that outputs, and whose they are, come in one stream.

    | kind u8 | bytes u16 | ... |     at most PIPE_BUF in all: a pipe takes it whole or not at all

So a worker that is killed leaves no frame half said, and its successor goes on in the same stream.

BEGIN    a worker begins: its incarnation, 16 bytes. What the one before had started to say will not be ended.
LINES    of its tasks' stdout (`relay`)
SPOOL    the next bytes of its spool (`spool_file`), which is written down on the other side. Every so often that one says on the
         lifeline how much is there: `kept INCARNATION BYTES`
"""

import select
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from hs_common.errors import WireError

_HEAD = Struct("<BH")
DATA_BYTES_MAX = select.PIPE_BUF - _HEAD.size


class Kind(IntEnum):
    """Of a frame."""

    BEGIN = 1
    LINES = 2
    SPOOL = 3


def pack_frame(kind: Kind, data: bytes) -> bytes:
    """Return a frame; `data`: at most DATA_BYTES_MAX."""
    return _HEAD.pack(kind, len(data)) + data


class FrameReader:
    """Finds frames in what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Yield (kind, data) of all that is whole now.

        Raises:
            WireError: This is no frame. The worker is of another version.

        """
        rest, at = self._rest + piece, 0
        self._rest = b""
        while at + _HEAD.size <= len(rest):
            kind, size = _HEAD.unpack_from(rest, at)
            if not Kind.BEGIN <= kind <= Kind.SPOOL or size > DATA_BYTES_MAX:
                raise WireError(f"what its worker says is no frame, but {rest[at : at + 40]!r}")
            begin = at + _HEAD.size
            if begin + size > len(rest):
                break
            at = begin + size
            yield Kind(kind), rest[begin:at]
        self._rest = rest[at:]
