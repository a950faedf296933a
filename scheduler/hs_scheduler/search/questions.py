"""A question about many tasks, put to a database and to its archives: how many there are, or which, in one order.

archive 1 ──┐
archive 2 ──┼─ each sorted ──▶ merged ──▶ rows, as they are found
tasks.db  ──┘
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

from hs_common.values import dataclass
from hs_scheduler.stores.engines import dialect_of, open_reader
from hs_scheduler.stores.locations import is_url
from hs_scheduler.tasks.fields import Field, tables_of
from hs_scheduler.tasks.filters import Filter, matching

if TYPE_CHECKING:
    from hs_scheduler.stores.changes import Span
    from hs_scheduler.stores.reader import Reader

Row = Sequence[Any]

Placed = Sequence[Any]
"""What a row is sorted by (None: nothing), its number, its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked."""

    filter: Filter
    fields: tuple[Field, ...]
    order_by: Field | None = None
    """None: by submission."""
    descending: bool = False
    limit: int | None = None
    """Most tasks, None: all."""


def number_of(location: str, question: Question) -> int:
    """Return how many tasks there are.

    Raises:
        RefusedError: The filter makes no sense.
        StoppedError: The database, or an archive of it, cannot be read.

    """
    question.filter.where(dialect_of(location))  # refuses what makes no sense before anything is opened
    with _opened(location) as readers:
        count = sum(counted(reader, question) for reader in readers)
    return min(count, question.limit or count)


def counted(reader: "Reader", question: Question) -> int:
    """Return how many tasks there are in one database, or as many as are asked for."""
    where = question.filter.where(reader.dialect)
    limit = f"LIMIT {question.limit}" if question.limit else ""
    statement = f"SELECT count(*) FROM (SELECT 1 FROM {tables_of(where.sql)} WHERE {where.sql} {limit}) AS found"  # noqa: S608 - ours
    with reader.defined(where.functions):
        return int(reader.execute(statement, where.values).fetchone()[0])


def archived(location: str, tasks: Filter) -> int:
    """Return how many such tasks are in the archives of a database.

    Raises:
        RefusedError: The filter makes no sense.
        StoppedError: The database, or an archive of it, cannot be read.

    """
    if is_url(location):
        return 0
    with _opened(location) as readers:
        return sum(counted(reader, Question(filter=tasks, fields=())) for reader in readers[:-1])


def spans(location: str, tasks: Filter) -> "list[Span]":
    """Return where in the database, archives apart, there are such tasks now.

    Raises:
        RefusedError: The filter makes no sense.
        StoppedError: The database cannot be read.

    """
    from hs_scheduler.stores.changes import PIECE_ROWS, Span, spans_of  # noqa: PLC0415 - a search need not load them

    found, matches = tasks.split()
    where = found.where(dialect_of(location))
    with open_reader(location) as reader:
        if matches:
            columns = ", ".join(["task.row", *(field.sql for field, _ in matches)])
            tables = tables_of(f"{columns} {where.sql}")
            statement = f"SELECT {columns} FROM {tables} WHERE {where.sql} ORDER BY task.row"  # noqa: S608 - ours
            rows = reader.stream(statement, where.values)
            return list(spans_of(row for row, *values in rows if matching(matches, values)))
        statement = (
            f"SELECT (task.row - 1) / {PIECE_ROWS}, count(*), max(task.row) FROM {tables_of(where.sql)}"  # noqa: S608 - ours
            f" WHERE {where.sql} GROUP BY 1 ORDER BY 1"
        )
        # No further than the last one: what is added meanwhile is not meant.
        return [
            Span(int(piece) * PIECE_ROWS + 1, last, count)
            for piece, count, last in reader.execute(statement, where.values).fetchall()
        ]


@contextmanager
def asking(location: str, question: Question) -> Iterator[Iterator[Row]]:
    """Give the raw values of the fields of each task, as they are found.

    Raises:
        RefusedError: The filter makes no sense.
        StoppedError: The database, or an archive of it, cannot be read.

    """
    question.filter.where(dialect_of(location))  # as above
    with _opened(location) as readers, ExitStack() as stack:
        yield in_order([stack.enter_context(placed(reader, question)) for reader in readers], question)


@contextmanager
def placed(reader: "Reader", question: Question) -> Iterator[Iterator[Placed]]:
    """Give what one database has, in order."""
    where = question.filter.where(reader.dialect)
    down = " DESC" if question.descending else ""
    # Said, because the engines do not agree on it: what has no value comes before all values.
    nulls = "NULLS LAST" if question.descending else "NULLS FIRST"
    by = f"{question.order_by.sql}{down} {nulls}, " if question.order_by else ""
    keys = [question.order_by.sql if question.order_by else "NULL", "task.row"]
    columns = ", ".join([*keys, *(field.sql for field in question.fields)])
    limit = f"LIMIT {question.limit}" if question.limit else ""
    tables = tables_of(f"{columns} {where.sql}")
    statement = f"SELECT {columns} FROM {tables} WHERE {where.sql} ORDER BY {by}task.row{down} {limit}"  # noqa: S608 - ours
    # Closed before the functions go, which a question that is not at its end might still call.
    with reader.defined(where.functions), closing(reader.stream(statement, where.values)) as rows:
        yield rows


def in_order(streams: Sequence[Iterator[Placed]], question: Question) -> Iterator[Row]:
    """Return the values of what several databases have, in the order of all, no more than are asked for."""
    rows = streams[0] if len(streams) == 1 else merge(*streams, key=_place, reverse=question.descending)
    return (row[2:] for row in islice(rows, question.limit))


@contextmanager
def _opened(location: str) -> Iterator[list["Reader"]]:
    """Give the database and its archives, the oldest one first, as of one moment."""
    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(location))
        older = []
        if not is_url(location):
            from hs_scheduler.stores import archives  # noqa: PLC0415 - a server has none, and need not load SQLite

            # What is moved into a new archive from now on still is in this database for us.
            reader.execute("BEGIN")
            stack.callback(reader.execute, "COMMIT")
            older = archives.paths(reader, location)
        yield [*(stack.enter_context(open_reader(path)) for path in older), reader]


def _place(row: Placed) -> tuple[bool, Any, int]:
    """Return by what rows of several databases are put in order, as each of them does it."""
    key, number = row[:2]
    return (key is not None, key, number)
