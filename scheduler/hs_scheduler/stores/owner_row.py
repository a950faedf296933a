"""The row of a SQLite database that names its owner: what `ownership` says beside the file, where that reaches nobody.

It is renewed with the transactions, and another host's keeps us out until it is `STALE_S` old.
"""

import sqlite3

from hs_common.errors import StoppedError
from hs_scheduler.stores.ownership import STALE_S, Owner


def enter(connection: sqlite3.Connection, path: str, owner: Owner, now: float) -> None:
    """Write the owner's row unless another host's is fresh.

    Raises:
        StoppedError: Another host owns the database.

    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        row = connection.execute("SELECT host, boot, pid, renewed_at FROM owner").fetchone()
        if row is not None:
            host, boot, pid, renewed_at = row
            # On our own host the lock file has decided already. A row from the future is a clock that is ahead: fresh.
            if (host, boot) != (owner.host, owner.boot) and now - renewed_at < STALE_S:
                raise StoppedError(
                    f"database {path} is owned by host {host}, pid {pid} (renewed {now - renewed_at:.0f} s ago): "
                    f"stop it, or wait until it is silent for {STALE_S:.0f} s"
                )
        connection.execute(
            "INSERT OR REPLACE INTO owner (one, uuid, host, boot, pid, renewed_at) VALUES (1, ?, ?, ?, ?, ?)",
            (owner.uuid, owner.host, owner.boot, owner.pid, now),
        )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def renew(connection: sqlite3.Connection, path: str, owner: Owner, now: float) -> None:
    """Renew the owner's row, inside the caller's transaction.

    Raises:
        StoppedError: It is no longer ours.

    """
    if not connection.execute("UPDATE owner SET renewed_at = ? WHERE uuid = ?", (now, owner.uuid)).rowcount:
        raise StoppedError(f"database {path} was taken over by another scheduler")


def leave(connection: sqlite3.Connection, owner: Owner) -> None:
    """Remove the owner's row if it is still ours."""
    connection.execute("DELETE FROM owner WHERE uuid = ?", (owner.uuid,))
