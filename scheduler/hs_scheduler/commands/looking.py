"""Who answers questions about a database: the file itself, or its scheduler where that has the file to itself.

on a local disk, on a server, owned by nobody ──▶ `questions`
on a network file system, owned by a scheduler ──▶ a request for each page (`pages`); archives nobody writes: they are read here
the scheduler left in the middle, nobody owns it now ──▶ the next page out of the file

What is printed is the same either way, for values come raw. But the pages are of different moments.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import msgpack

from hs_common.client import Client, NobodyError
from hs_common.errors import StoppedError
from hs_common.filesystems import network_name
from hs_scheduler import archives, questions
from hs_scheduler.asking import pack_ids, pack_info, pack_look, pack_page, unpack_info, unpack_page
from hs_scheduler.commands.live import OWNERS_MAX, client_of
from hs_scheduler.engines import open_reader
from hs_scheduler.filters import Filter
from hs_scheduler.locations import is_url
from hs_scheduler.pages import Look, page_of, task_of
from hs_scheduler.questions import Placed, Question, Row
from hs_scheduler.reader import Reader


@contextmanager
def asking(location: str, question: Question) -> Iterator[Iterator[Row]]:
    """Give the raw values of the fields of each task, as they are found; see `questions.asking`."""
    with ExitStack() as stack:
        scheduler = scheduler_of(location)
        if scheduler is None:
            yield stack.enter_context(questions.asking(location, question))
            return
        stack.callback(scheduler.close)
        rows = scheduler.placed(question)
        older = [stack.enter_context(open_reader(path)) for path in scheduler.archives()]
        streams = [stack.enter_context(questions.placed(reader, question)) for reader in older]
        yield questions.in_order([*streams, rows], question)


def number_of(location: str, question: Question) -> int:
    """Return how many tasks there are; see `questions.number_of`."""
    scheduler = scheduler_of(location)
    if scheduler is None:
        return questions.number_of(location, question)
    with closing(scheduler):
        count = sum(count for *_, count in scheduler.pieces(question.filter))
        for path in scheduler.archives():
            with open_reader(path) as reader:
                count += questions.counted(reader, question)
    return min(count, question.limit or count)


def pieces_of(location: str, tasks: Filter) -> list[tuple[int, int, int]]:
    """Return (first row, last row, tasks) of each piece that has such tasks; see `questions.pieces_of`."""
    scheduler = scheduler_of(location)
    if scheduler is None:
        return questions.pieces_of(location, tasks)
    with closing(scheduler):
        return list(scheduler.pieces(tasks))


def scheduler_of(location: str) -> "Scheduler | None":
    """Return the scheduler that has to be asked about this database; None: it can be read.

    Raises:
        StoppedError: It is owned by a process that cannot be asked, or not from here.

    """
    if (
        is_url(location)
        or not os.path.isfile(location)
        or not network_name(os.path.dirname(os.path.realpath(location)))
    ):
        return None
    client = client_of(location)
    return None if client is None else Scheduler(location, client)


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

    def pieces(self, tasks: Filter) -> Iterator[tuple[int, int, int]]:
        """Yield (first row, last row, tasks) of each piece that has such tasks."""
        for rows in self._pages(Look(tasks, None)):
            yield from ((first, last, count) for first, last, count in rows)

    def placed(self, question: Question) -> Iterator[Placed]:
        """Yield what the database has, in order."""
        if question.order_by is None:
            return self._by_number(question)
        return _sorted(self._with_keys(question), question)

    def _by_number(self, question: Question) -> Iterator[Placed]:
        for rows in self._pages(Look(question.filter, question.fields, downwards=question.descending)):
            yield from ((None, *row) for row in rows)

    def _with_keys(self, question: Question) -> Iterator[Placed]:
        assert question.order_by is not None
        for rows in self._pages(Look(question.filter, (question.order_by, *question.fields))):
            yield from ((key, number, *values) for number, key, *values in rows)

    def _pages(self, look: Look) -> Iterator[list[list[Any]]]:
        """Yield the rows of page after page, each when it is wanted."""
        look.filter.where()  # refuses what makes no sense, and then it can be packed
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
