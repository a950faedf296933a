"""The engine of a PostgreSQL server: one session, which holds the owner's lock and through which all is written.

    [no session] ──connect, take the lock──▶ [idle] ──begin──▶ [in a transaction] ──commit──▶ [idle]
         ▲                                      │                    │                  └─ no answer ─▶ was it committed?
         └────────────── the session is lost ───┴────────────────────┘                    ask in a new session

A transaction whose session is lost before COMMIT was sent has changed nothing. For one whose COMMIT got no answer the server is
asked by its transaction id, as soon as it can be: so nothing is done twice, and nothing is taken for done that is not.
"""

import select
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from hs_common import limits
from hs_common.clock import monotonic, wall
from hs_common.errors import InvalidTransitionError, StoppedError
from hs_common.logs import get_logger
from hs_scheduler.stores import postgres_owner, postgres_schema
from hs_scheduler.stores.engine import Bulk, Cursor, Values
from hs_scheduler.stores.locations import shown
from hs_scheduler.stores.ownership import Owner
from hs_scheduler.stores.postgres_bulk import column, copying, is_plain_insert, updating
from hs_scheduler.stores.postgres_link import (
    CONNECT_S,
    FIRST_CONNECT_S,
    REPLY_S,
    Error,
    Session,
    connect,
    failure,
    is_lost,
    written,
)
from hs_scheduler.stores.store import StoreBusyError
from hs_scheduler.tasks.dialect import POSTGRES

log = get_logger("scheduler")

ROWS_AT_ONCE = 2_000
"""That a long answer is fetched in."""

TRY_MS = 250
"""Between two tries of a question or of a connection, unless somebody else waits for us."""

_ENDED = ("08", "57P")

OPEN_WAIT_S = 10.0
"""How long a server that does not answer is waited for when it is opened by a scheduler that others will not start anew."""

