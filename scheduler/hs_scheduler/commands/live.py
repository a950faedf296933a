"""The scheduler that owns a database, if there is one, and how a command reaches it.

lock file beside the database ──who──▶ owner ──control──▶ connection file ──▶ Client
"""

import os
import select
from typing import TYPE_CHECKING

from hs_common.clock import monotonic
from hs_common.errors import RefusedError, StoppedError
from hs_common.site import connection_file, unknown_cluster
from hs_scheduler.stores.engines import owner_of, was_lost
from hs_scheduler.stores.locations import is_url, of_folder, shown
from hs_scheduler.stores.ownership import Owner

if TYPE_CHECKING:  # ZeroMQ: only where there is somebody to ask
    from hs_common.client import Client

START_S = 10.0
"""How long a scheduler that is starting may take to say how it is reached."""

OWNERS_MAX = 3
"""Owners of one database, one after the other, that a command asks the same; then it gives up."""

_TRY_S = 0.02

_TRY_SERVER_S = 0.25
"""A server is asked in a session of its own each time."""


def client_of(location: str, *, patient: bool = False) -> "Client | None":
    """Return a client of the scheduler that owns this database; None: nobody does, or for a moment only.

    Args:
        location: Path or URL.
        patient: Whether to wait for the next scheduler where the one before was killed, or has lost its session with a server.

    Raises:
        StoppedError: Its owner takes no requests, or not from here.

    """
    until = monotonic() + START_S
    while True:
        owner = owner_of(location)
        waits = monotonic() < until
        if owner is None and not (patient and waits and was_lost(location)):
            return None
        # One without a pid has only just taken the lock, and has not said yet who it is.
        if owner is not None and owner.brief and (owner.pid or not waits) and not (patient and waits):
            return None
        if owner is not None and owner.control and not (waits and _is_awaited(owner)):
            return _client(shown(location), owner)
        if not waits:
            raise StoppedError(
                f"database {shown(location)} is owned by {owner}, which takes no requests: wait for its end, or stop it"
            )
        select.poll().poll((_TRY_SERVER_S if is_url(location) else _TRY_S) * 1000)


def client_here(asked: str | None) -> "Client":
    """Return a client of a cluster that runs on this site: of the database that is named, else the one that is likely meant.

    Raises:
        StoppedError: None is running, or it takes no requests.

    """
    from hs_common.site import latest, main  # noqa: PLC0415
    from hs_scheduler.commands.location import named  # noqa: PLC0415

    meant = named(asked)
    for location in [meant] if meant else [of_folder(main()), of_folder(latest())]:
        client = client_of(location)
        if client is not None:
            return client
    where = f"owns {shown(meant)}" if meant else "is running here: hs-cluster --forever starts one"
    raise StoppedError(f"no cluster {where}")


def client_by(connection: str) -> "Client":
    """Return a client by a connection file, or by the name of a cluster of this site.

    Raises:
        RefusedError: There is no such file, or its key may not ask.
        StoppedError: There is no cluster of that name.

    """
    from hs_common.client import Client  # noqa: PLC0415
    from hs_common.security import read_connection  # noqa: PLC0415

    path = connection_file(connection, "control")
    if path != connection and not os.path.exists(path):
        raise StoppedError(unknown_cluster(connection, "control"))
    found = read_connection(path)
    if found.role not in ("control", "submit"):
        raise RefusedError(f"{path} is of the role {found.role}: commands need that of control or submit")
    return Client(found)


def _is_awaited(owner: Owner) -> bool:
    """Whether its broker, of this host, has yet to write the file by which it is reached, or has removed it at the end."""
    return owner.host == os.uname().nodename and not os.path.exists(owner.control)


def _client(name: str, owner: Owner) -> "Client":
    from hs_common.client import Client  # noqa: PLC0415
    from hs_common.security import read_connection  # noqa: PLC0415

    try:
        return Client(read_connection(owner.control))
    except RefusedError as exc:
        here = (
            ""
            if owner.host == os.uname().nodename
            else f", which is reached from host {owner.host} only (hs-cluster -p lets others reach it)"
        )
        raise StoppedError(f"database {name} is owned by {owner}{here}: {exc}") from exc
