"""Conditions on tasks: the text that users type, checked and turned into SQL with parameters.

    exit_status >= 3      args ~ ^echo      state == DONE      submit_time > 2026-01-31T12:00      reason == null

A field without value satisfies `== null` and nothing else.
"""

import os
import re
from collections.abc import Callable
from math import isnan
from typing import Any, NamedTuple

from hs_common import limits
from hs_common.errors import RefusedError
from hs_scheduler.tasks.dialect import Dialect
from hs_scheduler.tasks.fields import BY_NAME, Field, shown
from hs_scheduler.tasks.state import FAILED, State
from hs_scheduler.tasks.tags import TagError, parse_tag

_CONDITION = r"\s*(\w+)\s*(==|!=|>=|<=|>|<|~|=)\s*(.*?)\s*"
_ORDERED = ("integer", "real", "time")


class Condition(NamedTuple):
    """A condition as SQL."""

    sql: str
    values: tuple[Any, ...]
    function: Callable[[Any], bool] | None = None
    """What `{function}` in `sql` calls with a raw value."""
    field: Field | None = None
    """Whose value that is."""


FAILED_ONLY = Condition(FAILED, ())
SUCCEEDED_ONLY = Condition(f"task.state = {State.DONE:d} AND NOT {FAILED}", ())
COMPLETED_ONLY = Condition(f"task.state >= {State.DONE:d}", ())
REMAINING_ONLY = Condition(f"task.state < {State.DONE:d}", ())


def field_named(name: str) -> Field:
    """Return the public field of that name.

    Raises:
        RefusedError: There is none.

    """
    if name not in BY_NAME:
        raise RefusedError(f"there is no field {name or repr(name)}: the fields are {' '.join(BY_NAME)}")
    return BY_NAME[name]


def parse_condition(text: str) -> Condition:
    """Return what a `-w` asks for.

    Raises:
        RefusedError: What in it makes no sense.

    """
    match = re.fullmatch(_CONDITION, text, re.DOTALL)
    if match is None or match[2] == "=":
        raise RefusedError(f"condition {text!r}: is not FIELD OPERATOR VALUE with one of == != > >= < <= ~")
    name, operator, value = match.groups()
    field = field_named(name)
    if not value:
        raise RefusedError(f"condition {text!r}: has no value")
    if operator == "~":
        return _matching(field, value, text)
    if value == "null":
        if operator not in ("==", "!="):
            raise RefusedError(f"condition {text!r}: null is neither more nor less than anything")
        return Condition(f"{field.sql} IS {'' if operator == '==' else 'NOT '}NULL", ())
    if field.kind == "json":
        raise RefusedError(f"condition {text!r}: tags are asked for with -t KEY:VALUE")
    if operator not in ("==", "!=") and field.kind in ("state", "uuid"):
        raise RefusedError(f"condition {text!r}: {field.name} has no order, only == and != make sense")
    return Condition(f"{field.sql} {'=' if operator == '==' else operator} ?", (_value(field, value, text),))


def tagged(text: str, dialect: Dialect) -> Condition:
    """Return the condition of a `-t`: KEY (with any value) or KEY:VALUE; dialect: of the engine that will be asked.

    Raises:
        RefusedError: It is no tag.

    """
    try:
        key, value = parse_tag(text)
    except TagError as exc:
        raise RefusedError(f"bad tag {exc}") from exc
    if key in ("group", "priority", "cores", "memory", "timeout"):
        raise RefusedError(f"{key} is a field, no tag: use -w '{key} == ...'")
    return Condition(*(dialect.tag_is(key, value) if ":" in text else dialect.has_tag(key)))


def in_group(group: int) -> Condition:
    """Return the condition of a `-g`.

    Raises:
        RefusedError: No group can have such a number.

    """
    if not -limits.ID_MAX <= group <= limits.ID_MAX:
        raise RefusedError(f"there is no group {group}: it has more than 63 bits")
    return Condition('task."group" = ?', (group,))


def _matching(field: Field, value: str, text: str) -> Condition:
    try:
        if field.kind == "bytes":
            in_bytes = re.compile(os.fsencode(value))
            return Condition(
                f"{{function}}({field.sql})", (), lambda raw: bool(raw is not None and in_bytes.search(raw)), field
            )
        pattern = re.compile(value)
    except re.error as exc:
        raise RefusedError(f"condition {text!r}: {value!r} is no regular expression: {exc}") from exc
    return Condition(
        f"{{function}}({field.sql})",
        (),
        lambda raw: bool(raw is not None and pattern.search(raw if field.kind == "json" else str(shown(field, raw)))),
        field,
    )


def _value(field: Field, value: str, text: str) -> Any:  # noqa: ANN401 - what the column holds
    try:
        match field.kind:
            case "integer":
                return _integer(value)
            case "real":
                return _number(float(value))
            case "time":
                return _number(_instant(value))
            case "uuid":
                raw = bytes.fromhex(value.replace("-", ""))
                return raw if len(raw) == 16 else _no(f"{value} has not 32 digits")  # noqa: PLR2004 - a UUID
            case "state":
                return State[value.upper()].value
            case "bytes":
                return os.fsencode(value)
            case "text":
                value.encode()  # no text is anything but UTF-8
    except (ValueError, KeyError, OverflowError) as exc:
        expected = {"state": f"one of {' '.join(State.__members__)}", "time": "a time such as 2026-01-31T12:00:00Z"}
        what = expected.get(field.kind, f"{'an' if field.kind[0] in 'aeiou' else 'a'} {field.kind}")
        raise RefusedError(f"condition {text!r}: {value!r} is not {what}") from exc
    return value


def _integer(value: str) -> int:
    """Return a number that a column can be compared with."""
    number = int(value)
    if not -limits.ID_MAX <= number <= limits.ID_MAX:
        raise ValueError(f"{value} has more than 63 bits")
    return number


def _number(value: float) -> float:
    """Return it, unless it is none: engines do not agree on what is less than NaN."""
    if isnan(value):
        raise ValueError("not a number")
    return value


def _instant(value: str) -> float:
    """Return seconds since the epoch; a time without zone is UTC, as everything that we show."""
    try:
        return float(value)
    except ValueError:
        from datetime import UTC, datetime  # noqa: PLC0415 - rarely needed, and it takes a while to load

        instant = datetime.fromisoformat(value)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _no(reason: str) -> bytes:
    raise ValueError(reason)
