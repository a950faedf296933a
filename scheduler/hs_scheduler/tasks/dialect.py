"""What the engines write differently in questions about tasks. Values are `?` for both.

Everything else is written in the part of SQL that both understand; what must be said for that: `=` (not `==`), `NULLS FIRST`
or `NULLS LAST` in each ORDER BY, quotes around "group" and "offset", CASE instead of scalar min and max, 0 and 1 for the flags.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from hs_common.tasks import Tag


class Sql(NamedTuple):
    """A condition, with its values."""

    text: str
    values: tuple[Any, ...] = ()


class Dialect(NamedTuple):
    """How an engine is asked for tags, which are a JSON object in a column of text."""

    has_tag: Callable[[str], Sql]
    """Whether a key is there, with any value."""
    tag_is: Callable[[str, Tag], Sql]
    """Whether a key has this value, and a value of this kind."""


def _sqlite_has(key: str) -> Sql:
    return Sql("json_type(task.tag, ?) IS NOT NULL", (_path(key),))


def _sqlite_is(key: str, value: Tag) -> Sql:
    kind, path = "json_type(task.tag, ?)", _path(key)
    if value is None or isinstance(value, bool):
        return Sql(f"{kind} = ?", (path, "null" if value is None else str(value).lower()))
    kinds = "'text'" if isinstance(value, str) else "'integer', 'real'"
    return Sql(f"{kind} IN ({kinds}) AND json_extract(task.tag, ?) = ?", (path, path, value))


def _path(key: str) -> str:
    # The characters of a key were checked when it was parsed: none of them means anything inside these quotes.
    return f'$."{key}"'


def _postgres_has(key: str) -> Sql:
    return Sql("task.tag::json -> ?::text IS NOT NULL", (key,))


def _postgres_is(key: str, value: Tag) -> Sql:
    kind = "json_typeof(task.tag::json -> ?::text)"
    if value is None:
        return Sql(f"{kind} = 'null'", (key,))
    got = "task.tag::json ->> ?::text"
    if isinstance(value, bool):
        return Sql(f"{kind} = 'boolean' AND {got} = ?::text", (key, key, str(value).lower()))
    if isinstance(value, str):
        return Sql(f"{kind} = 'string' AND {got} = ?::text", (key, key, value))
    # By CASE: AND does not say what is computed first, and a text is no number.
    return Sql(f"CASE WHEN {kind} = 'number' THEN ({got})::numeric = ? ELSE false END", (key, key, value))


SQLITE = Dialect(_sqlite_has, _sqlite_is)
POSTGRES = Dialect(_postgres_has, _postgres_is)
