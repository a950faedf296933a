"""A session with a PostgreSQL server: how it is opened, how statements are written for it, and whose fault an error is.

Statements come with `?` and `:name`, as SQLite has them; psycopg wants `%s` and `%(name)s`.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hs_common.errors import RefusedError, StoppedError
from hs_common.garbage import no_search
from hs_scheduler.stores.locations import shown
from hs_scheduler.stores.store import StoreBusyError

try:
    # Most of what a command on a server takes: a tenth of it went into that search.
    with no_search():
        import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.types.string import StrDumper
except ImportError as exc:
    raise RefusedError(f"a postgresql:// database needs psycopg ({exc}): pip install 'hs-cluster[postgres]'") from exc

if TYPE_CHECKING:
    from psycopg.abc import PQGen

SERVER_MIN = 14
"""Statistics of an expression. Source: PostgreSQL 14, release notes."""

CONNECT_S = 5
"""How long a server may take to answer; a scheduler beats in between."""

FIRST_CONNECT_S = 2
"""How long one of which nobody knows yet that it is there. The least that libpq takes."""

LOCK_MS = 200
"""How long the server itself waits for a lock. Longer waits are the daemon's, which has heartbeats to send."""

COMMAND_LOCK_MS = 5_000
"""A command waits longer: it has nothing else to do."""

REPLY_S = 20.0
"""How long a statement of a scheduler may take, less than the silence that its broker allows (`limits.SILENCE_S`)."""

_DEFAULTS: dict[str, str | int] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What the URL may say otherwise. Source: PostgreSQL 15, section 34.1.2."""

# A server that never hears of our death would keep our lock for hours.
_SESSION = """SET client_min_messages = warning; SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 3; SET lock_timeout = {lock_ms}"""

_WAIT = ("08", "53", "57", "40", "55P03", "25006", "58030")
"""Connection lost, out of resources, shut down or cancelled, deadlock, locked, read-only, I/O error: all of it passes."""

_STOP = ("28", "3D", "3F", "42501", "42P01", "XX001", "XX002")
"""Not let in, no such database or schema, no right, no table, damaged."""

Connection = psycopg.Connection[Any]
Error = psycopg.Error

UNDEFINED = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)
"""There is no such table, or it is none of ours."""


class _Text(StrDumper):
    """Text as PostgreSQL can hold it: everything but NUL."""

    def dump(self, obj: str) -> Any:  # noqa: ANN401 - a buffer of psycopg's
        return super().dump(obj.replace("\0", "\ufffd"))


class Session(psycopg.Connection[Any]):
    """A connection on which nothing is waited for without end."""

    reply_max_s: float | None = None
    """Longest wait for an answer; None: none, as for the first count of millions of rows."""

    def wait(self, gen: "PQGen[Any]", interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ANN401
        """Wait for the server, and give the session up where it stays silent."""
        timeout = self.reply_max_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            # What it says later belongs to nobody any more.
            if timeout is not None and self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def connect(url: str, *, name: str, writes: bool, timeout_s: int = FIRST_CONNECT_S, lock_ms: int = LOCK_MS) -> Session:
    """Open a session; each statement outside a transaction stands for itself.

    One that only reads has no settings yet: it begins with `settings`, in the same trip as what it asks first.

    Args:
        url: Of the database.
        name: Who we are, for those who look at the server's sessions.
        writes: Whether a standby is of no use.
        timeout_s: How long each address of the server may take to answer, where the URL does not say it.
        lock_ms: How long the server waits for a lock of one that writes.

    Raises:
        RefusedError: The URL makes no sense.
        StoppedError: The server is too old.
        psycopg.Error: See `failure`.

    """
    try:
        given = conninfo_to_dict(url)
    except Error as exc:
        # Not its text: it may quote the password.
        raise RefusedError(f"database {shown(url)}: is no URL of a PostgreSQL database") from exc
    # Behind a socket in the file system there is a server, or it says at once that there is none: it may only be busy.
    near = str(given.get("host") or "/").startswith("/")
    defaults = {
        **_DEFAULTS,
        "connect_timeout": CONNECT_S if near else timeout_s,
        "target_session_attrs": "read-write" if writes else "any",
        "application_name": name,
    }
    session = Session.connect(
        **{**defaults, **given},  # type: ignore[arg-type] # any parameter of libpq
        autocommit=True,
        prepare_threshold=None,
    )
    if session.info.server_version < SERVER_MIN * 10_000:
        version = session.info.server_version // 10_000
        session.close()
        raise StoppedError(f"database {shown(url)}: PostgreSQL {version} is too old: {SERVER_MIN} or newer is needed")
    session.adapters.register_dumper(str, _Text)
    if writes:
        session.execute(settings(lock_ms))
    return session


def settings(lock_ms: int) -> str:
    """Return the statements that a session begins with; lock_ms: how long the server waits for a lock."""
    return _SESSION.format(lock_ms=lock_ms)


def failure(error: BaseException, name: str) -> Exception | None:
    """Return what an error of the server means: wait (StoreBusyError), give up (StoppedError), or a bug of ours (itself).

    None: it is no error of the server. `name`: of the database, as messages call it.
    """
    if not isinstance(error, Error):
        return None
    state = error.sqlstate
    text = f"database {name}: {' '.join(str(error).split())}"
    if state is None:
        return StoreBusyError(text) if isinstance(error, psycopg.OperationalError) else error
    if state.startswith(_STOP):
        return StoppedError(text)
    return StoreBusyError(text) if state.startswith(_WAIT) else error


def is_lost(session: Session | None) -> bool:
    """Whether a session is of no use any more."""
    return session is None or session.closed


@lru_cache(256)
def written(statement: str) -> str:
    """Return a statement as psycopg wants it: `?` and `:name` outside quotes are values, a cast `::` is none."""
    return _VALUES.sub(_value, statement)


_VALUES = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|::|:(\w+)|\?|%")


def _value(found: re.Match[str]) -> str:
    if found[1]:
        return f"%({found[1]})s"
    return "%s" if found[0] == "?" else found[0].replace("%", "%%")
