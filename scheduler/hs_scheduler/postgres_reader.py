"""A database on a PostgreSQL server, opened only to look at it: everything that is asked sees the same moment."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from hs_common.errors import StoppedError
from hs_scheduler import postgres_owner, postgres_schema
from hs_scheduler.dialect import POSTGRES
from hs_scheduler.engine import Cursor, Values
from hs_scheduler.locations import shown
from hs_scheduler.ownership import Owner
from hs_scheduler.postgres_functions import Functions
from hs_scheduler.postgres_link import READER_LOCK_MS, Connection, Error, ServerCursor, connect, written

ROWS_AT_ONCE = 2_000


class PostgresReader:
    """Answers questions about a database on a server."""

    dialect = POSTGRES

    def __init__(self, session: Connection) -> None:
        self._session = session
        self._cursors: list[ServerCursor] = []
        self._functions = Functions(self.execute)

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Ask; the rows stay on the server until they are fetched."""
        cursor = self._session.cursor(name=f"answer_{len(self._cursors)}", scrollable=False)
        cursor.itersize = ROWS_AT_ONCE
        self._cursors.append(cursor)
        return cursor.execute(written(self._functions.worked_out(statement)), values)

    def close(self) -> None:
        """Ask no more; may come when the session is lost."""
        for cursor in self._cursors:
            with suppress(Error):
                cursor.close()

    def defined(self, functions: Mapping[str, Callable[[Any], bool]]) -> AbstractContextManager[None]:
        """Let questions call these functions, for a while."""
        return self._functions.defined(functions)


@contextmanager
def reading(url: str) -> Iterator[PostgresReader]:
    """Give a reader.

    Raises:
        RefusedError: The URL makes no sense.
        StoppedError: There is no such database, or it cannot be read now.

    """
    name = shown(url)
    try:
        with connect(url, name="hs task", writes=False, lock_ms=READER_LOCK_MS) as session:
            session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            postgres_schema.check(session, name)
            reader = PostgresReader(session)
            try:
                yield reader
            finally:
                reader.close()
    except Error as exc:
        raise _unread(url, exc) from exc


def holder(url: str) -> Owner | None:
    """Return the process that owns the database now, or None: nobody does.

    Raises:
        RefusedError: The URL makes no sense.
        StoppedError: The server is out of reach.

    """
    try:
        with connect(url, name="hs task", writes=False, lock_ms=READER_LOCK_MS) as session:
            return postgres_owner.holder_of(session) if postgres_schema.version_of(session, shown(url)) else None
    except Error as exc:
        raise _unread(url, exc) from exc


def _unread(url: str, error: Exception) -> StoppedError:
    return StoppedError(f"database {shown(url)}: {' '.join(str(error).split())}")
