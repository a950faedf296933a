"""The ZeroMQ socket of everybody but the broker, and every option of it, each with its reason. Source: RELIABILITY section 4.

A Link is one DEALER to one broker, with the monitor that says when a handshake succeeded. What it speaks to: `hs_broker.router`.
One frame per message (each frame costs a box of its own under CURVE). No call here blocks.
"""

import ctypes
import os
from struct import Struct
from typing import Any

import zmq

from hs_common import limits
from hs_common.errors import RefusedError, WireError
from hs_common.messages import Message, Refused
from hs_common.security import Connection, read_connection, require_curve
from hs_common.wire import OTHER_VERSION, VersionError, decode, encode

_HWM = 1000
"""Messages per peer that wait to be read. The rest waits with whoever sent them."""
_SEND_MARK = limits.WORKERS_MAX + 2 * limits.QUEUE_TASKS_MAX
"""Messages per peer that wait to be sent: more than credit allows, so that none is ever dropped for want of room.

A burst is ordinary: a scheduler that comes to 1,000 workers gets an Attached from each, and sends as many Committed in one
step; of a task there are a Received and a Result at most. Credit bounds what really lies there.
"""
_HANDSHAKE_MS = 10_000
"""A silent TCP connection holds a descriptor for so long before it has said who it is (default 30 s)."""
_PING_MS, _PING_LIFE_MS = 15_000, 60_000
"""ZMTP heartbeats only find dead TCP: the I/O thread answers even for a hung daemon. Far above any stall of a reader (Z15)."""
_MONITOR_EVENT = Struct("=HI")


def new_context() -> "zmq.Context[Any]":
    """Return the one context of this process.

    Raises:
        StoppedError: This libzmq cannot encrypt, or is too old.

    """
    require_curve()
    # libzmq takes routing ids from rand() and never seeds it: with known ids any peer can make the broker abort (Z7), and all
    # processes would reconnect in step (Z8). Before the context: its constructor is what asks rand().
    ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4)))
    context: zmq.Context[Any] = zmq.Context()
    context.linger = 0  # the default waits for ever at the end for a peer that is gone (Z17)
    return context


