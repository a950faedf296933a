"""A way back for workers on hosts that cannot reach us: a port of the host, carried through the session to a port of ours."""

import contextlib
import select
import socket
import threading

import paramiko

COPY_BYTES = 64 * 1024
CONNECTIONS_MAX = 64
"""At once, of one host. It has one worker; what is more is refused."""


def open_tunnel(transport: paramiko.Transport, port: int) -> int:
    """Let a port of the host's loopback lead to this port of our own; return the host's.

    Raises:
        SSHException: The host does not allow it.

    """
    carried = threading.Semaphore(CONNECTIONS_MAX)

    def take(channel: paramiko.Channel, _origin: tuple[str, int], _server: tuple[str, int]) -> None:
        if not carried.acquire(blocking=False):
            channel.close()
            return
        threading.Thread(target=_carry, args=(channel, port, carried), daemon=True).start()

    return int(transport.request_port_forward("127.0.0.1", 0, take))


def _carry(channel: paramiko.Channel, port: int, carried: threading.Semaphore) -> None:
    """Copy both ways until one side ends."""
    with contextlib.suppress(OSError, EOFError), socket.create_connection(("127.0.0.1", port)) as ours:
        poll = select.poll()  # not select: its numbers end at 1,023, and there may be hundreds of hosts
        for side in (channel, ours):
            poll.register(side, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if channel.fileno() in ready:
                if not (part := channel.recv(COPY_BYTES)):
                    break
                ours.sendall(part)
            if ours.fileno() in ready:
                if not (part := ours.recv(COPY_BYTES)):
                    break
                channel.sendall(part)
    channel.close()
    carried.release()
