"""The bare script: the inserts, claims and results of a queue in SQLite, and nothing else.

    python sqlite_queue.py FILE DATABASE {apart | at-once}

It does to the lines of FILE what a scheduler does, with the very schema and statements of ours, in batches: insert them, claim
them (each UPDATE with the fence), record their results (likewise), a commit after each of the three. With `at-once` a line is
inserted as claimed, which is what our scheduler does while a worker waits. WAL and synchronous=FULL.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from itertools import count, islice

from hs_scheduler.stores import schema, statements

BATCH = 500
"""Tasks in a transaction: about what a scheduler gathers under load."""

RUN = 1
PLACE = 1
WORKER = 1

READY = statements.READY.replace("{by task_ready}", "INDEXED BY task_ready").replace("{scope}", "")


def connect(path: str) -> sqlite3.Connection:
    """Open the database as the scheduler does."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    for step in schema.STEPS:
        db.executescript(step)
    return db


def batches(path: str) -> Iterator[list[bytes]]:
    """Yield the lines of a file, so many at a time."""
    with open(path, "rb") as file:
        while lines := [line.rstrip(b"\n") for line in islice(file, BATCH)]:
            yield lines


def main(path: str, database: str, *, at_once: bool) -> None:
    """Insert, claim and record every line of the file."""
    db = connect(database)
    numbers = count(1)
    for lines in batches(path):
        now = time.time()
        state, dispatch, bundle = (1, 1, 1) if at_once else (0, 0, None)
        tasks = [(next(numbers), os.urandom(16), line) for line in lines]
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            statements.INSERT_PLAIN.sql,
            [(row, state, dispatch, bundle, now, None, RUN, PLACE, uid, line) for row, uid, line in tasks],
        )
        db.execute("COMMIT")
        rows = [row for row, _, _ in tasks] if at_once else claimed(db, now)
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            statements.FINISH.sql,
            [(WORKER, 0, None, now, now, 0.001, 0.001, 0.001, None, None, None, None, row, 1) for row in rows],
        )
        db.execute("COMMIT")
    (done,) = db.execute("SELECT count(*) FROM task WHERE state = 3").fetchone()
    assert done == next(numbers) - 1, done
    db.close()


def claimed(db: sqlite3.Connection, now: float) -> list[int]:
    """Claim the next batch and return its rows."""
    db.execute("BEGIN IMMEDIATE")
    ready = db.execute(READY, {"count": BATCH}).fetchall()
    db.executemany(statements.ASSIGN.sql, [(row[2] + 1, row[0], now, row[0], row[2] + 1) for row in ready])
    db.execute("COMMIT")
    return [row[0] for row in ready]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], at_once=sys.argv[3] == "at-once")
