"""Messages to frames and back.

    frame: | version (1 byte) | type (1 byte) | header bytes (u32, big endian) | header (msgpack array) | body ... |

The header holds the fields of the message class in their order, but for a field named `body`, which follows as it is.
Normative text: docs/protocol.md.
"""

from collections.abc import Callable
from operator import attrgetter
from struct import Struct
from typing import Any, NamedTuple

import msgpack

from hs_common import limits, messages
from hs_common.errors import WireError
from hs_common.message_requests import STATUSES
from hs_common.messages import TYPE_OF, BundleHeader, Demand, Message
from hs_common.tuples import table

VERSION = 1
"""Of the protocol; another one is answered with Refused."""

_PREFIX = Struct(">BBI")
_Check = Callable[[Any], Any]


OTHER_VERSION = "another version of the protocol: update the older side"
"""What a peer hears that speaks one; it cannot read it in a message of ours, so each side says it to itself as well."""


HELLOS = frozenset({messages.WorkerHello, messages.SchedulerHello, messages.ControlHello})
"""With other fields one is of another version, and not damaged: whoever says it is told so, or he would ask for ever."""


class VersionError(WireError):
    """The frame is of another version of the protocol."""


def encode(message: Message) -> bytes:
    """Return the frame of a message."""
    form = _FORM_OF_CLASS[type(message)]
    header: bytes = msgpack.packb(form.values(message))
    if form.has_body:
        return b"".join((_PREFIX.pack(VERSION, form.code, len(header)), header, message.body))  # type: ignore[union-attr]
    return _PREFIX.pack(VERSION, form.code, len(header)) + header


def decode(frame: bytes) -> Message:
    """Return the message in a frame, all its bounds checked.

    Raises:
        VersionError: Another version of the protocol.
        WireError: Anything else that is no message. The peer is at fault.

    """
    if len(frame) < _PREFIX.size:
        raise WireError(f"a frame of {len(frame)} bytes is no message")
    if len(frame) > limits.MESSAGE_BYTES_MAX:
        raise WireError(f"a frame of {len(frame)} bytes is over {limits.MESSAGE_BYTES_MAX}")
    version, code, size = _PREFIX.unpack_from(frame)
    if version != VERSION:
        raise VersionError(f"protocol version {version}, expected {VERSION}")
    form = _FORM_OF_CODE.get(code)
    if form is None:
        raise WireError(f"unknown message type {code}")
    end = _PREFIX.size + size
    if end > len(frame) or (end < len(frame) and not form.has_body):
        raise WireError(f"{form.message.__name__}: header of {size} bytes in a frame of {len(frame)}")
    values = _unpack(form, frame[_PREFIX.size : end])
    if form.has_body:
        values["body"] = frame[end:]
        if form.message in (messages.Submit, messages.Assign):
            expected = sum(bundle.size for bundle in values["bundles"])
            if expected != len(values["body"]):
                raise WireError(f"bundles of {expected} bytes in a body of {len(values['body'])}")
    return form.message(**values)


def _unpack(form: "_Form", header: bytes) -> dict[str, Any]:
    try:
        raw = msgpack.unpackb(
            header,
            raw=False,
            use_list=False,
            max_array_len=limits.IDS_MAX,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=limits.NAME_BYTES_MAX,
            max_bin_len=limits.NAME_BYTES_MAX,
        )
        if type(raw) is not tuple or len(raw) != len(form.checks):
            error = VersionError if type(raw) is tuple and form.message in HELLOS else WireError
            raise error(f"{form.message.__name__}: not {len(form.checks)} fields")
        return {name: check(value) for (name, check), value in zip(form.checks, raw, strict=True)}
    except VersionError:
        raise
    except WireError as exc:
        raise WireError(f"{form.message.__name__}: {exc}") from exc
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as exc:
        raise WireError(f"{form.message.__name__}: {exc!r}") from exc


# --- What a field may hold. Each returns the value, or raises WireError. ---


def _integer(low: int, high: int) -> _Check:
    def check(value: Any) -> int:  # noqa: ANN401 - what a peer sent
        if type(value) is not int or not low <= value <= high:
            raise WireError(f"{value!r:.40} is no integer in {low}..{high}")
        return value

    return check


def _token(value: Any) -> bytes:  # noqa: ANN401
    if type(value) is not bytes or len(value) != 16:  # noqa: PLR2004 - 128 bits
        raise WireError("an id is not 16 bytes")
    return value


def _token_or_none(value: Any) -> bytes:  # noqa: ANN401
    return b"" if value == b"" else _token(value)


def _text(value: Any) -> str:  # noqa: ANN401
    if type(value) is not str:
        raise WireError(f"{value!r:.40} is no text")
    return value


def _flag(value: Any) -> bool:  # noqa: ANN401
    if type(value) is not bool:
        raise WireError(f"{value!r:.40} is neither true nor false")
    return value


def _seconds(value: Any) -> float:  # noqa: ANN401
    if type(value) is not float or not 0 <= value < 1e12:  # noqa: PLR2004 - also refuses NaN
        raise WireError(f"{value!r:.40} is no number of seconds")
    return value


