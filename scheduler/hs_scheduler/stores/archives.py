"""Archives: what ended long ago, moved out of a database into numbered files beside it (`hs initdb --rotate`).

    tasks.db      what is worked on; `meta` says how many archives there are
    tasks.1.db    the oldest; every archive is a database of the same schema
    tasks.2.db

The number in `meta` is what counts: it is committed together with the removal of the rows, so a file beyond it is what a rotation
left that was interrupted, and nobody looks at it. The next one removes it, if it is sure that it is that.

    make tasks.3.db, marked ─▶ copy ─▶ [remove, archives = 3] ─▶ what is over is in tasks.3.db

A database that is emptied says how many archives it had before those go (`forgotten`): if whoever did so was killed, the next one
removes them who rotates or empties it.

An archive says in its own `meta` which one it is. It is only read.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hs_common.crash import crash_point
from hs_common.errors import StoppedError
from hs_scheduler.stores import schema
from hs_scheduler.stores.locations import APPLICATION_ID
from hs_scheduler.stores.reader import Answering, SqliteReader

_BESIDE = ("", "-journal", "-wal", "-shm")
"""A database and what SQLite may have left beside it."""

_COPY = """INSERT INTO archive.task SELECT * FROM main.task WHERE coalesce(origin, row) NOT IN (
    SELECT coalesce(origin, row) FROM main.task WHERE state < 3
)"""


def path_of(database: str, number: int) -> str:
    """Return the path of an archive, the first one is 1."""
    stem, extension = os.path.splitext(database)
    return f"{stem}.{number}{extension}"


def count_of(reader: Answering) -> int:
    """Return how many archives belong to this database."""
    (count,) = reader.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name = 'archives'").fetchone()
    return int(count)


def paths(reader: Answering, database: str) -> list[str]:
    """Return the paths of the archives of this database, the oldest first."""
    return first_paths(database, count_of(reader))


def first_paths(database: str, count: int) -> list[str]:
    """Return the paths of its first `count` archives, the oldest first."""
    real = os.path.realpath(database)
    return [path_of(real, number) for number in range(1, count + 1)]


def rotate(connection: sqlite3.Connection, database: str, now: float) -> tuple[int, str]:
    """Move every task that is over into a new archive; return how many rows that were, and its path.

    A task is over when its last attempt has ended; all its attempts go with it. Runs, hosts and workers stay, too.

    Args:
        connection: To the database, which nobody else may write meanwhile.
        database: Its path.
        now: Wall clock, seconds since the epoch.

    Raises:
        StoppedError: Where the archive is to be there is something else.

    """
    remove_forgotten(connection, database)
    number = count_of(SqliteReader(connection)) + 1
    path = path_of(os.path.realpath(database), number)
    _remove_remains(connection, path, number)
    crash_point("rotate.before_make")
    _make(path, number, now)
    crash_point("rotate.after_make")
    with _attached(connection, path):
        with _transaction(connection):
            for table in ("run", "place", "worker"):
                connection.execute(f"INSERT INTO archive.{table} SELECT * FROM main.{table}")  # noqa: S608 - one of three
            connection.execute(_COPY)
            crash_point("rotate.before_copied")
        crash_point("rotate.after_copied")
        with _transaction(connection):
            count = connection.execute("DELETE FROM main.task WHERE row IN (SELECT row FROM archive.task)").rowcount
            if count:
                connection.execute("INSERT OR REPLACE INTO main.meta VALUES ('archives', ?)", (number,))
            crash_point("rotate.before_removed")
        crash_point("rotate.after_removed")
    if not count:
        os.unlink(path)
    return count, path


def remove_forgotten(connection: sqlite3.Connection, database: str) -> None:
    """Remove the archives of what the database was before it was emptied, if they are still there."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'forgotten'").fetchone()
    if found is None:
        return
    for number, path in enumerate(first_paths(database, found[0]), start=1):
        if _is_archive(connection, path, number):
            _remove(path)
        crash_point("truncate.removed_one")
    connection.execute("DELETE FROM meta WHERE name = 'forgotten'")


def _make(path: str, number: int, now: float) -> None:
    """Make an empty database that only its owner can read, with the schema of today."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    crash_point("rotate.made_file")
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        schema.migrate(connection, path, now)
        crash_point("rotate.made_tables")
        connection.execute("INSERT INTO meta VALUES ('archive', ?)", (number,))
    finally:
        connection.close()


def _remove_remains(connection: sqlite3.Connection, path: str, number: int) -> None:
    """Remove what an interrupted rotation left at the path of the next archive.

    Raises:
        StoppedError: It is something else, as a copy that the user has put there.

    """
    if os.path.lexists(path) and not _is_remains(connection, path, number):
        raise StoppedError(f"{path} is to be the next archive, and there is such a file already: move it away")
    _remove(path)


def _remove(path: str) -> None:
    """Remove an archive, if it is there. The database last: what lies beside it is known by it."""
    for beside in reversed(_BESIDE):
        with suppress(FileNotFoundError):
            os.unlink(path + beside)


def _is_remains(connection: sqlite3.Connection, path: str, number: int) -> bool:
    """Whether nothing is in a file but an archive of this number, and copies of tasks that this database still has."""
    if os.path.islink(path):
        return False
    try:
        with _attached(connection, path):
            if not connection.execute("SELECT 1 FROM archive.sqlite_master").fetchone():
                return True
            if connection.execute("PRAGMA archive.application_id").fetchone() != (APPLICATION_ID,):
                return False
            marked = _is_marked(connection, number)
            tasks = connection.execute(
                "SELECT count(*), count(this.uid) FROM archive.task LEFT JOIN main.task AS this USING (uid)"
            )
            copies, here = tasks.fetchone()
            return copies == here and (marked or not copies)
    except sqlite3.DatabaseError:
        return False


def _is_archive(connection: sqlite3.Connection, path: str, number: int) -> bool:
    """Whether there is an archive of this number, and nothing that the user has put in its place."""
    if not os.path.exists(path):
        return False
    try:
        with _attached(connection, path):
            return _is_marked(connection, number)
    except sqlite3.DatabaseError:
        return False


def _is_marked(connection: sqlite3.Connection, number: int) -> bool:
    """Whether what is attached says that it is the archive of this number."""
    return bool(connection.execute("SELECT value FROM archive.meta WHERE name = 'archive'").fetchone() == (number,))


@contextmanager
def _attached(connection: sqlite3.Connection, path: str) -> Iterator[None]:
    """Have another database at hand as `archive`."""
    connection.execute("ATTACH ? AS archive", (path,))
    try:
        yield
    finally:
        connection.execute("DETACH archive")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
