"""The bare insert: the rows that `hs submit` makes of the lines of a file, and nothing else, in one transaction.

    python bulk.py FILE LOCATION

Into a SQLite file by executemany, into a PostgreSQL server by COPY; the tables of ours are there and empty.
"""

import sqlite3
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

from hs_scheduler.stores import statements
from hs_scheduler.stores.database import CACHE_KIB, CHECKPOINT_PAGES
from hs_scheduler.stores.locations import is_url
from hs_scheduler.tasks.uids import Uids

LINES_AT_ONCE = 10_000
PLACE = 1


def rows(path: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows, so many at a time."""
    now, number, uids = time.time(), 0, Uids()
    with open(path, "rb") as file:
        while lines := list(islice(file, LINES_AT_ONCE)):
            # In order, as ours: random ones would be another table, and three times slower.
            ids = uids.take(len(lines), now)
            yield [
                (at, 0, 0, None, now, None, None, PLACE, uid, line[:-1])
                for at, uid, line in zip(count(number + 1), ids, lines, strict=False)
            ]
            number += len(lines)


def into_file(path: str, database: str) -> None:
    """Insert with the settings of ours."""
    db = sqlite3.connect(database, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    db.execute("BEGIN IMMEDIATE")
    for some in rows(path):
        db.executemany(statements.INSERT_PLAIN.sql, some)
    db.execute("COMMIT")
    db.close()


def into_server(path: str, url: str) -> None:
    """Copy."""
    import psycopg  # noqa: PLC0415

    columns = statements.INSERT_PLAIN.sql.partition("(")[2].partition(")")[0]
    copying = f"COPY task ({columns}) FROM STDIN".encode()
    with psycopg.connect(url) as session, session.cursor() as cursor, cursor.copy(copying) as copy:
        for some in rows(path):
            for row in some:
                copy.write_row(row)


if __name__ == "__main__":
    (into_server if is_url(sys.argv[2]) else into_file)(sys.argv[1], sys.argv[2])
