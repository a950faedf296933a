"""A broker that stands by itself: its keys, its port, and the files by which others find it.

<site>/keys/<name>.json             the server: its secret key, the public key of each role
<site>/connect/<name>/<role>.json   the connection of each role: endpoints, keys

Keys outlive the broker, so that a restarted one is the same cluster. A role whose connection file is missing gets a new key, and
the old one is of no use any more: at once on SIGUSR2, else from the next start on.
"""

import json
import os
import signal
import socket
from errno import EADDRINUSE
from functools import partial
from typing import NamedTuple

import zmq

from hs_broker import program
from hs_broker.authenticator import Authenticator
from hs_broker.router import Router, router
from hs_common import site
from hs_common.addresses import PORTS_MAX, advertised, bind_endpoint, reserve_port
from hs_common.config import Settings
from hs_common.errors import RefusedError, StoppedError
from hs_common.notify import of_service
from hs_common.private_files import read_private, write_private
from hs_common.security import ROLES, Connection, Server, make_cluster, read_connection
from hs_common.setting import AN_ADDRESS, require_text
from hs_common.signals import SignalPipe
from hs_common.sockets import new_context
from hs_common.values import replace


class Options(NamedTuple):
    """What was typed."""

    bind: str | None
    port: int | None
    name: str
    keygen: bool


def serve(settings: Settings, options: Options) -> None:
    """Listen, say in the connection files where, and serve.

    Raises:
        RefusedError: The keys cannot be read or written, or the address names nothing.
        StoppedError: The port is taken.

    """
    require_text("-H", options.bind, AN_ADDRESS)
    bind = options.bind or settings.get("broker.bind")
    first = options.port or settings.get("broker.port")
    exactly = options.port is not None or settings.origin("broker.port") != "default"
    if options.keygen:
        publish(options.name, load_keys(options.name)[1], advertised(bind, first))
        return
    # Before the keys are read: a change of them that is told to us is never missed.
    signals = SignalPipe([*program.STOPS, signal.SIGUSR2])
    server, connections = load_keys(options.name)
    context = new_context()
    authenticator = Authenticator(context, server)
    bound = None
    for port in range(first, first + 1 if exactly else min(first + PORTS_MAX, 65535) + 1):
        if not reserve_port(port) and not exactly:
            continue
        try:
            bound = router(context, replace(server, endpoints=(bind_endpoint(bind, port),)))
            break
        except StoppedError as exc:
            # What is wrong with the address is so at every port.
            if exactly or not (isinstance(exc.__cause__, zmq.ZMQError) and exc.__cause__.errno == EADDRINUSE):
                raise
    if bound is None:
        raise StoppedError(f"cannot listen on {bind or 'any address'}, ports {first} to {port}: choose one with --port")
    endpoints = advertised(bind, _port(bound))
    publish(options.name, connections, endpoints)
    reload = partial(reload_keys, options.name, server, endpoints)
    program.serve(settings, bound, authenticator, signals=signals, reload=reload, notifier=of_service())


def load_keys(name: str) -> tuple[Server, dict[str, Connection]]:
    """Return the server of this name and the connection of each role, as they are kept, with new keys for what is missing.

    Raises:
        RefusedError: A file cannot be read or written, or others can read it.

    """
    path = _keys_path(name)
    server, connections = make_cluster(("tcp://127.0.0.1:1",), socket.gethostname())
    if os.path.exists(path):
        fresh = connections
        server = _read_server(path)
        connections = {}
        for role in ROLES:
            known = _known_connection(name, role, server)
            connections[role] = known or replace(fresh[role], server_public=server.keys.public, cluster=server.cluster)
        server = replace(server, roles={role: connections[role].keys.public for role in ROLES})
    _write(path, server.to_json())
    return server, connections


def reload_keys(name: str, running: Server, endpoints: tuple[str, ...]) -> Server:
    """Return the server with its keys as they are kept by now, and say to the roles where it listens.

    Raises:
        RefusedError: A file cannot be read or written, or it is of another cluster than the one that runs.

    """
    path = _keys_path(name)
    kept = _read_server(path)
    if (kept.cluster, kept.keys) != (running.cluster, running.keys):
        raise RefusedError(f"{path}: is of another cluster than the one that runs: restart hs-broker")
    server, connections = load_keys(name)
    publish(name, connections, endpoints)  # --keygen does not know which port was free
    return server


def publish(name: str, connections: dict[str, Connection], endpoints: tuple[str, ...]) -> None:
    """Write the connection files, that of the scheduler last: it looks for that of control beside its own.

    Raises:
        RefusedError: The folder cannot be written.

    """
    for role, connection in sorted(connections.items(), key=lambda of_role: of_role[0] == "scheduler"):
        here = replace(connection, endpoints=endpoints, host=socket.gethostname())
        _write(site.connection_path(name, role), here.to_json())


def _keys_path(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise RefusedError(f"--name {name!r} is no name of a cluster")
    folder = os.path.join(site.site(), "keys")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise RefusedError(f"{folder}: {exc.strerror}") from exc
    return os.path.join(folder, f"{name}.json")


def _read_server(path: str) -> Server:
    try:
        return Server.from_json(json.loads(read_private(path)))
    except ValueError as exc:
        raise RefusedError(f"{path}: not JSON: {exc}") from exc


def _known_connection(name: str, role: str, server: Server) -> Connection | None:
    path = site.connection_path(name, role)
    if not os.path.exists(path):
        return None
    connection = read_connection(path)
    same = connection.server_public == server.keys.public and connection.keys.public == server.roles[role]
    return connection if same else None


def _write(path: str, document: dict[str, object]) -> None:
    try:
        write_private(path, json.dumps(document).encode())
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc


def _port(bound: Router) -> int:
    return int(bound.bound[0].rpartition(":")[2])
