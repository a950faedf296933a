"""The bodies of requests, as a command packs them and the scheduler opens them. Answers are JSON, UTF-8, but for raw values.

    submit   [key, host, folder, [[args, detail or nil, group, priority, reason], ...]]  ▶ {"count": N, "id": of the first}
    wait     [ids, 16 bytes each]     ▶ a part {"waiting": N}; at the end {"ended": N}
    search   [filter, names of fields or nil, first row, last row, downwards (`hs_scheduler.stores.pages`)]
             ▶ msgpack [archives, first row, last row that is left, [[row, raw values of the fields ...], ...]]
    info     [id]                     ▶ msgpack [archives, raw values of all fields, or nil]
    update   [key, piece (`hs_scheduler.stores.changes`)]        ▶ {"count": N, "left": {why tasks were left as they are: N}}
    status   nothing, or of whoever scales the cluster the numbers of his last decision, JSON ▶ see `hs_scheduler.serving.status`

A key is 16 random bytes, chosen once for what is to be done once, however often it has to be said.
"""

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from hs_common import limits
from hs_common.errors import RefusedError, WireError
from hs_common.tasks import Detail, Tag
from hs_scheduler.stores.store import NewTask
from hs_scheduler.tasks.tags import ORDER_MAX, TAGS_MAX, TIMEOUT_MAX_S, TIMEOUT_MIN_S, is_tag

if TYPE_CHECKING:
    from hs_scheduler.stores.changes import Piece
    from hs_scheduler.stores.pages import Look, Page

SUBMIT_TASKS_MAX = 2_000
"""Of one request: a step of the scheduler stays short, and with it the answers to workers."""

SUBMIT_BYTES_MAX = 1 * limits.MIB
"""Likewise; a single task always fits."""

SCALING_BYTES_MAX = 4 * limits.KIB
"""Of the numbers of a decision."""

LOOK_BYTES_MAX = 1 * limits.MIB
"""Of a question."""

WAIT_IDS_MAX = 10_000
"""Tasks that one command waits for."""

_ID_BYTES = 16


class Submission(NamedTuple):
    """Tasks to add, all or none."""

    key: bytes
    host: str
    """Of the submitter."""
    cwd: bytes
    """Working folder of the tasks."""
    tasks: Sequence[NewTask]


class Update(NamedTuple):
    """A change of tasks that are there already."""

    key: bytes
    piece: "Piece"
    """Which change, and of which rows."""


def new_key() -> bytes:
    """Return a fresh key."""
    return os.urandom(_ID_BYTES)


def pack_submission(submission: Submission) -> bytes:
    """Return the body of a submit."""
    body: bytes = msgpack.packb(submission)
    return body


def unpack_submission(body: bytes) -> Submission:
    """Return the tasks in the body of a submit.

    Raises:
        WireError: It is none.

    """
    try:
        key, host, cwd, items = _unpack(body)
        tasks = [_task(*item) for item in items]
    except (TypeError, ValueError) as exc:
        raise WireError(f"not a submission: {exc}") from exc
    if type(host) is not str or type(cwd) is not bytes or not 0 <= len(tasks) <= SUBMIT_TASKS_MAX:
        raise WireError("a submission with a field out of bounds")
    return Submission(_id(key), host, cwd, tasks)


def pack_ids(ids: Sequence[bytes]) -> bytes:
    """Return the body of a wait."""
    body: bytes = msgpack.packb(ids)
    return body


def unpack_ids(body: bytes) -> list[bytes]:
    """Return the ids in the body of a wait.

    Raises:
        WireError: There are none, or too many.

    """
    ids = _unpack(body)
    if type(ids) is not list or not 0 < len(ids) <= WAIT_IDS_MAX:
        raise WireError(f"not a list of 1..{WAIT_IDS_MAX} ids")
    return [_id(item) for item in ids]


def pack_update(update: Update) -> bytes:
    """Return the body of an update."""
    body: bytes = msgpack.packb([update.key, update.piece.plain()])
    return body


def unpack_update(body: bytes) -> Update:
    """Return the change in the body of an update.

    Raises:
        WireError: It is none.

    """
    from hs_scheduler.stores.changes import Piece  # noqa: PLC0415 - a run that nobody changes need not load it

    try:
        key, piece = _unpack(body)
    except (TypeError, ValueError) as exc:
        raise WireError(f"not an update: {exc}") from exc
    return Update(_id(key), Piece.from_plain(piece))


def pack_look(look: "Look") -> bytes:
    """Return the body of a search.

    Raises:
        RefusedError: It is too long.

    """
    names = None if look.fields is None else [field.name for field in look.fields]
    body: bytes = msgpack.packb([look.filter.plain(), names, look.first, look.last, look.downwards])
    if len(body) > LOOK_BYTES_MAX:
        raise RefusedError(f"a question of {len(body)} bytes: at most {LOOK_BYTES_MAX} are allowed")
    return body


