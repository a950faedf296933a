r"""How tasks are printed: for people (normal, table, plain), for programs (csv, json). Line by line, as they are found.

Commands and paths are bytes: what is not UTF-8 is shown as `\xHH`. For people control characters are shown so too, for a
command line must not be able to steer the terminal of who looks at it.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from hs_common.printable import printable
from hs_scheduler.tasks.fields import Field, shown

Row = Sequence[Any]

MEASURED_ROWS = 500
"""Rows from which the widths of a table are taken; a later value that is longer just sticks out."""

COLUMN_MAX = 60
"""Characters to which a column of a table is widened."""

TABLE_FIELDS = ("id", "state", "attempt", "exit_status", "duration", "worker_host", "args")
"""Those of a table or of plain lines, when none are named."""


def as_json(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    """Yield one document: an array of objects."""
    before = "[\n"
    for row in rows:
        yield before + json.dumps({field.name: plain(value) for field, value in _values(fields, row)})
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def as_csv(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    """Yield a header and a line each; no value is an empty cell."""
    yield _csv_line([field.name for field in fields])
    for row in rows:
        yield _csv_line(["" if value is None else _text(value) for _, value in _values(fields, row)])


def as_plain(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line each, values apart by tabs, without header."""
    for row in rows:
        yield "\t".join(_printable(value) for _, value in _values(fields, row)) + "\n"


def as_normal(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    """Yield a block of lines each, with the fields that have a value."""
    width = max(len(field.name) for field in fields)
    before = ""
    for row in rows:
        lines = [
            f"{field.name.rjust(width)}: {_printable(value)}\n"
            for field, value in _values(fields, row)
            if value not in (None, {})
        ]
        yield before + "".join(lines)
        before = "\n"


def as_table(fields: Sequence[Field], rows: Iterable[Row]) -> Iterator[str]:
    """Yield a header and a line each, in columns."""
    texts = ([_printable(value) for _, value in _values(fields, row)] for row in rows)
    measured = [[field.name for field in fields], *islice(texts, MEASURED_ROWS)]
    widths = [min(COLUMN_MAX, max(map(len, column))) for column in zip(*measured, strict=True)]
    right = [field.kind in ("integer", "real") for field in fields]
    for cells in _both(measured, texts):
        line = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(cells, widths, right, strict=True)
        ]
        yield "  ".join(line).rstrip() + "\n"


FORMATS: dict[str, Callable[[Sequence[Field], Iterable[Row]], Iterator[str]]] = {
    "normal": as_normal,
    "plain": as_plain,
    "table": as_table,
    "csv": as_csv,
    "json": as_json,
}


def plain(value: object) -> object:
    r"""Return a value as JSON can hold it: bytes that are no UTF-8 are shown as `\xHH`."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def _values(fields: Sequence[Field], row: Row) -> Iterator[tuple[Field, Any]]:
    for field, raw in zip(fields, row, strict=True):
        yield field, shown(field, raw)


def _text(value: object) -> str:
    found = plain(value)
    return json.dumps(found) if isinstance(found, dict) else str(found)


def _printable(value: object) -> str:
    return "" if value is None else printable(_text(value))


def _csv_line(cells: Sequence[str]) -> str:
    """Return a line as RFC 4180 has it, but for the plain newline."""
    return (
        ",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' if re.search('[,"\r\n]', cell) else cell for cell in cells)
        + "\n"
    )


def _both(first: Iterable[list[str]], then: Iterable[list[str]]) -> Iterator[list[str]]:
    yield from first
    yield from then
