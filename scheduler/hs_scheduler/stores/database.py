"""The engine of a SQLite file, opened for writing by its one owner: pragmas, locks, checks, and whose fault an error is.

    lock file ─▶ open ─▶ [EXCLUSIVE on network file systems] ─▶ WAL, FULL ─▶ [quick_check] ─▶ schema ─▶ [owner's row]

Each commit is one fsync (`synchronous=FULL`): what was accepted survives the loss of power on storage that honours fsync.
There is never a second connection that writes: SQLite before 3.51.3 can corrupt a file when two write and checkpoint at once.
"""

import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from hs_common import limits
from hs_common.clock import wall
from hs_common.errors import StoppedError
from hs_common.filesystems import network_name
from hs_scheduler.stores import owner_row, ownership, schema
from hs_scheduler.stores.engine import Bulk, Cursor, Values
from hs_scheduler.stores.store import StoreBusyError
from hs_scheduler.tasks.dialect import SQLITE

SQLITE_MIN = (3, 35, 0)
"""RETURNING. Source: sqlite.org/changes.html."""

BUSY_S = 0.2
"""How long SQLite itself waits for a lock. Longer waits are the daemon's, which has heartbeats to send."""

COMMAND_BUSY_S = 5.0
"""How long in a command, which has nothing else to do."""

CHECKPOINT_PAGES = 4_000
"""16 MiB of log before it is written back."""

LOG_BYTES_MAX = 64 * limits.MIB
"""To which the log file is cut when it was larger."""

CACHE_KIB = 16 * 1024

CHECK_BYTES_MAX = 32 * limits.MIB
"""Up to this size a database whose owner was killed is checked when it is opened (about 0.1 s)."""

_LOST = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
"""After a failed fsync the kernel forgets the pages: trying again would report a success that is none."""

_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
)

_OURS = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE)


