"""Where a broker listens for other hosts, and by which addresses they reach it."""

import contextlib
import fcntl
import socket
import struct

PORTS_MAX = 100
"""Ports tried after the first, when exactly that one was not asked for."""

_LOCKS: list[socket.socket] = []
"""Of the ports that were reserved: held as long as this process lives."""

_SIOCGIFADDR = 0x8915
"""Linux: the IPv4 address of an interface."""
_IFREQ_BYTES = 40


def bind_endpoint(bind: str, port: int) -> str:
    """Return where to listen, as ZeroMQ writes it; `bind` "": everywhere."""
    return f"tcp://{_bracketed(bind) if bind else '*'}:{port}"


def advertised(bind: str, port: int) -> tuple[str, ...]:
    """Return how others may reach it: at the address that was named, else by every address of this host and its name."""
    hosts = [bind] if bind else [*_addresses(), socket.gethostname(), "127.0.0.1"]
    return tuple(dict.fromkeys(f"tcp://{_bracketed(host)}:{port}" for host in hosts))


def reserve_port(port: int) -> bool:
    """Keep the other clusters of this host from choosing this port, as long as this process lives; whether none has it.

    A port is not theirs to choose while its broker is still to start, or to come back: then nobody listens there. A name in
    the abstract namespace is a lock that the kernel gives back, however we end. It is never listened on.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0hs-cluster/port/{port}")
    except OSError:
        lock.close()
        return False
    _LOCKS.append(lock)
    return True


def _addresses() -> list[str]:
    """Return the IPv4 addresses of this host but those that only it can reach itself."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):  # an interface without an address
                request = struct.pack(f"{_IFREQ_BYTES}s", name.encode())
                found.append(socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24]))
    return [address for address in found if not address.startswith("127.")]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