def _status(value: Any) -> int:  # noqa: ANN401
    if type(value) is not int or value not in STATUSES:
        raise WireError(f"{value!r:.40} is no status of a reply")
    return value


def _array(value: Any) -> tuple[Any, ...]:  # noqa: ANN401
    if type(value) is not tuple:
        raise WireError(f"{value!r:.40} is no array")
    return value


def _ids(value: Any) -> tuple[int, ...]:  # noqa: ANN401
    if _array(value) and (set(map(type, value)) != {int} or min(value) <= 0 or max(value) > limits.ID_MAX):
        raise WireError(f"one of them is no id in 1..{limits.ID_MAX}")
    return value  # type: ignore[no-any-return]


def _pairs(value: Any) -> tuple[tuple[int, int], ...]:  # noqa: ANN401
    for item in _array(value):
        if len(_ids(item)) != 2:  # noqa: PLR2004 - row and dispatch
            raise WireError("a task is not named by row and dispatch")
    return value  # type: ignore[no-any-return]


def _headers(value: Any) -> tuple[BundleHeader, ...]:  # noqa: ANN401
    if not _array(value):
        return ()
    bundles, tasks, sizes, demands = zip(*value, strict=True)
    _all_in(bundles, 1, limits.ID_MAX)
    _all_in(tasks, 1, limits.BUNDLE_TASKS_MAX)
    _all_in(sizes, 1, limits.MESSAGE_BYTES_MAX)
    known = {demand: _demand(*demand) for demand in set(demands)}  # few among many
    return tuple(table(BundleHeader, bundles, tasks, sizes, map(known.__getitem__, demands)))


def _demand(cores: Any, memory: Any, seconds: Any) -> Demand:  # noqa: ANN401
    return Demand(_COUNT(cores), _COUNT(memory), _seconds(seconds))


def _all_in(values: tuple[Any, ...], low: int, high: int) -> None:
    """Check a field of many headers: in C, for there may be one for each task."""
    if set(map(type, values)) != {int} or min(values) < low or max(values) > high:
        raise WireError(f"a bundle has a field out of bounds: no integer in {low}..{high}")


_COUNT = _integer(0, limits.ID_MAX)
_FIELDS: dict[str, _Check] = {
    "session": _token,
    "worker": _token,
    "scheduler": _token,
    "store": _token,
    "client": _token,
    "broker": _token,
    "replaces": _token_or_none,
    "version": _text,
    "host": _text,
    "database": _text,
    "reason": _text,
    "verb": _text,
    "pid": _integer(0, 2**32),
    "slots": _integer(0, limits.SLOTS_MAX),
    "credit": _integer(0, limits.CREDIT_MAX),
    "cores": _COUNT,
    "memory": _COUNT,
    "seconds": _seconds,
    "epoch": _integer(0, 2**22),
    "sequence": _integer(1, limits.ID_MAX),
    "oldest": _integer(1, limits.ID_MAX),
    "request": _integer(1, limits.ID_MAX),
    "status": _status,
    "fatal": _flag,
    "confirms": _flag,
    "more": _flag,
    "gone": _flag,
    "now": _flag,
    "inventory": _ids,
    "closed": _ids,
    "queued": _ids,
    "sequences": _ids,
}
"""The same name means the same thing in every message; the exceptions follow."""
_EXCEPTIONS: dict[tuple[type[Message], str], _Check] = {
    (messages.Submit, "bundles"): _headers,
    (messages.Assign, "bundles"): _headers,
    (messages.Refused, "bundles"): _ids,
    (messages.Received, "bundles"): _ids,
    (messages.Attached, "bundles"): _ids,
    (messages.Lost, "bundles"): _ids,
    (messages.Drain, "worker"): _token_or_none,
    (messages.Cancel, "tasks"): _pairs,
    (messages.Withdraw, "bundles"): _ids,
    (messages.Withdraw, "tasks"): _pairs,
    (messages.Credit, "tasks"): _integer(0, limits.QUEUE_TASKS_MAX),
    (messages.Result, "tasks"): _integer(0, limits.IDS_MAX),
    (messages.Recall, "tasks"): _integer(1, limits.CREDIT_MAX),
}


class _Form(NamedTuple):
    """How one class of message stands on the wire."""

    code: int
    message: type[Message]
    values: Callable[[Message], Any]
    checks: tuple[tuple[str, _Check], ...]
    has_body: bool


def _form(code: int, message: type[Message]) -> _Form:
    fields = tuple(message.__annotations__)
    names = [name for name in fields if name != "body"]
    checks = tuple((name, _EXCEPTIONS.get((message, name)) or _FIELDS[name]) for name in names)
    get = attrgetter(*names) if names else lambda _: ()
    values = get if len(names) != 1 else lambda one: (get(one),)
    return _Form(code, message, values, checks, "body" in fields)


_FORM_OF_CODE = {code: _form(code, message) for code, message in TYPE_OF.items()}
_FORM_OF_CLASS = {form.message: form for form in _FORM_OF_CODE.values()}
