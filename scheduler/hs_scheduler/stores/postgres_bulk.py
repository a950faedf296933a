"""Statements that go over many rows at once, as PostgreSQL does them in one go: COPY, and what takes its values from arrays."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hs_scheduler.stores.engine import Bulk

_JOINED = {"UPDATE": " FROM", "DELETE": " USING", "INSERT": ","}
"""How a statement of each kind names one more table, before its WHERE; the INSERT has a SELECT."""

_TYPES = {"INTEGER": "bigint", "REAL": "double precision", "TEXT": "text", "BLOB": "bytea"}


def column(kind: str, values: Sequence[Any]) -> tuple[bool, Any]:
    """Return whether the rows have different values, and them (as an array), or the one."""
    first = values[0]
    if values.count(first) == len(values):
        return False, first
    if kind in ("INTEGER", "REAL"):
        # The text of an array: of numbers it is written faster here than by the driver.
        return True, f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"
    return True, list(values)


@lru_cache(256)
def updating(statement: Bulk, many: tuple[bool, ...]) -> str:
    """Return a statement over many rows at once; many: which of its values differ from row to row."""
    values = [
        f"given.v{number}" if differs else f"%(v{number})s::{_TYPES[kind]}"
        for number, (kind, differs) in enumerate(zip(statement.kinds, many, strict=True))
    ]
    following = iter(values)
    text = re.sub(r"\?", lambda _: next(following), statement.sql)
    differing = [number for number, differs in enumerate(many) if differs]
    if not differing:
        return text
    arrays = ", ".join(f"%(v{number})s::{_TYPES[statement.kinds[number]]}[]" for number in differing)
    names = ", ".join(f"v{number}" for number in differing)
    joined = _JOINED[statement.sql.split(maxsplit=1)[0]]
    return re.sub(r"\sWHERE ", f"{joined} unnest({arrays}) AS given ({names}) WHERE ", text, count=1)


def is_plain_insert(sql: str) -> bool:
    """Whether it inserts nothing but its values: then `copying` does."""
    return sql.startswith("INSERT") and " VALUES " in sql


@lru_cache(16)
def copying(insert: str) -> str:
    """Return the COPY that does what an INSERT of all its values does."""
    return f"COPY {insert[len('INSERT INTO ') : insert.index(' VALUES')]} FROM STDIN"