BACK_OFF_MAX_S = 4.0
"""Longest pause between two tries to connect."""


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
        self._url = url
        self._owner = owner
        self._meanwhile: Callable[[], None] = _pause
        self._in_transaction = False
        self._another = False
        self._back_off_s = 0.0
        self._try_at = 0.0
        self._transaction_id = ""
        self._control = ""
        self._streams = 0
        self._session: Session | None = None
        try:
            self._session = self._first_session(awaited=awaited)
            postgres_owner.take(self._session, self.name, owner)
            postgres_schema.migrate(self._session, self.name, wall(), create=create)
            postgres_owner.enter(self._session, owner, wall())
            self._warn_of_lost_commits()
        except Error as exc:
            found = self.failure(exc)
            self.close()
            raise found or exc from exc
        except BaseException:
            self.close()
            raise
        self._session.reply_max_s = REPLY_S

    @property
    def name(self) -> str:
        """The URL without any password."""
        return shown(self._url)

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Call `meanwhile`, which takes a moment, over and over while the server keeps us waiting."""
        self._meanwhile = meanwhile

    def close(self) -> None:
        """End the session, and the lock with it; may be called twice."""
        session, self._session = self._session, None
        if session is None:
            return
        if not is_lost(session):
            # The server learns of the end of a session a moment later: the next owner need not wait for that.
            with suppress(Error):
                session.execute("SELECT pg_advisory_unlock_all()")
        session.close()

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
            if not is_lost(self._session):
                raise
            # Lost while nothing was under way: nothing speaks against another one at once.
            self._begin()
        self._in_transaction = True
        another, self._another = self._another, False
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
        if self._session is not None and not is_lost(self._session):
            with suppress(Error):
                self._session.execute("ROLLBACK")

    # --- Statements ---

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Carry out one statement; a question outside a transaction is asked until it is answered."""
        if self._in_transaction:
            return self._connected().execute(written(statement), values)  # type: ignore[no-any-return]
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
        return session.execute(text, values).rowcount  # type: ignore[no-any-return]

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
        if isinstance(error, Error) and (error.sqlstate or "").startswith(_ENDED) and self._session is not None:
            self._session.close()
        return failure(error, self.name)

    def last_row(self) -> int:
        """Return the highest number that a row of `task` ever had."""
        (row,) = self.execute(
            "SELECT greatest((SELECT max(row) FROM task), (SELECT value FROM meta WHERE name = 'last_row'))"
        ).fetchone()
        return int(row)

    def announce(self, control: str) -> None:
        """Say where the connection file is by which we can be asked."""
        self._control = control
        with self.translated():
            postgres_owner.announce(self._connected(), self._owner, control)

    @property
    def fd(self) -> int | None:
        """The session's socket: where nothing was asked, the server has nothing to say but that it ends it."""
        return None if self._session is None or is_lost(self._session) else self._session.fileno()

    def renew_owner(self, now: float) -> bool:  # noqa: ARG002 - the session says that we are alive
        """See whether there still is a session, open another where not."""
        with self.translated():
            self._connected().execute("SELECT 1")
        return self._another

    def checkpoint(self) -> None:
        """Do nothing: the server tidies up by itself."""

    # --- Private ---

    def _first_session(self, *, awaited: bool) -> Session:
        """Connect; a server that is being started is worth a wait, but not to somebody who may have mistyped its name."""
        until = monotonic() + (OPEN_WAIT_S if awaited else 0)
        timeout_s = CONNECT_S if awaited else FIRST_CONNECT_S
        told = False
        while True:
            try:
                name = postgres_owner.session_name(self._owner)
                return connect(self._url, name=name, writes=True, timeout_s=timeout_s)
            except Error as exc:
                found = self.failure(exc)
                if not isinstance(found, StoreBusyError):
                    raise
                if "resolve host" in str(exc) or monotonic() > until:
                    # A mistyped URL looks like this as well.
                    raise StoppedError(str(found)) from exc
                if not told:
                    log.warning("store.awaited", reason=str(found), wait_max_s=OPEN_WAIT_S)
                    told = True
            self._meanwhile()

    def _begin(self) -> None:
        with self.translated():
            answers = self._connected().execute("BEGIN; SELECT pg_current_xact_id()::text")
            answers.nextset()
            (self._transaction_id,) = answers.fetchone()

    def _connected(self) -> Any:  # noqa: ANN401 - a session
        """Return the session, after opening a new one where it was lost.

        Raises:
            StoreBusyError: Not now.
            StoppedError: Another owns the database now.

        """
        if self._session is not None and not is_lost(self._session):
            return self._session
        if self._in_transaction:
            raise StoreBusyError(f"database {self.name}: the connection was lost")
        if monotonic() < self._try_at:
            raise StoreBusyError(f"database {self.name}: the connection was lost")
        session = None
        try:
            name = postgres_owner.session_name(self._owner)
            session = connect(self._url, name=name, writes=True, timeout_s=CONNECT_S)
            session.reply_max_s = REPLY_S
            postgres_owner.take(session, self.name, self._owner)
            if not postgres_owner.enter(session, self._owner, wall()):
                self._another = True
                postgres_owner.announce(session, self._owner, self._control)
        except BaseException as exc:
            if session is not None:
                session.close()
            self._back_off_s = min(BACK_OFF_MAX_S, self._back_off_s * 2 or TRY_MS / 1000)
            self._try_at = monotonic() + self._back_off_s
            raise self.failure(exc) or exc from exc
        self._session, self._back_off_s = session, 0.0
        log.warning("store.reconnected", database=self.name)
        return session

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
                self._meanwhile()

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
            self._meanwhile()

    def _warn_of_lost_commits(self) -> None:
        assert self._session is not None
        (value,) = self._session.execute("SHOW synchronous_commit").fetchone() or ("on",)
        if value == "off":
            log.warning("store.not_durable", database=self.name, synchronous_commit=value)


def _pause() -> None:
    select.poll().poll(TRY_MS)
