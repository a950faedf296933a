"""The engine of a PostgreSQL server: one session, which holds the owner's lock and through which all is written.

    [no session] ──connect, take the lock──▶ [idle] ──begin──▶ [in a transaction] ──commit──▶ [idle]
         ▲                                      │                    │                  └─ no answer ─▶ was it committed?
         └────────────── the session is lost ───┴────────────────────┘                    ask in a new session

A transaction whose session is lost before COMMIT was sent has changed nothing. For one whose COMMIT got no answer the server is
asked by its transaction id, as soon as it can be: so nothing is done twice, and nothing is taken for done that is not.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from hs_common import limits
from hs_common.clock import monotonic, wall
from hs_common.errors import InvalidTransitionError, StoppedError
from hs_common.logs import get_logger
from hs_scheduler.stores import postgres_owner, postgres_schema
from hs_scheduler.stores.engine import Bulk, Cursor, Values
from hs_scheduler.stores.ownership import Owner
from hs_scheduler.stores.postgres_bulk import column, copying, is_plain_insert, updating
from hs_scheduler.stores.postgres_link import (
    REPLY_S,
    Error,
    Session,
    is_lost,
    written,
)
from hs_scheduler.stores.postgres_session import OwnedSession
from hs_scheduler.stores.store import StoreBusyError
from hs_scheduler.tasks.dialect import POSTGRES

log = get_logger("scheduler")

ROWS_AT_ONCE = 2_000
"""That a long answer is fetched in."""


class PostgresDatabase:
    """A database on a server, of which this process is the one owner.

    Args:
        url: Of the database.
        owner: We, as others will read it.
        create: Whether to make the tables where they are missing.
        awaited: Whether to wait for a server that does not answer, `OPEN_WAIT_S`.

    Raises:
        RefusedError: The URL makes no sense.
        StoppedError: Owned by another, without tables, of a newer schema, or out of reach.
        StoreBusyError: Locked, or the session was lost.

    """

    dialect = POSTGRES
    indexed = ""

    def __init__(self, url: str, owner: Owner, *, create: bool, awaited: bool) -> None:
        self._owned = OwnedSession(url, owner)
        self._in_transaction = False
        self._transaction_id = ""
        self._streams = 0
        try:
            session = self._owned.first(awaited=awaited)
            postgres_owner.take(session, self.name, owner)
            postgres_schema.migrate(session, self.name, wall(), create=create)
            postgres_owner.enter(session, owner, wall())
            self._warn_of_lost_commits(session)
        except Error as exc:
            found = self.failure(exc)
            self.close()
            raise found or exc from exc
        except BaseException:
            self.close()
            raise
        session.reply_max_s = REPLY_S

    @property
    def name(self) -> str:
        """The URL without any password."""
        return self._owned.name

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Call `meanwhile`, which takes a moment, over and over while the server keeps us waiting."""
        self._owned.meanwhile = meanwhile

    def close(self) -> None:
        """End the session, and the lock with it; may be called twice."""
        self._owned.close()

    # --- Transactions ---

    def begin(self) -> bool:
        """Begin a transaction; return whether somebody else has written since ours before.

        Raises:
            StoreBusyError: The server cannot be reached at this moment.
            StoppedError: Another owns the database now.

        """
        try:
            self._begin()
        except StoreBusyError:
            if not self._owned.is_lost:
                raise
            # Lost while nothing was under way: nothing speaks against another one at once.
            self._begin()
        self._in_transaction = True
        another, self._owned.another = self._owned.another, False
        return another

    def commit(self) -> None:
        """Commit; find out what became of it where the server did not answer."""
        session = self._connected()
        try:
            said = session.execute("COMMIT").statusmessage
        except Error as exc:
            found = self.failure(exc)
            if not is_lost(session):
                raise found or exc from exc
            if not self._was_committed(exc):
                raise StoreBusyError(f"database {self.name}: the connection was lost") from exc
            said = "COMMIT"
        self._in_transaction = False
        if said != "COMMIT":
            raise InvalidTransitionError(f"the server ended a transaction with {said}")

    def roll_back(self) -> None:
        """End an open transaction; with its session it has ended already."""
        self._in_transaction = False
        if not self._owned.is_lost:
            with suppress(Error):
                self._connected().execute("ROLLBACK")

    # --- Statements ---

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Carry out one statement; a question outside a transaction is asked until it is answered."""
        if self._in_transaction:
            return self._connected().execute(written(statement), values)
        return self._asked(lambda: self._connected().execute(written(statement), values))  # type: ignore[no-any-return]

    def execute_many(self, statement: Bulk, rows: Sequence[Sequence[Any]]) -> int:
        """Carry it out for all rows of values in one go, and return how many rows changed."""
        if not rows:
            return 0
        session = self._connected()
        if is_plain_insert(statement.sql):
            with session.cursor() as cursor, cursor.copy(copying(statement.sql)) as copy:
                for row in rows:
                    copy.write_row(row)
            return len(rows)
        columns = [column(kind, values) for kind, values in zip(statement.kinds, zip(*rows, strict=True), strict=True)]
        text = updating(statement, tuple(many for many, _ in columns))
        values = {f"v{number}": value for number, (_, value) in enumerate(columns)}
        return session.execute(text, values).rowcount

    def stream(self, statement: str, values: Values = ()) -> Generator[Any, None, None]:
        """Give the rows of a query; after a lost session it is asked again, and what was given already is left out."""
        if self._in_transaction:
            yield from self.execute(statement, values)
            return
        given = 0
        while True:
            cursor = self._asked(lambda: self._declared(statement, values))
            try:
                if given:
                    cursor.scroll(given)
                while rows := cursor.fetchmany(ROWS_AT_ONCE):
                    for row in rows:
                        given += 1
                        yield row
            except Error as exc:
                found = self.failure(exc)
                if not isinstance(found, StoreBusyError):
                    raise found or exc from exc
            else:
                return
            finally:
                with suppress(Error):
                    cursor.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the server's errors as ours."""
        try:
            yield
        except Error as exc:
            raise self.failure(exc) or exc from exc

    def failure(self, error: BaseException) -> Exception | None:
        """Return what an error of the server means to us; give up a session that the server has ended."""
        return self._owned.failure(error)

    def last_row(self) -> int:
        """Return the highest number that a row of `task` ever had."""
        (row,) = self.execute(
            "SELECT greatest((SELECT max(row) FROM task), (SELECT value FROM meta WHERE name = 'last_row'))"
        ).fetchone()
        return int(row)

    def announce(self, control: str) -> None:
        """Say where the connection file is by which we can be asked."""
        with self.translated():
            self._owned.announce(control)

    @property
    def fd(self) -> int | None:
        """The session's socket: where nothing was asked, the server has nothing to say but that it ends it."""
        return None if self._owned.is_lost else self._connected().fileno()

    def renew_owner(self, now: float) -> bool:  # noqa: ARG002 - the session says that we are alive
        """See whether there still is a session, open another where not."""
        with self.translated():
            self._connected().execute("SELECT 1")
        return self._owned.another

    def checkpoint(self) -> None:
        """Do nothing: the server tidies up by itself."""

    # --- Private ---

    def _begin(self) -> None:
        with self.translated():
            answers = self._connected().execute("BEGIN; SELECT pg_current_xact_id()::text")
            answers.nextset()
            found = answers.fetchone()
        assert found is not None
        (self._transaction_id,) = found

    def _connected(self) -> Session:
        """Return the session, another one after it was lost; but a transaction ends with its session.

        Raises:
            StoreBusyError: Not now.
            StoppedError: Another owns the database now.

        """
        if self._in_transaction and self._owned.is_lost:
            raise StoreBusyError(f"database {self.name}: the connection was lost")
        return self._owned.connected()

    def _asked(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it returns
        """Ask until there is an answer, for `limits.STORE_WAIT_S`."""
        since = monotonic()
        while True:
            try:
                with self.translated():
                    return ask()
            except StoreBusyError as exc:
                if monotonic() - since > limits.STORE_WAIT_S:
                    raise StoppedError(f"no answer for {limits.STORE_WAIT_S:.0f} s: {exc}") from exc
                self._owned.meanwhile()

    def _declared(self, statement: str, values: Values) -> Any:  # noqa: ANN401 - a cursor
        # Held: it outlives its transaction, so others may come and go while the rows are fetched.
        session = self._connected()
        self._streams += 1
        cursor = session.cursor(name=f"stream_{self._streams}", withhold=True, scrollable=False)
        session.reply_max_s = None
        try:
            cursor.execute(written(statement), values)
        finally:
            session.reply_max_s = REPLY_S
        return cursor

    def _was_committed(self, why: Error) -> bool:
        """Return what became of a transaction whose COMMIT was not answered.

        Raises:
            StoppedError: It could not be found out.

        """
        self._in_transaction = False
        log.warning("store.commit_unknown", database=self.name, error=str(why))
        while True:
            (status,) = self.execute("SELECT pg_xact_status(?::xid8)", (self._transaction_id,)).fetchone()
            if status in ("committed", "aborted"):
                return bool(status == "committed")
            if status is None:
                raise StoppedError(f"database {self.name}: forgot what became of the last transaction: {why}")
            self._owned.meanwhile()

    def _warn_of_lost_commits(self, session: Session) -> None:
        (value,) = session.execute("SHOW synchronous_commit").fetchone() or ("on",)
        if value == "off":
            log.warning("store.not_durable", database=self.name, synchronous_commit=value)
