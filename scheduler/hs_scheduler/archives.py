"""Archives: what ended long ago, moved out of a database into numbered files beside it (`hs initdb --rotate`).

    tasks.db      what is worked on; `meta` says how many archives there are
    tasks.1.db    the oldest; every archive is a database of the same schema
    tasks.2.db

The number in `meta` is what counts: it is committed together with the removal of the rows, so a file beyond it is what a rotation
left that was interrupted, and nobody looks at it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from hs_scheduler import schema
from hs_scheduler.reader import Reader, SqliteReader

_COPY = """INSERT INTO archive.task SELECT * FROM main.task WHERE coalesce(origin, row) NOT IN (
    SELECT coalesce(origin, row) FROM main.task WHERE state < 3
)"""


def path_of(database: str, number: int) -> str:
    """Return the path of an archive, the first one is 1."""
    stem, extension = os.path.splitext(database)
    return f"{stem}.{number}{extension}"


def count_of(reader: Reader) -> int:
    """Return how many archives belong to this database."""
    (count,) = reader.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name = 'archives'").fetchone()
    return int(count)


def paths(reader: Reader, database: str) -> list[str]:
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

    """
    number = count_of(SqliteReader(connection)) + 1
    path = path_of(os.path.realpath(database), number)
    if os.path.exists(path):
        os.unlink(path)  # of a rotation that was interrupted: its rows are still in the database
    _make(path, now)
    connection.execute("ATTACH ? AS archive", (path,))
    try:
        with _transaction(connection):
            for table in ("run", "place", "worker"):
                connection.execute(f"INSERT INTO archive.{table} SELECT * FROM main.{table}")  # noqa: S608 - one of three
            connection.execute(_COPY)
        with _transaction(connection):
            count = connection.execute("DELETE FROM main.task WHERE row IN (SELECT row FROM archive.task)").rowcount
            if count:
                connection.execute("INSERT OR REPLACE INTO main.meta VALUES ('archives', ?)", (number,))
    finally:
        connection.execute("DETACH archive")
    if not count:
        os.unlink(path)
    return count, path


def _make(path: str, now: float) -> None:
    """Make an empty database that only its owner can read, with the schema of today."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        schema.migrate(connection, path, now)
    finally:
        connection.close()


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
