"""How outcomes travel: one after the other in the body of a Result, most of them as a row of numbers.

    a plain success   56 bytes: row, dispatch, start, duration, cpu_user, cpu_system, memory_max
    any outcome       array of the fields of an `Outcome`

A task that ended with 0 and of which nothing else is to be told has nothing but numbers. A Result of such outcomes alone is never
taken apart on its way through the scheduler (`Successes`): so the usual task costs it no object of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from math import isfinite
from struct import Struct
from typing import Any, overload

import msgpack

from hs_common import limits
from hs_common.errors import WireError
from hs_common.tasks import Outcome, OutcomeKind, unpack_body
from hs_common.tuples import maker


class Successes(Sequence[Outcome]):
    """Outcomes of tasks that ran, ended with 0, and left nothing else to tell: each field of all of them. There is at least one.

    Args:
        rows: As the fields of `Outcome`, and so the others.
        dispatches: Each of its row.
        starts: Wall clock, seconds since the epoch.
        durations: Seconds.
        cpu_user: Seconds.
        cpu_system: Seconds.
        memory_max: Bytes; 0: not known.

    """

    __slots__ = ("cpu_system", "cpu_user", "dispatches", "durations", "memory_max", "rows", "starts")

    def __init__(
        self,
        rows: tuple[int, ...],
        dispatches: tuple[int, ...],
        starts: tuple[float, ...],
        durations: tuple[float, ...],
        cpu_user: tuple[float, ...],
        cpu_system: tuple[float, ...],
        memory_max: tuple[int, ...],
    ) -> None:
        self.rows = rows
        self.dispatches = dispatches
        self.starts = starts
        self.durations = durations
        self.cpu_user = cpu_user
        self.cpu_system = cpu_system
        self.memory_max = memory_max

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Outcome]:
        """Yield them one by one."""
        return map(
            _outcome,
            zip(
                self.rows,
                self.dispatches,
                repeat(int(OutcomeKind.FINISHED)),
                repeat(0),
                repeat(""),
                self.starts,
                self.durations,
                self.cpu_user,
                self.cpu_system,
                self.memory_max,
                repeat(b""),
                repeat(b""),
                repeat(b""),
                strict=False,  # what is repeated has no end
            ),
        )

    @overload
    def __getitem__(self, at: int) -> Outcome: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Outcome]: ...

    def __getitem__(self, at: int | slice) -> Outcome | Sequence[Outcome]:
        """Return one of them, or some."""
        return list(self)[at]


def pack_outcome(outcome: tuple[Any, ...]) -> bytes:
    """Return an item of the body of a Result: of an `Outcome`, or of its fields, which cost less to make."""
    row, dispatch, kind, status, reason, start, duration, user, system, memory_max, command, outpath, errpath = outcome
    if kind or status or reason or command or outpath or errpath:
        return _pack(outcome)
    return _SUCCESS.pack(_BIN, _NUMBERS.size, row, dispatch, start, duration, user, system, memory_max)


def pack_outcomes(outcomes: Sequence[Outcome]) -> bytes:
    """Return the body of a Result."""
    return join_outcomes(list(map(pack_outcome, outcomes)))


def join_outcomes(packed: Sequence[bytes]) -> bytes:
    """Return the body of a Result with these outcomes, each packed by itself."""
    head: bytes = msgpack.Packer().pack_array_header(len(packed))
    return head + b"".join(packed)


def unpack_outcomes(body: bytes) -> Sequence[Outcome]:
    """Return the outcomes in the body of a Result: `Successes`, if there is nothing else.

    Raises:
        WireError: Not outcomes, or a number out of bounds. The peer is at fault.

    """
    found = unpack_body(body)
    if type(found) is not list:
        raise WireError("not outcomes: no array")
    kinds = set(map(type, found))
    if not kinds <= {bytes, list}:
        raise WireError("an outcome is neither an array nor bytes")
    if kinds == {bytes}:
        return _successes(found)
    if bytes in kinds:
        found = list(chain.from_iterable(_successes([item]) if type(item) is bytes else (item,) for item in found))
    if not set(map(len, found)) <= {len(Outcome._fields)}:
        raise WireError(f"an outcome has not {len(Outcome._fields)} fields")
    # Field by field, not outcome by outcome: so that C looks at each, which halves the time.
    for (name, expected), column in zip(_TYPES.items(), zip(*found, strict=True), strict=False):
        if set(map(type, column)) != {expected}:
            raise WireError(f"an outcome has a {name} of the wrong type")
        if expected is float:
            _check_finite(column)
        if name in _BOUNDS:
            _check_bounds(name, column)
    return list(map(_outcome, found))


def key_of(packed: bytes) -> tuple[int, int]:
    """Return row and dispatch of an outcome that was packed by itself."""
    if packed[0] == _BIN:
        return _SUCCESS.unpack(packed)[2:4]
    row, dispatch, *_ = msgpack.unpackb(packed)
    return row, dispatch


def _successes(items: Sequence[bytes]) -> Successes:
    if set(map(len, items)) != {_NUMBERS.size}:
        raise WireError(f"an outcome has not {_NUMBERS.size} bytes")
    found = Successes(*zip(*_NUMBERS.iter_unpack(b"".join(items)), strict=True))
    _check_bounds("row", found.rows)
    _check_bounds("dispatch", found.dispatches)
    _check_bounds("start", found.starts)
    _check_bounds("memory_max", found.memory_max)
    for column in (found.starts, found.durations, found.cpu_user, found.cpu_system):
        _check_finite(column)
    return found


def _check_bounds(name: str, column: tuple[Any, ...]) -> None:
    least, most = _BOUNDS[name]
    if min(column) < least or max(column) > most:
        raise WireError(f"an outcome has a {name} that is not in {least}..{most}")


def _check_finite(column: tuple[float, ...]) -> None:
    if not isfinite(sum(column)):
        raise WireError("an outcome has a time that is no number")


_pack: Callable[[object], bytes] = msgpack.Packer().pack
_outcome = maker(Outcome)
_NUMBERS = Struct("<QQddddQ")
_SUCCESS = Struct("<BB" + _NUMBERS.format.removeprefix("<"))
_BIN = 0xC4
"""Source: the msgpack specification, "bin 8": this byte, the length in one byte, so many bytes."""
_TYPES: dict[str, type] = dict(
    zip(Outcome._fields, (int, int, int, int, str, float, float, float, float, int, bytes, bytes, bytes), strict=True)
)
_BOUNDS = {
    "row": (1, limits.ID_MAX),
    "dispatch": (1, limits.DISPATCH_MAX),
    "kind": (0, OutcomeKind.CANCELLED),
    "status": (0, 0xFFFF),  # a wait status
    "start": (0.0, limits.INSTANT_MAX),
    "memory_max": (0, limits.ID_MAX),
}
