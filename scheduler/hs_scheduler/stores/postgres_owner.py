"""Who owns a database on a server: the session that holds its advisory lock.

The lock and everything that its owner writes go through one session: once the server has given the lock to somebody else, that
session is gone, and nothing can be written through it any more. The row `owner` says whether anybody wrote in between.
"""

import os
import re
import select
from typing import Any

from hs_common.errors import StoppedError
from hs_scheduler.stores.locations import APPLICATION_ID
from hs_scheduler.stores.ownership import Owner, patience_s
from hs_scheduler.stores.postgres_link import Connection

NAME_BYTES_MAX = 63
"""Of an application_name. Source: PostgreSQL 15, section 20.8 (NAMEDATALEN)."""

_TRY_S = 0.05
_NAME = re.compile(r"(?P<program>.*)/(?P<uuid>\w+) pid (?P<pid>\d+) host (?P<host>.*)")

# Two schemas of one database are two task databases.
_LOCK = f"SELECT pg_try_advisory_lock({APPLICATION_ID}, hashtext(current_schema()::text))"
_HOLDER = f"""SELECT pid, application_name FROM pg_stat_activity WHERE pid IN (
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {APPLICATION_ID} AND objsubid = 2
    AND objid::bigint = hashtext(current_schema()::text)::bigint & 4294967295
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"""  # noqa: S608 - ours


def session_name(owner: Owner) -> str:
    """Return what the server's list of sessions says of us, and others read there; the server keeps 63 bytes of it."""
    return f"{owner.program}/{owner.uuid[:8]} pid {owner.pid} host {owner.host}"[:NAME_BYTES_MAX]


def take(connection: Connection, name: str, owner: Owner) -> None:
    """Take the lock, after waiting for an owner that needs it only for a moment or is just ending.

    Raises:
        StoppedError: Somebody else has it.

    """
    for _ in range(int(patience_s(owner) / _TRY_S)):
        if _one(connection, _LOCK)[0]:
            return
        pid, its_name = _one(connection, _HOLDER) or (0, "")
        if its_name == session_name(owner):
            # Our own session of before, of which the server does not know yet that it is lost.
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        elif _stays(its_name, owner.host):
            raise StoppedError(f"database {name} is owned by {_text(its_name)}")
        select.poll().poll(_TRY_S * 1000)
    raise StoppedError(f"database {name} is owned by {_text(its_name)}")


def enter(connection: Connection, owner: Owner, now: float) -> bool:
    """Write down that we own it; return whether nobody else has owned it since we did."""
    found = _one(connection, "SELECT uuid FROM owner")
    if found is not None and found[0] == owner.uuid:
        return True
    connection.execute(
        "INSERT INTO owner (one, uuid, host, boot, pid, renewed_at) VALUES (1, %s, %s, %s, %s, %s)"
        " ON CONFLICT (one) DO UPDATE SET uuid = excluded.uuid, host = excluded.host, boot = excluded.boot,"
        " pid = excluded.pid, renewed_at = excluded.renewed_at, control = ''",
        (owner.uuid, owner.host, owner.boot, owner.pid, now),
    )
    return False


def holder_of(connection: Connection) -> Owner | None:
    """Return who owns it now, or None: nobody does."""
    pid, name = _one(connection, _HOLDER) or (0, "")
    found = _NAME.match(name)
    if not pid:
        return None
    row = _one(connection, "SELECT uuid, host, boot, pid, control FROM owner")
    if found is None or row is None or not row[0].startswith(found["uuid"]):
        return Owner(_text(name), brief=True, host="?", boot="", pid=0, uuid="")
    uuid, host, boot, process, control = row
    brief = not found["program"].endswith("scheduler")
    return Owner(found["program"], brief, host, boot, process, uuid, control)


def announce(connection: Connection, owner: Owner, control: str) -> None:
    """Write down where the connection file is by which we can be asked."""
    connection.execute("UPDATE owner SET control = %s WHERE uuid = %s", (control, owner.uuid))


def leave(connection: Connection, owner: Owner) -> None:
    """Write down that we end in order, and drop the lock."""
    connection.execute("UPDATE owner SET control = '' WHERE uuid = %s", (owner.uuid,))
    connection.execute("SELECT pg_advisory_unlock_all()")


def was_lost(connection: Connection) -> bool:
    """Whether the last owner took requests, and has not ended in order; of nobody who owns it now."""
    (control,) = _one(connection, "SELECT control FROM owner") or ("",)
    return bool(control)


def _stays(holder: str, our_host: str) -> bool:
    """Whether the holder is a scheduler that is alive, as far as we can see."""
    found = _NAME.match(holder)
    if found is None or not found["program"].endswith("scheduler"):
        return False
    return found["host"] != our_host[: len(found["host"])] or os.path.exists(f"/proc/{found['pid']}")


def _text(holder: str) -> str:
    found = _NAME.match(holder)
    return f"{found['program']} on host {found['host']}, pid {found['pid']}" if found else holder or "another session"


def _one(connection: Connection, statement: str) -> Any:  # noqa: ANN401 - a row
    return connection.execute(statement).fetchone()
