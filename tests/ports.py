"""Ports for programs that have to be told one."""

import random
import socket
from itertools import islice

PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to whoever wants any: one that is free when we look is still free a moment later."""


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port on which nobody listens."""
    (port,) = free_ports(1, address)
    return port


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return several, no two the same."""
    free = (port for port in random.sample(PORTS, len(PORTS)) if _is_free(address, port))
    return list(islice(free, count))


def _is_free(address: str, port: int) -> bool:
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return False
    return True
