"""Why a broker cannot be reached: what the network says of each of its endpoints. For people; nothing is decided by it."""

import errno
import os
import select
import socket
from collections.abc import Sequence

ANSWERS = "somebody answers, but not with the key of this cluster"


def why_unreachable(endpoints: Sequence[str], wait_s: float) -> dict[str, str]:
    """Return endpoint -> why it cannot be connected to, or that somebody is there. Waits at most `wait_s` for all, names apart.

    Args:
        endpoints: As ZeroMQ writes them: ipc:///path, tcp://host:port.
        wait_s: Seconds.

    """
    reasons: dict[str, str] = {}
    waiting: dict[int, tuple[str, socket.socket]] = {}
    for endpoint in endpoints:
        if endpoint.startswith("ipc://"):
            reasons[endpoint] = ANSWERS if os.path.exists(endpoint.removeprefix("ipc://")) else "no such socket here"
            continue
        try:
            probe = _begin(endpoint)
        except OSError as exc:
            reasons[endpoint] = exc.strerror or str(exc)
            continue
        waiting[probe.fileno()] = endpoint, probe
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLOUT)
    while waiting and (ready := poll.poll(wait_s * 1000)):
        for fd, _ in ready:
            endpoint, probe = waiting.pop(fd)
            poll.unregister(fd)
            error = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            reasons[endpoint] = os.strerror(error) if error else ANSWERS
            probe.close()
    for endpoint, probe in waiting.values():
        reasons[endpoint] = f"no answer within {wait_s:g} s"
        probe.close()
    return {endpoint: reasons[endpoint] for endpoint in endpoints}


def _begin(endpoint: str) -> socket.socket:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    probe = socket.socket(family, kind, protocol)
    probe.setblocking(False)  # noqa: FBT003 - it takes no keyword
    error = probe.connect_ex(address)
    if error not in (0, errno.EINPROGRESS):
        probe.close()
        raise OSError(error, os.strerror(error))
    return probe
