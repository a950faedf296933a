"""Letting others join a local cluster: where it listens, what it advertises, and the files by which they find it."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from hs_common.addresses import PORTS_MAX, reserve_port
from hs_common.errors import RefusedError, StoppedError
from hs_common.private_files import write_private
from hs_common.security import Connection

ROLES = ("worker", "submit", "control")
"""Who may join. There is one scheduler, and it is ours."""

CONNECT_NAME = "connect"
"""Folder of the connection files, in the folder of the run."""


_HELD: list[socket.socket] = []
"""Sockets of ours that never listen; as long as one has a port, the kernel gives that to nobody who asks for any."""


def free_port(bind: str, port: int, *, exactly: bool) -> int:
    """Return a port that can be listened on at this address ("": all): this one, or unless `exactly` the next free one.

    Until our broker listens there, or listens again, no connection of anybody's gets it by chance.

    Raises:
        RefusedError: No such address on this host.
        StoppedError: Taken.

    """
    last = port if exactly else min(65535, port + PORTS_MAX)
    for candidate in range(port, last + 1):
        # Who asked for exactly this one takes it whoever else looks at it; what is really taken shows when it is tried.
        if (reserve_port(candidate) or exactly) and _is_free(bind, candidate):
            return candidate
    raise StoppedError(
        f"port {port} is taken: choose another, or leave out -p" if exactly else f"ports {port} to {last} are all taken"
    )


def write_connections(folder: str, connections: Mapping[str, Connection], endpoints: tuple[str, ...]) -> str:
    """Write a connection file for each role that may join; return the worker's path.

    Args:
        folder: Of the run.
        connections: By role, as this host has them.
        endpoints: As others reach it. Commands here go the shorter way: by control a scheduler is asked from anywhere.

    Raises:
        OSError: The folder cannot be written.

    """
    place = os.path.join(folder, CONNECT_NAME)
    os.makedirs(place, 0o700, exist_ok=True)
    for role in ROLES:
        own = connections[role]
        other = Connection(
            endpoints=(*own.endpoints, *endpoints) if role == "control" else endpoints,
            server_public=own.server_public,
            cluster=own.cluster,
            role=own.role,
            keys=own.keys,
            host=own.host,
        )
        write_private(connection_file(folder, role), json.dumps(other.to_json()).encode())
    return connection_file(folder, "worker")


def connection_file(folder: str, role: str) -> str:
    """Return the path of the connection file of a role in the folder of a run."""
    return os.path.join(folder, CONNECT_NAME, f"{role}.json")


def remove_connections(folder: str) -> None:
    """Remove them: their cluster is gone."""
    place = os.path.join(folder, CONNECT_NAME)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(place):
            os.unlink(os.path.join(place, name))
        os.rmdir(place)


def check_address(bind: str, place: str) -> None:
    """Check that this host can listen on an address.

    Raises:
        RefusedError: It cannot.

    """
    _is_free(bind, 0, place)


def _is_free(bind: str, port: int, place: str = "-H") -> bool:
    try:
        found = socket.getaddrinfo(bind or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with _bound(family, kind, protocol, address) as probe:
            probe.listen(1)
        if port:
            _HELD.append(_bound(family, kind, protocol, address))
    except OSError as exc:
        if exc.errno in (errno.EADDRINUSE, errno.EACCES):
            return False
        raise RefusedError(f"{place} {bind}: cannot listen there: {exc.strerror}") from exc
    return True


def _bound(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> socket.socket:
    """Bind as ZeroMQ does: connections of an earlier run that are not quite gone do not count, nor does who does not listen."""
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError:
        found.close()
        raise
    return found
