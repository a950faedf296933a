"""A task database, opened only to look at it, while its owner may be writing.

On a local disk SQLite lets readers in beside the writer. On a network file system the owner has locked everybody else out; there
we read when nobody owns it, and become its owner for that moment if one that was killed left a log behind.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from hs_common.clock import wall
from hs_common.errors import StoppedError
from hs_common.filesystems import network_name
from hs_scheduler import schema
from hs_scheduler.database import BUSY_S, SQLITE_MIN, Database
from hs_scheduler.ownership import holder_of, this_process

_PATIENCE = 25
"""Times `BUSY_S` that a reader waits for a lock: it has nothing else to do."""


@contextmanager
def reading(path: str, network: Callable[[str], str] = network_name) -> Iterator[sqlite3.Connection]:
    """Give a connection that can only read.

    Raises:
        StoppedError: No such database, or nobody but its owner can read it now.

    """
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        raise StoppedError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed")
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise StoppedError(f"there is no database {path}")
    log_is_empty = not os.path.exists(f"{path}-wal") or not os.path.getsize(f"{path}-wal")
    folder = os.path.dirname(path)
    if name := network(folder):
        if holder := holder_of(f"{path}.lock"):
            raise StoppedError(f"database {path} is on {name} and owned by {holder}: only its owner can read it now")
        if not log_is_empty:
            database = Database(path, this_process("hs task", brief=True), wall(), network)
            try:
                yield database.connection
            finally:
                database.close()
            return
    # Immutable: SQLite then makes no shared memory file. True where nobody writes, and all there is where we may not.
    immutable = log_is_empty and (bool(name) or not os.access(folder, os.W_OK))
    address = f"file:{quote(path)}?mode=ro{'&immutable=1' if immutable else ''}"
    try:
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_S * _PATIENCE, isolation_level=None)
        try:
            schema.check(connection, path)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as exc:
        raise StoppedError(f"database {path}: {exc}") from exc
