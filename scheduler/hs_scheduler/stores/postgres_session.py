"""The session of the owner of a database on a server: waited for, found lost, opened again.

[no session] ──connect, take the lock──▶ [session] ──lost──▶ [no session], and each try in vain makes the pause to the next longer
"""

import select
from collections.abc import Callable
from contextlib import suppress

from hs_common.clock import monotonic, wall
from hs_common.errors import StoppedError
from hs_common.logs import get_logger
from hs_scheduler.stores import postgres_owner
from hs_scheduler.stores.locations import shown
from hs_scheduler.stores.ownership import Owner
from hs_scheduler.stores.postgres_link import (
    COMMAND_LOCK_MS,
    CONNECT_S,
    FIRST_CONNECT_S,
    LOCK_MS,
    REPLY_S,
    Error,
    Session,
    connect,
    failure,
    is_lost,
)
from hs_scheduler.stores.store import StoreBusyError

log = get_logger("scheduler")

TRY_MS = 250
"""Between two tries of a question or of a connection, unless somebody else waits for us."""

OPEN_WAIT_S = 10.0
"""How long a server that does not answer is waited for when it is opened by a scheduler that others will not start anew."""

BACK_OFF_MAX_S = 4.0
"""Longest pause between two tries to connect."""

_ENDED = ("08", "57P")
"""SQLSTATEs of a session that the server has ended."""


class OwnedSession:
    """At most one session at a time.

    Args:
        url: Of the database.
        owner: We, as others will read it.

    """

    def __init__(self, url: str, owner: Owner) -> None:
        self._url = url
        self._owner = owner
        self._session: Session | None = None
        self._control = ""
        self._back_off_s = 0.0
        self._try_at = 0.0
        self.another = False
        """Whether somebody else owned the database between two of our sessions: the caller resets it."""
        self.meanwhile: Callable[[], None] = _pause
        """Takes a moment; called over and over while the server keeps us waiting."""

    @property
    def name(self) -> str:
        """The URL without any password."""
        return shown(self._url)

    @property
    def is_lost(self) -> bool:
        """Whether there is no session, or one that is of no use any more."""
        return self._session is None or is_lost(self._session)

    def first(self, *, awaited: bool) -> Session:
        """Connect; a server that is being started is worth a wait, but not to somebody who may have mistyped its name.

        Raises:
            StoppedError: The server does not answer.

        """
        until = monotonic() + (OPEN_WAIT_S if awaited else 0)
        told = False
        while True:
            try:
                self._session = self._connect(CONNECT_S if awaited else FIRST_CONNECT_S)
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
            else:
                return self._session
            self.meanwhile()

    def connected(self) -> Session:
        """Return the session, after opening a new one where it was lost.

        Raises:
            StoreBusyError: Not now.
            StoppedError: Another owns the database now.

        """
        if self._session is not None and not is_lost(self._session):
            return self._session
        if monotonic() < self._try_at:
            raise StoreBusyError(f"database {self.name}: the connection was lost")
        session = None
        try:
            session = self._connect(CONNECT_S)
            session.reply_max_s = REPLY_S
            postgres_owner.take(session, self.name, self._owner)
            if not postgres_owner.enter(session, self._owner, wall()):
                self.another = True
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

    def announce(self, control: str) -> None:
        """Say where the connection file is by which we can be asked; again after somebody else was the owner."""
        self._control = control
        postgres_owner.announce(self.connected(), self._owner, control)

    def failure(self, error: BaseException) -> Exception | None:
        """Return what an error of the server means to us; give up a session that the server has ended."""
        if isinstance(error, Error) and (error.sqlstate or "").startswith(_ENDED) and self._session is not None:
            self._session.close()
        return failure(error, self.name)

    def close(self) -> None:
        """End the session, and the lock with it; may be called twice."""
        session, self._session = self._session, None
        if session is None:
            return
        if not is_lost(session):
            # The server learns of the end of a session a moment later: the next owner need not wait for that.
            with suppress(Error):
                postgres_owner.leave(session, self._owner)
        session.close()

    def _connect(self, timeout_s: int) -> Session:
        name = postgres_owner.session_name(self._owner)
        lock_ms = COMMAND_LOCK_MS if self._owner.brief else LOCK_MS
        return connect(self._url, name=name, writes=True, timeout_s=timeout_s, lock_ms=lock_ms)


def _pause() -> None:
    select.poll().poll(TRY_MS)
