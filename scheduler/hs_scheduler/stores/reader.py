"""A task database, opened only to look at it, while its owner may be writing.

On a local disk SQLite lets readers in beside the writer. On a network file system the owner has locked everybody else out: a
scheduler reads for others then (`pages`). Here we read when nobody owns it, and become its owner for that moment if one that was
killed left a log behind.
"""

import os
import select
import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from errno import ENOSYS, EOPNOTSUPP, EPERM
from typing import Any, Protocol

from hs_common.clock import wall
from hs_common.errors import StoppedError
from hs_common.filesystems import network_name
from hs_scheduler.stores import schema
from hs_scheduler.stores.database import COMMAND_BUSY_S, SQLITE_MIN, Database
from hs_scheduler.stores.engine import Cursor, Values
from hs_scheduler.stores.ownership import WAIT_S, Owner, holder_of, this_process
from hs_scheduler.stores.sqlite_functions import defined
from hs_scheduler.tasks.dialect import SQLITE, Dialect

_TRY_S = 0.02

_IN_A_URI = str.maketrans({"%": "%25", "?": "%3f", "#": "%23"})
"""What means something in the path of a URI. Source: sqlite.org/uri.html, 3.1. (urllib is 4 ms of each search.)"""

_LEFT = ("tmp", "tmp-journal")
"""How the names end of a copy that is being made, and of what SQLite puts beside it."""

_NO_LINKS = (EPERM, EOPNOTSUPP, ENOSYS)
"""What a file system says that has no hard links. Source: link(2); FAT says EPERM."""


class Answering(Protocol):
    """Answers questions about a database, whatever its engine: who only looks at it, and who owns it."""

    @property
    def dialect(self) -> Dialect:
        """How it is asked for what engines write differently."""

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Ask, with `?` or `:name` for values; the answer is a short one."""

    def stream(self, statement: str, values: Values = ()) -> Generator[Any, None, None]:
        """Ask as `execute`, for rows that may be millions; whoever does not want them all closes it."""


class Reader(Answering, Protocol):
    """Answers those who only look, and may take their time: their questions can call functions."""

    def defined(self, functions: Mapping[str, Callable[[Any], bool]]) -> AbstractContextManager[None]:
        """Let questions call these functions of one raw value (`filters.Where`), for a while."""


class SqliteReader:
    """Answers questions about a SQLite file."""

    dialect = SQLITE

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Ask."""
        return self._connection.execute(statement, values)

    def stream(self, statement: str, values: Values = ()) -> Generator[Any, None, None]:
        """Give the rows of a query, as SQLite finds them."""
        yield from self._connection.execute(statement, values)

    def defined(self, functions: Mapping[str, Callable[[Any], bool]]) -> AbstractContextManager[None]:
        """Let SQLite call them for each row that it looks at."""
        return defined(self._connection, functions)

    def back_up(self, path: str) -> None:
        """Copy all of it, as of now, into a file that is not there yet (0600).

        Raises:
            StoppedError: The file is there, or cannot be written.

        """
        temporary = f"{path}.{os.uname().nodename}.{os.getpid()}.tmp"
        try:
            _remove_left(path)
            os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            try:
                copy = sqlite3.connect(temporary)
                try:
                    self._connection.backup(copy)
                finally:
                    copy.close()
                _publish(temporary, path)
            finally:
                with suppress(FileNotFoundError):  # it was renamed
                    os.unlink(temporary)
        except OSError as exc:
            raise StoppedError(f"{path}: {exc.strerror}") from exc
        except sqlite3.Error as exc:
            raise StoppedError(f"{path}: {exc}") from exc


@contextmanager
def reading(path: str, network: Callable[[str], str] = network_name) -> Iterator[SqliteReader]:
    """Give a reader.

    Raises:
        StoppedError: No such database, or nobody but its owner can read it now.

    """
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        raise StoppedError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    path = os.path.realpath(path)
    if not os.path.isfile(path):
        raise StoppedError(f"there is no database {path}")
    folder = os.path.dirname(path)
    name = network(folder)
    if name and (holder := _lasting_holder(f"{path}.lock")):
        raise StoppedError(f"database {path} is on {name} and owned by {holder}: only its owner can read it now")
    log_is_empty = not os.path.exists(f"{path}-wal") or not os.path.getsize(f"{path}-wal")
    if name and not log_is_empty:
        database = Database(path, this_process("hs task", brief=True), wall(), network)
        try:
            yield SqliteReader(database.connection)
        finally:
            database.close()
        return
    # Immutable: SQLite then makes no shared memory file. True where nobody writes, and all there is where we may not.
    immutable = log_is_empty and (bool(name) or not os.access(folder, os.W_OK))
    try:
        try:
            connection = _connect(path, immutable=immutable)
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHMSIZE:
                raise
            # The disk is full. Who looks for the reason reads the file as it is, where nobody has anything to add to it.
            if not log_is_empty or holder_of(f"{path}.lock"):
                raise StoppedError(f"database {path}: the disk is full: a reader needs 32 KiB beside it") from exc
            connection = _connect(path, immutable=True)
        with closing(connection):
            yield SqliteReader(connection)
    except sqlite3.Error as exc:
        raise StoppedError(f"database {path}: {exc}") from exc


def _connect(path: str, *, immutable: bool) -> sqlite3.Connection:
    """Connect to a database that is of our schema, to read."""
    address = f"file:{path.translate(_IN_A_URI)}?mode=ro{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(address, uri=True, timeout=COMMAND_BUSY_S, isolation_level=None)
    try:
        schema.check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _remove_left(path: str) -> None:
    """Remove what copies to this path have left that were killed on this host."""
    folder, name = os.path.split(os.path.abspath(path))
    begin = f"{name}.{os.uname().nodename}."
    for left in os.listdir(folder):
        pid, _, rest = left.removeprefix(begin).partition(".")
        if left.startswith(begin) and rest in _LEFT and pid.isdecimal() and not os.path.exists(f"/proc/{pid}"):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, left))


def _publish(temporary: str, path: str) -> None:
    """Give a finished file its name, unless there is a file of that name already.

    Raises:
        OSError: There is, or the folder cannot be written.

    """
    try:
        os.link(temporary, path)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        # The name is taken by an empty file of ours first, so that no other's is replaced.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.rename(temporary, path)


def _lasting_holder(lock: str) -> Owner | None:
    """Return who holds a lock file, or None: nobody does. Who needs it for a moment only is waited for."""
    tries_left = int(WAIT_S / _TRY_S)
    while (holder := holder_of(lock)) and holder.brief and tries_left:
        tries_left -= 1
        select.poll().poll(_TRY_S * 1000)
    return holder
