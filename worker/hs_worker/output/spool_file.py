"""The file in which a worker spools the outputs of its tasks, for hs-cluster on the same host to print.

    | row u64 | earlier u64 | out u64 | err u64 | dispatch u64 | stdout of that task ... | stderr of it ... |

Row 0: a part of a large output whose task still runs; `earlier` of the record that follows in that task is its place plus one.
The last record of a task bears its row. Of several for one row, in the spools of several workers, the one of the highest dispatch
counts: the others are of workers that died or were stopped. Whoever reads stops at a record that is not whole yet: it will be, or
its worker died.
"""

from struct import Struct
from typing import NamedTuple

SUFFIX = ".spool"
"""Of the name of such a file: one for each incarnation of a worker."""


class Record(NamedTuple):
    """The head of a record."""

    row: int
    earlier: int
    """Offset + 1 of the record before it of the same task, or 0."""
    out: int
    """Bytes of stdout."""
    err: int
    dispatch: int = 0
    """0 where there is no row."""


_HEAD = Struct("<QQQQQ")
HEAD_BYTES = _HEAD.size


def pack_head(record: Record) -> bytes:
    """Return the bytes of a head."""
    return _HEAD.pack(*record)


def unpack_head(buffer: bytes, at: int) -> Record:
    """Return the head that begins there."""
    return Record._make(_HEAD.unpack_from(buffer, at))
