"""What a scheduler reads for others out of a database that only it can open: a page at a time, and never more.

    rows 1 ... 700  |  701 ............... 1,000,000
      pages read           what is left: first, last      one more page is read from its start (downwards: from its end)

Nothing is kept between two pages: who asks says where to go on, to whoever owns the database by then. A page is as of the moment
at which it is read. What is left ends with the row that was the newest when the first page was read: so reading comes to an end.
Regular expressions are for who asks: one can take a day for a single row.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from hs_scheduler.stores import archives
from hs_scheduler.stores.changes import PIECE_ROWS
from hs_scheduler.stores.reader import Answering
from hs_scheduler.tasks.fields import FIELDS, FROM, Field, tables_of
from hs_scheduler.tasks.filters import Filter, Where

PAGE_BYTES = 256 * 1024
"""From so much on a page is full; the row that fills it is in it, however long its command is."""

STEP_ROWS = 200
"""Rows of the table that are looked at before `enough` is asked again; `PIECE_ROWS` where they are only counted."""

_NUMBER_BYTES = 8

_TASK = f"SELECT {', '.join(field.sql for field in FIELDS)} FROM {FROM} WHERE task.uid = ?"  # noqa: S608 - ours


class Look(NamedTuple):
    """What is asked for, and where to go on."""

    filter: Filter
    """Without regular expressions (`Filter.split`)."""
    fields: tuple[Field, ...] | None
    """None: only how many tasks there are."""
    first: int = 1
    """Lowest row that is left."""
    last: int = 0
    """Highest one; 0: that of the newest task."""
    downwards: bool = False
    """From the last one to the first."""


class Page(NamedTuple):
    """What was found, and what is left."""

    archives: int
    """How many the database has by now; what is in them is in no page."""
    first: int
    last: int
    """Rows that are left; below `first`: none."""
    rows: list[list[Any]]
    """Number of the row and raw values of the fields; without fields: first row, last row found, and tasks of a piece."""


def page_of(reader: Answering, look: Look, enough: Callable[[], bool]) -> Page:
    """Read one page.

    Args:
        reader: Of the database.
        look: What is asked for.
        enough: Whether a page that is not full has to do.

    Raises:
        RefusedError: The filter makes no sense.

    """
    where = look.filter.where(reader.dialect)
    assert not where.functions, "they are left to who asks"
    first, last = look.first, look.last or _newest(reader)
    rows: list[list[Any]] = []
    room = PAGE_BYTES
    while first <= last:
        low, high = _step(look, first, last)
        if look.fields is None:
            rows += _counted(reader, where, low, high)
        else:
            found, room = _found(reader, look, where, (low, high), room)
            rows += found
            if room <= 0:
                low = high = found[-1][0]
        if look.downwards:
            last = low - 1
        else:
            first = high + 1
        if room <= 0 or enough():
            break
    return Page(archives.count_of(reader), first, last, rows)


def task_of(reader: Answering, uid: bytes) -> list[Any] | None:
    """Return the raw values of `FIELDS` of the task with this id, or None: the database does not have it."""
    found = reader.execute(_TASK, (uid,)).fetchone()
    return None if found is None else list(found)


def _newest(reader: Answering) -> int:
    (row,) = reader.execute("SELECT coalesce(max(row), 0) FROM task").fetchone()
    return int(row)


def _step(look: Look, first: int, last: int) -> tuple[int, int]:
    """Return the rows that are looked at next."""
    if look.fields is None:
        # Up to the end of a piece as updates have it: what is counted together is changed together.
        return first, min(last, (first - 1) // PIECE_ROWS * PIECE_ROWS + PIECE_ROWS)
    if look.downwards:
        return max(first, last - STEP_ROWS + 1), last
    return first, min(last, first + STEP_ROWS - 1)


def _counted(reader: Answering, where: Where, low: int, high: int) -> list[list[Any]]:
    """Return how many there are from row `low` to `high`, if there are any."""
    statement = (
        f"SELECT count(*), max(task.row) FROM {tables_of(where.sql)} WHERE task.row BETWEEN ? AND ? AND {where.sql}"  # noqa: S608 - ours
    )
    count, last = reader.execute(statement, (low, high, *where.values)).fetchone()
    return [[low, last, count]] if count else []


def _found(
    reader: Answering, look: Look, where: Where, span: tuple[int, int], room: int
) -> tuple[list[list[Any]], int]:
    """Return the rows of a span for which there is room, in bytes, and how much of it is left: none, if some were left out."""
    assert look.fields is not None, "only then there are rows"
    columns = ", ".join(["task.row", *(field.sql for field in look.fields)])
    statement = (
        f"SELECT {columns} FROM {tables_of(f'{columns} {where.sql}')} WHERE task.row BETWEEN ? AND ? AND {where.sql}"  # noqa: S608 - ours
        f" ORDER BY task.row {'DESC' if look.downwards else 'ASC'}"
    )
    rows = []
    cursor = reader.execute(statement, (*span, *where.values))
    for row in cursor:
        rows.append(list(row))
        room -= sum(len(value) if isinstance(value, bytes | str) else _NUMBER_BYTES for value in row)
        if room <= 0:
            break
    # A question that is not at its end would keep a state of the database.
    cursor.close()
    return rows, room
