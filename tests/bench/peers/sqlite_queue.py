"""The bare script: the inserts, claims and results of a queue in SQLite, and nothing else.

    python sqlite_queue.py FILE DATABASE [BATCH]

It reads the lines of FILE and does to them what a scheduler does, in batches of BATCH tasks: insert them, claim them (one
UPDATE with the fence), record their results (one UPDATE each, fenced). One transaction a batch and step, WAL and
synchronous=FULL, the columns and indexes of the real table.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from itertools import islice

BATCH = 500
"""Tasks in a transaction: about what a scheduler gathers under load."""

SCHEMA = """
CREATE TABLE task (
    row INTEGER PRIMARY KEY AUTOINCREMENT, uid BLOB NOT NULL UNIQUE, run_id BLOB, args BLOB NOT NULL, command BLOB, tag TEXT,
    "group" INTEGER NOT NULL DEFAULT 0, priority INTEGER NOT NULL DEFAULT 0, state INTEGER NOT NULL, reason TEXT,
    attempt INTEGER NOT NULL DEFAULT 1, dispatch INTEGER NOT NULL DEFAULT 0, bundle INTEGER, exit_status INTEGER,
    submit_time REAL, schedule_time REAL, start_time REAL, completion_time REAL, duration REAL, waited REAL,
    worker_id BLOB, worker_host TEXT, cpu_user REAL, cpu_system REAL, memory_max INTEGER, outpath BLOB, errpath BLOB,
    previous_id BLOB, next_id BLOB, timeout REAL, cores INTEGER, memory INTEGER, cwd BLOB
);
CREATE INDEX task_ready ON task ("group", priority DESC, row) WHERE state = 0;
CREATE INDEX task_held ON task (bundle) WHERE state IN (1, 2);
"""

INSERT = "INSERT INTO task (uid, args, state, submit_time, cwd) VALUES (?, ?, 0, ?, ?)"
READY = 'SELECT row, dispatch, args FROM task WHERE state = 0 ORDER BY "group", priority DESC, row LIMIT ?'
CLAIM = "UPDATE task SET state = 1, dispatch = dispatch + 1, bundle = ?, schedule_time = ? WHERE row = ? AND state = 0"
RECORD = """
UPDATE task SET state = 3, exit_status = ?, start_time = ?, completion_time = ?, duration = ?, waited = ?, worker_id = ?,
    worker_host = ?, cpu_user = ?, cpu_system = ?
WHERE row = ? AND dispatch >= ? AND state IN (0, 1, 2)
"""


def connect(path: str) -> sqlite3.Connection:
    """Open the database as the scheduler does."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(SCHEMA)
    return db


def batches(path: str, size: int) -> Iterator[list[bytes]]:
    """Yield the lines of a file, so many at a time."""
    with open(path, "rb") as file:
        while lines := [line.rstrip(b"\n") for line in islice(file, size)]:
            yield lines


def main(path: str, database: str, size: int = BATCH) -> None:
    """Insert, claim and record every line of the file."""
    db = connect(database)
    cwd = os.fsencode(os.getcwd())
    worker = os.urandom(16)
    bundle = 0
    for lines in batches(path, size):
        now = time.time()
        db.execute("BEGIN IMMEDIATE")
        db.executemany(INSERT, [(os.urandom(16), line, now, cwd) for line in lines])
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        claimed = db.execute(READY, (size,)).fetchall()
        db.executemany(CLAIM, [(bundle + place, now, row) for place, (row, _, _) in enumerate(claimed)])
        db.execute("COMMIT")
        bundle += len(claimed)
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            RECORD,
            [
                (0, now, now, 0.001, 0.1, worker, "host", 0.001, 0.001, row, dispatch + 1)
                for row, dispatch, _ in claimed
            ],
        )
        db.execute("COMMIT")
    (done,) = db.execute("SELECT count(*) FROM task WHERE state = 3").fetchone()
    print(done)
    db.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else BATCH)
