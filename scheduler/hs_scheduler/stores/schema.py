"""The SQLite schema and its forward migrations.

Step n leads from schema n - 1 to n; `user_version` holds n, the table `migration` when each step was taken. A step that was
released is never changed. A database of a newer schema is refused: only the program that wrote it knows what it means.
"""

import os
import sqlite3
from collections.abc import Sequence

from hs_common import __version__
from hs_common.errors import StoppedError
from hs_scheduler.stores.locations import APPLICATION_ID

# The columns that change often stand first, the long ones last. Texts that many rows share (folder, host, worker) are numbers.
# `late` is the place of a retry in its group: -1 before, 0 among, 1 behind the new tasks. `origin` is the row of the first
# attempt. The two indexes hold NEW rows only: a task that is dispatched as soon as it is read never enters them.
_FIRST = """
CREATE TABLE migration (version INTEGER PRIMARY KEY, taken_at REAL NOT NULL, program TEXT NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0);
CREATE TABLE owner (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    uuid TEXT NOT NULL, host TEXT NOT NULL, boot TEXT NOT NULL, pid INTEGER NOT NULL, renewed_at REAL NOT NULL
);
CREATE TABLE run (
    run INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, settings TEXT NOT NULL, host TEXT NOT NULL,
    start_time REAL NOT NULL, end_time REAL, status INTEGER
);
CREATE TABLE input (
    run INTEGER PRIMARY KEY, path BLOB NOT NULL, device TEXT NOT NULL, inode TEXT NOT NULL, size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL, offset INTEGER NOT NULL, line INTEGER NOT NULL, tags TEXT NOT NULL, ended INTEGER NOT NULL
);
CREATE TABLE place (place INTEGER PRIMARY KEY, host TEXT NOT NULL, cwd BLOB NOT NULL, UNIQUE (host, cwd));
CREATE TABLE worker (
    worker INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, host TEXT NOT NULL, attached INTEGER NOT NULL, attached_at REAL
);
CREATE TABLE task (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    state INTEGER NOT NULL,
    dispatch INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    crashes INTEGER NOT NULL DEFAULT 0,
    bundle INTEGER,
    worker INTEGER,
    exit_status INTEGER,
    submit_time REAL NOT NULL,
    schedule_time REAL,
    start_time REAL,
    completion_time REAL,
    duration REAL,
    cpu_user REAL,
    cpu_system REAL,
    memory_max INTEGER,
    run INTEGER,
    place INTEGER NOT NULL,
    "group" INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 0,
    previous INTEGER,
    next INTEGER,
    origin INTEGER,
    timeout REAL,
    cores INTEGER,
    memory INTEGER,
    uid BLOB NOT NULL UNIQUE,
    reason TEXT,
    tag TEXT,
    template BLOB,
    command BLOB,
    outpath BLOB,
    errpath BLOB,
    args BLOB NOT NULL
);
CREATE INDEX task_ready ON task ("group", late, priority DESC) WHERE state = 0;
CREATE INDEX task_ready_in_run ON task (run, "group", late, priority DESC) WHERE state = 0;
"""

# `fence`: results of dispatches up to it do not count any more (the row was reverted). The index is for those who ask what failed
# (`state.FAILED`, word for word), and for the groups, and answers without a look at the rows; a task that succeeds never
# enters it. From here on a row may be ON_HOLD (-1), which programs of schema 1 do not know.
_SECOND = """
ALTER TABLE task ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
CREATE INDEX task_failed ON task (next, "group", state, exit_status, reason)
WHERE state IN (5, 6) OR state = 3 AND (coalesce(exit_status, 1) <> 0 OR reason IS NOT NULL)
"""

# Answers of requests by their keys (`answers.py`), and where the owner is asked.
_THIRD = """
CREATE TABLE answered (asked BLOB PRIMARY KEY, answer BLOB NOT NULL, given_at REAL NOT NULL) WITHOUT ROWID;
ALTER TABLE owner ADD COLUMN control TEXT NOT NULL DEFAULT ''
"""

# What is out (ASSIGNED, RUNNING), and what stands aside (ON_HOLD, CANCELLED): with the indexes before, whoever opens a database
# finds all that is not over, and counts the rest, without a look at each row. Each task enters the first, few the other.
_FOURTH = """
CREATE INDEX task_out ON task (state) WHERE state IN (1, 2);
CREATE INDEX task_aside ON task (state, next, bundle) WHERE state IN (-1, 4)
"""

STEPS: tuple[str, ...] = (_FIRST, _SECOND, _THIRD, _FOURTH)
"""All migrations, the first one makes an empty database."""

READABLE_MIN = 1
"""The oldest schema that questions understand: a run of last year can be looked at without being changed."""


def migrate(connection: sqlite3.Connection, path: str, now: float, steps: Sequence[str] = STEPS) -> None:
    """Bring a database to the newest schema, in one transaction.

    A database that holds something is copied first, to `PATH.before-schema-N`.

    Raises:
        StoppedError: It is of a newer schema, or none of ours.

    """
    version = _version(connection, path)
    if version == len(steps):
        return
    if version > len(steps):
        raise StoppedError(
            f"database {path} is at schema {version}, this program knows {len(steps)}: use a newer hs-cluster"
        )
    if version:
        _keep(connection, f"{path}.before-schema-{len(steps)}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, step in enumerate(steps[version:], version + 1):
            for statement in step.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (number, now, f"hs-cluster {__version__}"))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection, path: str) -> None:
    """Check that a reader understands the database.

    Raises:
        StoppedError: It is of another schema, or none of ours.

    """
    version = _version(connection, path)
    if version > len(STEPS):
        raise StoppedError(
            f"database {path} is at schema {version}, this program knows {len(STEPS)}: use a newer hs-cluster"
        )
    if version < READABLE_MIN:
        raise StoppedError(
            f"database {path} is at schema {version}, this is {len(STEPS)}: hs initdb brings it up to date"
        )


def _version(connection: sqlite3.Connection, path: str) -> int:
    # All of one moment: its owner may be making the tables.
    connection.execute("BEGIN")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
            return version
        if version or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise StoppedError(f"{path} is a SQLite file, but no task database of ours")
        return 0
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _keep(connection: sqlite3.Connection, copy: str) -> None:
    """Copy the database; a copy that an interrupted migration left is of the same state, and is written anew."""
    if os.path.exists(copy):
        os.unlink(copy)
    connection.execute("VACUUM INTO ?", (copy,))
