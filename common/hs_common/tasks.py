"""What the bodies hold that the broker never opens: bundles of tasks one way, outcomes of tasks the other (`outcomes`).

A body is one msgpack array. Commands, folders and paths travel as bytes, for not every one is UTF-8. Tuples, not classes with
checks of their own: these are the only objects that exist once per task on the hot path.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from hs_common import limits
from hs_common.errors import WireError

Tag = None | bool | int | float | str
"""A tag's value."""


class Detail(NamedTuple):
    """What a task has that most have not."""

    timeout: float
    """Wall time limit, seconds; 0: none of its own."""
    cores: int
    memory: int
    """Bytes."""
    tags: tuple[tuple[str, Tag], ...]
    template: bytes
    """b"": the worker's own."""


if TYPE_CHECKING:
    from typing import Protocol

    class Described(Protocol):
        """A task, or a line that becomes one."""

        @property
        def args(self) -> bytes:
            """Its words, as they stand in the input."""

        @property
        def detail(self) -> Detail | None:
            """What it has that most have not."""


class Task(NamedTuple):
    """One dispatch of a task, as the worker gets it."""

    row: int
    """Key in the store; never used again for another task."""
    uid: bytes
    """UUIDv7, 16 bytes: what users see as its id."""
    dispatch: int
    """The fence: counts the claims of this row."""
    attempt: int
    """What users see: 1, and one more for each retry (a row of its own)."""
    args: bytes
    detail: Detail | None


class Bundle(NamedTuple):
    """Tasks leased to one worker as a unit."""

    cwd: bytes
    """Working folder of every task in it."""
    tasks: Sequence[Task]


class OutcomeKind(IntEnum):
    """How a dispatch ended."""

    FINISHED = 0
    """It ran: `status` is its wait status. Failed if that is not 0, or if `reason` is set (timeout, output, unkillable)."""
    HANDED_BACK = 1
    """It never started, or we stopped it, or the host was at fault (`reason`): NEW again, nothing counted."""
    CRASHED = 2
    """It was running when its worker died: NEW again, counted; QUARANTINED at `limits.CRASHES_MAX`."""
    REJECTED = 3
    """It can never run: `reason` says why."""
    CANCELLED = 4
    """Stopped because the user cancelled it."""


class Outcome(NamedTuple):
    """How one dispatch of a task ended."""

    row: int
    dispatch: int
    kind: int
    """An `OutcomeKind`."""
    status: int
    """Raw wait status as of wait4; 0 where nothing ran."""
    reason: str
    """"" or a word of the domain, maybe with details: timeout, output, unkillable, spawn:E2BIG, template: {[1]} is out of ..."""
    start: float
    """Wall clock, seconds since the epoch; 0.0 where nothing ran."""
    duration: float
    """Seconds, by the monotonic clock."""
    cpu_user: float
    cpu_system: float
    memory_max: int
    """Bytes; 0: not known (not above the worker's own peak)."""
    command: bytes
    """What ran, if that is not the args themselves (a template); else b""."""
    outpath: bytes
    errpath: bytes


class Started(NamedTuple):
    """A task that has been running for over a second."""

    row: int
    dispatch: int
    start: float
    """Wall clock, seconds since the epoch."""


def exit_status(wait_status: int) -> int:
    """Return the exit status that users see: 0..255, or -signal."""
    return wait_status >> 8 if not wait_status & 0x7F else -(wait_status & 0x7F)


def pack_bundle(bundle: tuple[bytes, Sequence[Task]]) -> bytes:
    """Return the body of one bundle: a `Bundle`, or its two parts, which cost less to make."""
    return _pack(bundle)


def sizes_of(tasks: "Iterable[Described]") -> Iterator[int]:
    """Yield how many bytes each task takes in a body, at most."""
    return (_TASK_BYTES + len(task.args) + (len(_pack(task.detail)) if task.detail else 0) for task in tasks)


def unpack_bundle(body: bytes) -> Bundle:
    """Return the bundle in a body.

    Raises:
        WireError: Not a bundle. The peer is at fault.

    """
    try:
        cwd, items = unpack_body(body)
        tasks = [
            Task(row, uid, dispatch, attempt, args, None if detail is None else _detail(*detail))
            for row, uid, dispatch, attempt, args, detail in items
        ]
        for task in tasks:
            if not (
                type(task.row) is int
                and type(task.dispatch) is int
                and type(task.attempt) is int
                and type(task.args) is bytes
                and type(task.uid) is bytes
                and len(task.uid) == 16  # noqa: PLR2004 - a UUID
            ):
                raise WireError(f"task {task.row!r} has a field of the wrong type")
        if type(cwd) is not bytes:
            raise WireError(f"cwd is {type(cwd).__name__}, expected bytes")
    except (ValueError, TypeError) as exc:
        raise WireError(f"not a bundle: {exc}") from exc
    return Bundle(cwd, tasks)


def pack_started(started: Sequence[Started]) -> bytes:
    """Return the body of a Running."""
    return _pack(started)


def unpack_started(body: bytes) -> list[Started]:
    """Return what is in the body of a Running.

    Raises:
        WireError: Not a list of started tasks. The peer is at fault.

    """
    try:
        started = [Started._make(item) for item in unpack_body(body)]
    except (ValueError, TypeError) as exc:
        raise WireError(f"not started tasks: {exc}") from exc
    if any(tuple(map(type, item)) != (int, int, float) for item in started):
        raise WireError("a started task has a field of the wrong type")
    if not all(
        0 < row <= limits.ID_MAX and 0 < dispatch <= limits.DISPATCH_MAX and 0 <= start <= limits.INSTANT_MAX
        for row, dispatch, start in started
    ):
        raise WireError("a started task has a field out of bounds")
    return started


def unpack_body(body: bytes) -> Any:  # noqa: ANN401 - what a peer sent; the callers give it a type
    """Return what is in a body, whatever that is.

    Raises:
        WireError: Not msgpack, or longer than any of ours. The peer is at fault.

    """
    try:
        return msgpack.unpackb(
            body,
            raw=False,
            max_ext_len=0,
            max_map_len=0,
            max_array_len=limits.IDS_MAX,
        )
    except (ValueError, RecursionError, msgpack.UnpackException) as exc:
        raise WireError(f"body is not msgpack: {exc!r}") from exc


_TASK_BYTES = 64
"""Of its numbers, its id, and what msgpack puts around them, at most."""

_pack: Callable[[object], bytes] = msgpack.Packer().pack
"""One packer for the process: making one costs more than packing a bundle of one task."""


def _detail(timeout: float, cores: int, memory: int, tags: Any, template: bytes) -> Detail:  # noqa: ANN401
    return Detail(timeout, cores, memory, tuple((str(k), v) for k, v in tags), template)
