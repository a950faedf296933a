"""A database read through the scheduler that has it to itself: a request for each page, see `pages`.

The scheduler left in the middle, and nobody owns the database now ──▶ the next page out of the file. The pages are of different
moments.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import msgpack

from hs_common.client import Client, NobodyError
from hs_common.errors import StoppedError
from hs_scheduler.commands.live import OWNERS_MAX, client_of
from hs_scheduler.search.questions import Placed, Question, Row
from hs_scheduler.serving.asking import pack_ids, pack_info, pack_look, pack_page, unpack_info, unpack_page
from hs_scheduler.stores import archives
from hs_scheduler.stores.changes import Span, spans_of
from hs_scheduler.stores.engines import open_reader
from hs_scheduler.stores.pages import Look, page_of, task_of
from hs_scheduler.stores.reader import Reader
from hs_scheduler.tasks.fields import Field
from hs_scheduler.tasks.filters import Filter, matching


class Scheduler:
    """The scheduler that owns a database, or whoever does by the time of a request.

    Args:
        location: Path of the database.
        client: Of the one that owns it now.

    """

    def __init__(self, location: str, client: Client) -> None:
        self._location = location
        self._client: Client | None = client
        self._archives: int | None = None

    def close(self) -> None:
        """Say goodbye."""
        if self._client is not None:
            self._client.close()

    def archives(self) -> list[str]:
        """Return the paths of the archives that the database had at the first answer, the oldest first."""
        if self._archives is None:
            next(self._pages(Look(Filter(), None, last=1)))
        assert self._archives is not None
        return archives.first_paths(self._location, self._archives)

    def task(self, uid: bytes) -> Sequence[Any] | None:
        """Return the raw values of `FIELDS` of the task with this id; None: the database itself does not have it."""

        def out_of(reader: Reader) -> bytes:
            return pack_info(archives.count_of(reader), task_of(reader, uid))

        self._archives, values = unpack_info(self._ask("info", pack_ids([uid]), out_of))
        return values

    def spans(self, tasks: Filter) -> Iterator[Span]:
        """Yield where such tasks are."""
        found, matches = tasks.split()
        if matches:
            yield from spans_of(number for number, *_ in self._rows(tasks, ()))
            return
        for rows in self._pages(Look(found, None)):
            yield from (Span(first, last, count) for first, last, count in rows)

    def placed(self, question: Question) -> Iterator[Placed]:
        """Yield what the database has, in order."""
        if question.order_by is None:
            rows = self._rows(question.filter, question.fields, downwards=question.descending)
            return ((None, *row) for row in rows)
        keyed = self._rows(question.filter, (question.order_by, *question.fields))
        return _sorted(((key, number, *values) for number, key, *values in keyed), question)

    def _rows(self, tasks: Filter, fields: Sequence[Field], *, downwards: bool = False) -> Iterator[Row]:
        """Yield number and values of each task that is meant; what the scheduler leaves to us is looked at here."""
        found, matches = tasks.split()
        width = 1 + len(fields)
        for rows in self._pages(Look(found, (*fields, *(field for field, _ in matches)), downwards=downwards)):
            for row in rows:
                if matching(matches, row[width:]):
                    yield row[:width]

    def _pages(self, look: Look) -> Iterator[list[list[Any]]]:
        """Yield the rows of page after page, each when it is wanted."""
        look.filter.where()  # refuses what makes no sense: what is left can be packed
        while True:

            def out_of(reader: Reader, look: Look = look) -> bytes:
                return pack_page(page_of(reader, look, lambda: False))

            page = unpack_page(self._ask("search", pack_look(look), out_of))
            if page.archives != (self._archives if self._archives is not None else page.archives):
                raise StoppedError(f"tasks of {self._location} were moved to an archive meanwhile: ask again")
            self._archives = page.archives
            yield page.rows
            if page.last < page.first:
                return
            look = look._replace(first=page.first, last=page.last)

    def _ask(self, verb: str, body: bytes, out_of: Callable[[Reader], bytes]) -> bytes:
        """Return the answer of whoever owns the database by now; `out_of` finds it where nobody does."""
        for tries_left in reversed(range(OWNERS_MAX)):
            if self._client is None:
                self._client = client_of(self._location)
            if self._client is None:
                with open_reader(self._location) as reader:
                    return out_of(reader)
            try:
                return self._client.ask(verb, body)
            except NobodyError:
                if not tries_left:
                    raise
                self._client.close()
                self._client = None
        raise AssertionError("the last try returns or raises")


def _sorted(rows: Iterator[Placed], question: Question) -> Iterator[Placed]:
    """Yield rows in their order: SQLite's, out of a file of its own where they are too many for its cache."""
    down, nulls = ("DESC", "LAST") if question.descending else ("", "FIRST")
    limit = f"LIMIT {question.limit}" if question.limit else ""
    with closing(sqlite3.connect("", isolation_level=None)) as kept:
        kept.execute("PRAGMA journal_mode = OFF")
        kept.execute("CREATE TABLE found (number INTEGER PRIMARY KEY, key, packed BLOB)")
        kept.execute("BEGIN")
        kept.executemany(
            "INSERT INTO found VALUES (?, ?, ?)",
            ((number, key, msgpack.packb(values)) for key, number, *values in rows),
        )
        statement = f"SELECT key, number, packed FROM found ORDER BY key {down} NULLS {nulls}, number {down} {limit}"  # noqa: S608 - ours
        for key, number, packed in kept.execute(statement):
            yield (key, number, *msgpack.unpackb(packed))
