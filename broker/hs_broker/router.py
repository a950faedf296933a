"""The broker's ROUTER: it binds, authenticates, drains, and sends without ever waiting. Source: RELIABILITY section 4.

One frame per message, as `hs_common.sockets` sends it; here it is [routing id, frame]. No call blocks.
"""

import os
from collections.abc import Iterator
from errno import EADDRINUSE, EHOSTUNREACH
from typing import Any

import zmq

from hs_common import limits
from hs_common.errors import StoppedError
from hs_common.security import Server
from hs_common.sockets import set_common

_BACKLOG = 4096
"""Workers of a job array arrive in one burst."""

_PING_MS, _PING_LIFE_MS = 30_000, 120_000
"""Peers ping, too, and the life that a ping promises arms our timer; but what they say next disarms it until their next ping. One
that vanished in between would keep its descriptor for ever where somebody else, a proxy or a tunnel, holds its connection."""


class Router(zmq.Socket[bytes]):
    """The broker's ROUTER."""

    bound: tuple[str, ...] = ()
    """The endpoints as they are, ports filled in."""
    strange: int = 0
    """Messages dropped because they were not exactly one frame."""


def router(context: "zmq.Context[Any]", server: Server) -> Router:
    """Return a ROUTER bound to all endpoints of the server. Make the Authenticator first.

    `tcp://HOST:0` binds a port that the kernel chooses: see `Router.bound`.

    Raises:
        StoppedError: An endpoint cannot be bound (port taken, no such address).

    """
    socket: Router = context.socket(zmq.ROUTER, socket_class=Router)
    try:
        set_common(socket)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # or what is sent to a peer that left vanishes without a word (Z1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 0)  # nobody takes over another's routing id (Z6)
        socket.setsockopt(zmq.MAXMSGSIZE, limits.MESSAGE_BYTES_MAX)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _PING_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _PING_LIFE_MS)
        socket.setsockopt(zmq.BACKLOG, _BACKLOG)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, server.keys.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, b"hs")
        # Without this a missing ZAP handler means that everybody is welcome.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        for endpoint in server.endpoints:
            socket.bound += (_bind(socket, endpoint),)
    except BaseException:
        socket.close()
        raise
    return socket


def receive_all(router: Router, limit: int = 256) -> Iterator[tuple[bytes, str, bytes]]:
    """Yield (routing id, public key, frame) of what has arrived, at most `limit`, so that timers are served in between.

    What the key may say is for `Authenticator.role` to tell: it may have been revoked since the connection was made.
    """
    for _ in range(limit):
        try:
            routing_id = router.recv(zmq.NOBLOCK)
        except zmq.Again:
            return
        # As a Frame: only that knows whose key it was. Asked for each message, since a routing id may change hands.
        frame = router.recv(zmq.NOBLOCK, copy=False)
        if frame.more:
            while router.rcvmore:
                router.recv(zmq.NOBLOCK)
            router.strange += 1
            continue
        yield routing_id, str(frame.get("User-Id")), frame.bytes


def send_to(router: Router, routing_id: bytes, frame: bytes) -> bool:
    """Send without waiting. False: the peer is gone, or does not read (its lease clock decides, not a loop here)."""
    try:
        router.send(routing_id, zmq.NOBLOCK | zmq.SNDMORE)
        router.send(frame, zmq.NOBLOCK)
    except zmq.Again:
        return False
    except zmq.ZMQError as exc:
        if exc.errno == EHOSTUNREACH:
            return False
        raise
    return True


def _bind(socket: Router, endpoint: str) -> str:
    socket.setsockopt(zmq.IPV6, 1 if "[" in endpoint else 0)
    if endpoint.startswith("tcp:") and endpoint.endswith(":0"):
        endpoint = endpoint[:-1] + "*"  # libzmq's word for it
    umask = os.umask(0o077)  # the mode of an ipc socket follows it (Z21)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as exc:
        why = "taken" if exc.errno == EADDRINUSE else exc.strerror
        raise StoppedError(f"cannot listen on {endpoint}: {why}") from exc
    finally:
        os.umask(umask)
    return socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()  # type: ignore[union-attr]