def unpack_look(body: bytes) -> "Look":
    """Return the question in the body of a search.

    Raises:
        WireError: It is none, or has a regular expression.
        RefusedError: There is no such field, or a condition makes no sense.

    """
    from hs_scheduler.stores.pages import Look  # noqa: PLC0415 - likewise
    from hs_scheduler.tasks.conditions import field_named  # noqa: PLC0415 - a run at which nobody looks need not load it
    from hs_scheduler.tasks.filters import Filter  # noqa: PLC0415 - likewise

    match _unpack(body) if len(body) <= LOOK_BYTES_MAX else None:
        case [tasks, None | list() as names, int() as first, int() as last, bool() as downwards] if (
            0 < first <= limits.ID_MAX and 0 <= last <= limits.ID_MAX
        ):
            fields = None if names is None else tuple(field_named(str(name)) for name in names)
            found, matches = Filter.from_plain(tasks).split()
            if not matches:
                return Look(found, fields, first, last, downwards)
    raise WireError("not a question about tasks")


def pack_page(page: "Page") -> bytes:
    """Return the answer to a search."""
    answer: bytes = msgpack.packb(page)
    return answer


def unpack_page(answer: bytes) -> "Page":
    """Return the page in the answer to a search, from a scheduler that we trust."""
    from hs_scheduler.stores.pages import Page  # noqa: PLC0415 - see above

    return Page._make(msgpack.unpackb(answer))


def pack_info(archives: int, values: Sequence[Any] | None) -> bytes:
    """Return the answer to an info; values: of `fields.FIELDS`, None: there is no such task."""
    answer: bytes = msgpack.packb([archives, values])
    return answer


def unpack_info(answer: bytes) -> tuple[int, Sequence[Any] | None]:
    """Return how many archives there are, and the values."""
    archives, values = msgpack.unpackb(answer)
    return archives, values


def _task(args: Any, detail: Any, group: Any, priority: Any, rejected: Any) -> NewTask:  # noqa: ANN401 - what a client sent
    if type(args) is not bytes or len(args) > limits.LINE_BYTES_MAX:
        raise WireError("a task that is no line")
    if not _is_integer(group, -ORDER_MAX, ORDER_MAX) or not _is_integer(priority, -ORDER_MAX, ORDER_MAX):
        raise WireError("a task with a field out of bounds")
    if type(rejected) is not str or (b"\0" in args and not rejected):
        raise WireError("a task that nobody can run, without a reason")
    return NewTask(args, None if detail is None else _detail(*detail), group, priority, rejected)


def _detail(timeout: Any, cores: Any, memory: Any, tags: Any, template: Any) -> Detail:  # noqa: ANN401 - likewise
    if not (
        type(timeout) is float
        and (timeout == 0 or TIMEOUT_MIN_S <= timeout <= TIMEOUT_MAX_S)
        and _is_integer(cores, 0, limits.SLOTS_MAX)
        and _is_integer(memory, 0, limits.ID_MAX)
        and type(template) is bytes
        and len(template) <= limits.LINE_BYTES_MAX
        and len(tags) <= TAGS_MAX
    ):
        raise WireError("a task with a field out of bounds")
    return Detail(timeout, cores, memory, tuple(_tag(*tag) for tag in tags), template)


def _tag(key: Any, value: Any) -> tuple[str, Tag]:  # noqa: ANN401 - likewise
    if type(key) is not str or not is_tag(key, value):
        raise WireError("a task with a tag that is none")
    return key, value


def _is_integer(value: Any, low: int, high: int) -> bool:  # noqa: ANN401 - likewise
    return type(value) is int and low <= value <= high


def _id(value: Any) -> bytes:  # noqa: ANN401 - what a client sent
    if type(value) is not bytes or len(value) != _ID_BYTES:
        raise WireError(f"an id or key is not {_ID_BYTES} bytes")
    return value


def _unpack(body: bytes) -> Any:  # noqa: ANN401 - what a client sent; the callers give it a type
    try:
        return msgpack.unpackb(body, raw=False, max_ext_len=0, max_array_len=limits.IDS_MAX)
    except (ValueError, RecursionError, msgpack.UnpackException) as exc:
        raise WireError(f"body is not msgpack: {exc!r}") from exc


def scaling_of(body: bytes) -> dict[str, Any]:
    """Return what whoever scales the cluster tells with its question: the numbers of its last decision.

    Raises:
        RefusedError: It is no JSON object, or too long.

    """
    try:
        found = json.loads(body) if len(body) <= SCALING_BYTES_MAX else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError("status: what comes with the question is no decision")
    return found
