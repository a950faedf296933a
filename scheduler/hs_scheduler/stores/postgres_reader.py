"""A database on a PostgreSQL server, opened only to look at it: everything that is asked sees the same moment."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from hs_common.errors import StoppedError
from hs_scheduler.stores import postgres_schema
from hs_scheduler.stores.engine import Cursor, Values
from hs_scheduler.stores.locations import shown
from hs_scheduler.stores.postgres_functions import Functions
from hs_scheduler.stores.postgres_link import (
    COMMAND_LOCK_MS,
    UNDEFINED,
    Connection,
    Error,
    connect,
    settings,
    written,
)
from hs_scheduler.stores.schema import STEPS
from hs_scheduler.tasks.dialect import POSTGRES

if TYPE_CHECKING:
    from hs_scheduler.stores.ownership import Owner

ROWS_AT_ONCE = 2_000

_SETTINGS = settings(COMMAND_LOCK_MS)
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresReader:
    """Answers questions about a database on a server."""

    dialect = POSTGRES

    def __init__(self, session: Connection) -> None:
        self._session = session
        self._streams = 0
        self._functions = Functions(self.stream)

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Ask; the whole answer comes in one trip."""
        return self._session.execute(written(self._functions.worked_out(statement)), values)

    def stream(self, statement: str, values: Values = ()) -> Generator[Any, None, None]:
        """Give the rows of a query, which stay on the server until they are fetched."""
        statement = self._functions.worked_out(statement)
        self._streams += 1
        cursor = self._session.cursor(name=f"stream_{self._streams}", scrollable=False)
        cursor.itersize = ROWS_AT_ONCE
        try:
            yield from cursor.execute(written(statement), values)
        finally:
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
        with closing(connect(url, name="hs task", writes=False)) as session:
            _begin(session, name)
            yield PostgresReader(session)
    except Error as exc:
        raise _unread(url, exc) from exc


def holder(url: str) -> "Owner | None":
    """Return the process that owns the database now, or None: nobody does.

    Raises:
        RefusedError: The URL makes no sense.
        StoppedError: The server is out of reach.

    """
    from hs_scheduler.stores import postgres_owner  # noqa: PLC0415 - a search need not load it

    with _tables(url) as session:
        return None if session is None else postgres_owner.holder_of(session)


def was_lost(url: str) -> bool:
    """Whether the last owner of the database has not ended in order: it was killed, or has lost its session.

    Raises:
        RefusedError: The URL makes no sense.
        StoppedError: The server is out of reach.

    """
    from hs_scheduler.stores import postgres_owner  # noqa: PLC0415 - as above

    with _tables(url) as session:
        return session is not None and postgres_owner.was_lost(session)


@contextmanager
def _tables(url: str) -> Iterator[Connection | None]:
    """Give a session, or None where the database has no tables of ours."""
    try:
        with closing(connect(url, name="hs task", writes=False)) as session:
            session.execute(_SETTINGS)
            yield session if postgres_schema.version_of(session, shown(url)) else None
    except Error as exc:
        raise _unread(url, exc) from exc


def _begin(session: Connection, name: str) -> None:
    """Begin at a moment at which the tables are those that we know: in one trip, where nothing is wrong with them."""
    try:
        answers = session.execute(f"{_SETTINGS}; {_BEGIN}; {postgres_schema.VERSION}")
        (version,) = answers.set_result(-1).fetchone() or (0,)
    except UNDEFINED:
        version = 0
    if version != len(STEPS):
        session.rollback()
        session.execute(f"{_SETTINGS}; {_BEGIN}")
        postgres_schema.check(session, name)


def _unread(url: str, error: Exception) -> StoppedError:
    return StoppedError(f"database {shown(url)}: {' '.join(str(error).split())}")
