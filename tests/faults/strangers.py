"""Attacks on a broker's TCP port by peers that have no key. Source: RELIABILITY 8.2 G."""

import os
import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import zmq

from hs_common.security import make_key_pair

CONNECT_S = 60.0

TLS_CLIENT_HELLO = bytes.fromhex("160301002e0100002a0303") + bytes(32) + bytes.fromhex("000002c02f0100")
BANNERS = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    TLS_CLIENT_HELLO,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\xff" + bytes(8) + b"\x7f",  # the greeting of ZMTP, and nothing more
)

GREETING_NULL = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" + bytes(31)


def random_bytes(port: int, *, connections: int = 300) -> None:
    """G1, Z13: 4 KiB of noise on each connection; with no security a router would take some of it for a message."""
    noise = random.Random(1)
    _each(port, (noise.randbytes(4096) for _ in range(connections)))


def other_protocols(port: int) -> None:
    """G2: programs that took the port for something else."""
    _each(port, BANNERS * 20)


def silence(port: int, *, connections: int = 500) -> None:
    """G3: connections that never say a word."""
    with ExitStack() as open_until_the_end:
        for _ in range(connections):
            open_until_the_end.enter_context(_connection(port))


def slowloris(port: int, *, connections: int = 200) -> None:
    """G4: greetings that come a byte at a time and never end."""
    with ExitStack() as open_until_the_end:
        peers = [open_until_the_end.enter_context(_connection(port)) for _ in range(connections)]
        for place in range(20):
            for peer in peers:
                with suppress(OSError):
                    peer.send(GREETING_NULL[place : place + 1])


def without_security(port: int) -> None:
    """G7, G13: a plain DEALER that floods, in many frames, never ending the message."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.connect(f"tcp://127.0.0.1:{port}")
        _flood(peer)


def with_a_password(port: int) -> None:
    """G8: a PLAIN client."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
        peer.linger = 0
        peer.plain_username, peer.plain_password = b"admin", b"admin"
        peer.connect(f"tcp://127.0.0.1:{port}")
        _flood(peer)


def unknown_keys(port: int, server_public: bytes, *, peers: int = 50) -> None:
    """G9: clients that know the broker's public key, which is no secret, and have a key pair of their own making."""
    _with_keys(port, [server_public] * peers)


def wrong_server_key(port: int, *, peers: int = 20) -> None:
    """G10: clients that take it for another broker."""
    _with_keys(port, [make_key_pair().public for _ in range(peers)])


def coming_and_going(port: int, *, connections: int = 2000) -> None:
    """G15, Z16: a storm of connections that end at once."""
    for _ in range(connections):
        _connection(port).close()


@contextmanager
def squatter(port: int) -> Iterator[zmq.Socket[bytes]]:
    """G18: a ROUTER with a key of its own that lets everybody in, on the port where the broker was."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.curve_server = True
        router.curve_secretkey = make_key_pair().secret
        router.bind(f"tcp://127.0.0.1:{port}")
        yield router


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=CONNECT_S)


def _each(port: int, texts: Iterable[bytes]) -> None:
    for text in texts:
        with _connection(port) as peer, suppress(OSError):
            peer.sendall(text)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(4096):
                pass


def _flood(peer: zmq.Socket[bytes]) -> None:
    for _ in range(500):
        with suppress(zmq.Again):
            peer.send(os.urandom(4096), zmq.SNDMORE | zmq.NOBLOCK)


def _with_keys(port: int, server_publics: Iterable[bytes]) -> None:
    """Handshake with each as long as it takes to be refused or to be ignored."""
    with zmq.Context() as context, ExitStack() as sockets:
        for server_public in server_publics:
            keys = make_key_pair()
            peer = sockets.enter_context(context.socket(zmq.DEALER))
            peer.linger = 0
            peer.curve_serverkey = server_public
            peer.curve_publickey, peer.curve_secretkey = keys.public, keys.secret
            monitor = sockets.enter_context(
                peer.get_monitor_socket(
                    zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED
                )
            )
            peer.connect(f"tcp://127.0.0.1:{port}")
            assert monitor.poll(int(CONNECT_S * 1000)), "the broker did not react to a handshake"
            event = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
            peer.disable_monitor()
            assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED, "a stranger was let in"