class Link:
    """A DEALER to the broker. It speaks to one endpoint at a time and goes to the next when that one does not answer.

    (Connected to several at once, a DEALER would share its messages out among them.)

    The owner says Hello at each "connected". After "denied", "moved" and after `limits.SILENCE_S` without a message it calls
    `reopen()`: a DEALER that was refused once, or that libzmq gave up on, never comes back by itself (Z9).

    Args:
        context: The one of this process.
        connection: Where to, and with which keys.
        path: The file that it came from, looked at while nobody answers; "": it is in none.

    """

    def __init__(self, context: "zmq.Context[Any]", connection: Connection, path: str = "") -> None:
        """Start to connect; sends nothing."""
        self._context = context
        self._connection = connection
        self._path = os.path.abspath(path) if path else ""  # a worker goes to the folders of its tasks
        self._endpoints = _in_order(connection.endpoints)
        self._at = 0
        self._rounds = 0
        """How often all endpoints were tried in vain since the last connection."""
        self._waited = False
        """Whether the last endpoint of the round was tried again, after its interval."""
        self.malformed = 0
        """Frames from the broker that were no message."""
        self._open()

    @property
    def sockets(self) -> "tuple[zmq.Socket[bytes], zmq.Socket[bytes]]":
        """The DEALER and its monitor, for the poller; other ones after `reopen()`."""
        return self._dealer, self._monitor

    @property
    def closed(self) -> bool:
        """Whether it was closed, and not opened again."""
        return self._dealer.closed

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All that it tries, in this order."""
        return self._endpoints

    @property
    def endpoint(self) -> str:
        """Where it is connected, or tries to be."""
        return self._endpoints[self._at]

    def receive(self, limit: int = 256) -> list[Message]:
        """Return what has arrived, at most `limit` messages; what is none is counted and dropped.

        Of a broker that speaks another version of the protocol nothing can be read, its refusal neither: so whatever it says is
        taken for that.
        """
        received: list[Message] = []
        for _ in range(limit):
            try:
                frames = self._dealer.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                if len(frames) != 1:
                    raise WireError(f"a message of {len(frames)} frames")
                received.append(decode(frames[0]))
            except VersionError:
                received.append(Refused(session=bytes(16), reason=OTHER_VERSION, fatal=True, bundles=()))
            except WireError:
                self.malformed += 1
        return received

    def send(self, message: Message) -> bool:
        """Send without waiting. False: not connected (IMMEDIATE), or the broker does not read."""
        try:
            self._dealer.send(encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def events(self) -> list[str]:
        """Return what happened to the connection since the last call, in order.

        "connected": a handshake succeeded, the broker knows nothing of us yet. "disconnected": what was sent may be lost; it
        reconnects by itself. "denied": the handshake failed, here or there (our key, or its key, is not known). "moved": a
        connect failed, and the file says something else by now; `reopen()` goes there.
        """
        happened: list[str] = []
        # An undrained monitor would stop the I/O thread (Z16), so there is no limit: it ends, each event costs a handshake.
        while True:
            try:
                head, _ = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return happened
            event, _ = _MONITOR_EVENT.unpack(head)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._rounds = 0
                happened.append("connected")
            elif event == zmq.EVENT_DISCONNECTED:
                happened.append("disconnected")
            elif event == zmq.EVENT_CONNECT_RETRIED and self._at < len(self._endpoints) - 1:
                self._try_next()
            # Only when all were tried: the file may lie on a slow file system, and many look at it.
            elif self._has_moved():
                return [*happened, "moved"]
            elif event == zmq.EVENT_CONNECT_RETRIED:
                self._try_next()
            else:
                happened.append("denied")

    def reopen(self) -> None:
        """Start afresh with new sockets, at the next endpoint. The owner registers them in its poller."""
        self.close()
        self._has_moved()
        self._at = (self._at + 1) % len(self._endpoints)
        self._open()

    def close(self, *, linger_ms: int = 0) -> None:
        """Close both sockets; what was not sent yet is dropped.

        `linger_ms`: these were the last words of this process: end the context too, which waits until the kernel has all of
        them, and at most so long.
        """
        self._dealer.disable_monitor()
        self._monitor.close(0)
        self._dealer.close(linger_ms)
        if linger_ms:
            self._context.term()

    def _open(self) -> None:
        self._dealer: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        set_common(self._dealer)
        # Nothing is queued for a broker that is not there: its successor would get it before our Hello (Z11).
        self._dealer.setsockopt(zmq.IMMEDIATE, 1)
        # The broker is authenticated and splits its messages; a frame over the limit would end this socket for good (Z9).
        self._dealer.setsockopt(zmq.MAXMSGSIZE, -1)
        self._dealer.setsockopt(zmq.HEARTBEAT_IVL, _PING_MS)
        self._dealer.setsockopt(zmq.HEARTBEAT_TIMEOUT, _PING_LIFE_MS)
        self._dealer.setsockopt(zmq.HEARTBEAT_TTL, _PING_LIFE_MS)
        self._dealer.setsockopt(zmq.CONNECT_TIMEOUT, 10_000)  # a host that swallows packets: then the next endpoint
        self._dealer.setsockopt(zmq.CURVE_SERVERKEY, self._connection.server_public)
        self._dealer.setsockopt(zmq.CURVE_PUBLICKEY, self._connection.keys.public)
        self._dealer.setsockopt(zmq.CURVE_SECRETKEY, self._connection.keys.secret)
        self._monitor: zmq.Socket[bytes] = self._dealer.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_DISCONNECTED
            | zmq.EVENT_CONNECT_RETRIED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        self._connect()

    def _connect(self) -> None:
        # With a maximum libzmq doubles the interval and adds no jitter (Z8): so both are random for each process.
        if self.endpoint.startswith("ipc:"):
            # Ours alone: no storm to fear, and the broker of a local cluster is starting at this very moment.
            first_ms, last_ms = _between(4, 8), _between(100, 200)
        else:
            first_ms, last_ms = _between(200, 1000), _between(3000, 5000)
        self._dealer.setsockopt(zmq.RECONNECT_IVL, min(first_ms << min(self._rounds, 5), last_ms))
        self._dealer.setsockopt(zmq.RECONNECT_IVL_MAX, last_ms)
        self._dealer.setsockopt(zmq.IPV6, 1)  # a name may have addresses of either family
        self._dealer.connect(self.endpoint)

    def _has_moved(self) -> bool:
        """Take what the file says now: a broker that was started anew may have another port, a role another key."""
        if not self._path:
            return False
        try:
            found = read_connection(self._path)
        except RefusedError:
            return False  # gone, or being replaced: what we know is the best that there is
        # The name may be that of another cluster by now, which knows nothing of what we have.
        if found == self._connection or found.cluster != self._connection.cluster:
            return False
        self._connection, self._endpoints = found, _in_order(found.endpoints)
        self._at = -1  # `reopen` begins with the first
        return True

    def _try_next(self) -> None:
        """Go to the next endpoint at once; but from the last to the first only when its interval is over.

        A broker that is not there refuses within microseconds: 200 workers that went round and round left its successor no
        processor time to start in.
        """
        if self._at == len(self._endpoints) - 1:
            if len(self._endpoints) == 1:
                return  # libzmq goes on trying
            self._waited = not self._waited
            if self._waited:
                return  # libzmq tries this one once more, after its interval
            self._rounds += 1
        self._dealer.disconnect(self.endpoint)
        self._at = (self._at + 1) % len(self._endpoints)
        self._connect()


def set_common(socket: "zmq.Socket[bytes]") -> None:
    """Set what a Link and the broker's ROUTER have in common."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, _SEND_MARK)
    socket.setsockopt(zmq.RCVHWM, _HWM)
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    # A peer whose host lost its power is found by the kernel after 60 + 4 x 15 s, also when nothing is sent.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 15)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
    socket.setsockopt(zmq.TCP_MAXRT, 120_000)


def _in_order(endpoints: tuple[str, ...]) -> tuple[str, ...]:
    """Put ipc first; leave it out where there is no such socket, as on another host."""
    local = [endpoint for endpoint in endpoints if endpoint.startswith("ipc:")]
    remote = [endpoint for endpoint in endpoints if not endpoint.startswith("ipc:")]
    if remote:
        local = [endpoint for endpoint in local if os.path.exists(endpoint.removeprefix("ipc://"))]
    return (*local, *remote)


def _between(low: int, high: int) -> int:
    return low + int.from_bytes(os.urandom(4)) % (high - low + 1)