class Database:
    """An open database file that this process owns.

    Args:
        path: The file; made (0600) if it is missing.
        owner: We, as others will read it.
        now: Wall clock, seconds since the epoch.
        network: Names the network file system of a path, "" for a local one.

    """

    dialect = SQLITE
    indexed = "INDEXED BY {}"

    def __init__(
        self, path: str, owner: ownership.Owner, now: float, network: Callable[[str], str] = network_name
    ) -> None:
        if sqlite3.sqlite_version_info < SQLITE_MIN:
            raise StoppedError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
        self.path = os.path.realpath(path)  # the lock is beside the file itself, whatever links lead to it
        self._owner = owner
        self._taken = False
        folder = os.path.dirname(self.path)
        try:
            self.network = network(folder)
        except OSError as exc:
            raise StoppedError(f"database {path}: {exc.strerror}") from exc
        if self.network:
            self._owner = owner._replace(renewed_at=int(now))
        self._lock = ownership.LockFile.take(f"{self.path}.lock", self._owner, needed=not self.network)
        try:
            self.connection = self._open(now)
        except BaseException:
            if self._lock:
                self._lock.release()
            raise

    @property
    def name(self) -> str:
        """The file."""
        return self.path

    def close(self) -> None:
        """Write the log back, leave the owner's row, drop the lock. May be called twice."""
        connection, self.connection = self.connection, None  # type: ignore[assignment] # closed: any later use is a bug
        if connection is None:
            return
        try:
            if self._taken:
                _leave_open(connection)
                return
            # What cannot be tidied now stays in the log, where the next owner finds it.
            with suppress(sqlite3.Error):
                if self.network:
                    owner_row.leave(connection, self._owner)
                connection.execute("PRAGMA analysis_limit = 200")
                connection.execute("PRAGMA optimize")
            with suppress(sqlite3.Error):
                connection.close()
        finally:
            if self._lock:
                self._lock.release()

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Do nothing: SQLite is not waited for here."""

    def begin(self) -> bool:
        """Begin a transaction that writes: it cannot find out later that it may not."""
        # We were busy, or away, and others may have taken us for dead. A clock that was set back says nothing of that: as well.
        if self.network and not 0 <= wall() - self._owner.renewed_at < ownership.RENEW_S:
            self._renew_lock(wall())
        with self.translated():
            self.connection.execute("BEGIN IMMEDIATE")
        return False

    def commit(self) -> None:
        """Commit into the file that is at its path still."""
        self.check_file()
        with self.translated():
            self.connection.execute("COMMIT")

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Carry out one statement."""
        return self.connection.execute(statement, values)

    def execute_many(self, statement: Bulk, rows: Sequence[Sequence[Any]]) -> int:
        """Carry it out for each row of values, and return how many rows changed in all."""
        return self.connection.executemany(statement.sql, rows).rowcount if rows else 0

    def stream(self, statement: str, values: Values = ()) -> Generator[Any, None, None]:
        """Give the rows of a query, as SQLite finds them."""
        with self.translated():
            yield from self.connection.execute(statement, values)

    def last_row(self) -> int:
        """Return the highest number that a row of `task` ever had."""
        with self.translated():
            (row,) = self.connection.execute(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'task'"
            ).fetchone()
        return int(row)

    def check_file(self) -> None:
        """Check that the file is still the one at its path: SQLite would go on writing into an unlinked one.

        Raises:
            StoppedError: It is gone, or another.

        """
        try:
            status = os.stat(self.path)
        except OSError as exc:
            raise StoppedError(f"database {self.path}: {exc.strerror}: it was there a moment ago") from exc
        if (status.st_dev, status.st_ino) != self._identity:
            raise StoppedError(f"database {self.path} was replaced by another file")

    def announce(self, control: str) -> None:
        """Say where the connection file is by which we can be asked."""
        self._owner = self._owner._replace(control=control)
        if self._lock:
            self._lock.announce(self._owner)

    @property
    def fd(self) -> int | None:
        """None: a file ends no sessions."""
        return None

    def renew_owner(self, now: float) -> bool:
        """Say on a network file system that we are alive; a transaction of its own.

        Raises:
            StoreBusyError: Not now.
            StoppedError: Somebody else took it over.

        """
        if not self.network:
            return False
        self._renew_lock(now)
        with self.translated():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                with self._unless_taken():
                    owner_row.renew(self.connection, self.path, self._owner, now)
                self.check_file()
                self.connection.execute("COMMIT")
            finally:
                self.roll_back()
        return False

    def checkpoint(self) -> None:
        """Write the log back and empty it, as far as readers allow."""
        with self.translated():
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def roll_back(self) -> None:
        """End an open transaction; some errors have ended it already."""
        if self.connection.in_transaction:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as exc:
            raise failure(exc, self.path) from exc

    def failure(self, error: BaseException) -> Exception | None:
        """Return what an error of SQLite means: wait (StoreBusyError), give up (StoppedError), or a bug of ours (itself)."""
        return failure(error, self.path) if isinstance(error, sqlite3.Error) else None

    def _renew_lock(self, now: float) -> None:
        self._owner = self._owner._replace(renewed_at=int(now))
        if self._lock:
            with self._unless_taken():
                self._lock.renew(self._owner)

    @contextmanager
    def _unless_taken(self) -> Iterator[None]:
        try:
            yield
        except StoppedError:
            self._taken = True
            raise

    def _open(self, now: float) -> sqlite3.Connection:
        unclean = _size(f"{self.path}-wal") > 0
        busy_s = COMMAND_BUSY_S if self._owner.brief else BUSY_S
        try:
            # Before SQLite has it open: made by us it is private, and the log files take its mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, timeout=busy_s, isolation_level=None)
        except OSError as exc:
            raise StoppedError(f"database {self.path}: {exc.strerror}") from exc
        except sqlite3.Error as exc:
            raise StoppedError(f"database {self.path}: {exc}") from exc
        try:
            self._prepare(connection, unclean=unclean, now=now)
        except sqlite3.Error as exc:
            connection.close()
            found = failure(exc, self.path)
            # Whatever else it is, nothing of ours has been done yet that could be wrong.
            raise found if isinstance(found, StoreBusyError) else StoppedError(f"database {self.path}: {exc}") from exc
        except BaseException:
            connection.close()
            raise
        status = os.stat(self.path)
        self._identity = (status.st_dev, status.st_ino)
        return connection

    def _prepare(self, connection: sqlite3.Connection, *, unclean: bool, now: float) -> None:
        if self.network:
            # Before WAL: then SQLite needs no shared memory file, which such file systems cannot give.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoppedError(f"database {self.path}: SQLite has no write-ahead log there (journal mode {mode})")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}").fetchall()
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_MAX}").fetchall()
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if unclean and _size(self.path) <= CHECK_BYTES_MAX:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise StoppedError(f"database {self.path} is damaged: {said}")
        schema.migrate(connection, self.path, now)
        if self.network:
            owner_row.enter(connection, self.path, self._owner, now)


def failure(error: sqlite3.Error, path: str) -> Exception:
    """Return what an error of SQLite means: wait (StoreBusyError), give up (StoppedError), or a bug of ours (itself)."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or code & 0xFF in _OURS:
        return error
    if code & 0xFF in _PASSING and code not in _LOST:
        return StoreBusyError(f"database {path}: {error}")
    return StoppedError(f"database {path}: {error}")


def _leave_open(connection: sqlite3.Connection) -> None:
    """Let the end of the process end it: closed by SQLite, it would write our log back over what the next owner has written."""
    import ctypes  # noqa: PLC0415 - that hardly ever happens

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
