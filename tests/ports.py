"""Ports for programs that have to be told one."""

import random
import socket

PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to whoever wants any: one that is free when we look is still free a moment later."""


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port on which nobody listens."""
    return next(port for port in random.sample(PORTS, len(PORTS)) if _is_free(address, port))


def _is_free(address: str, port: int) -> bool:
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return False
    return True
