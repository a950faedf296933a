"""Waiting for the connection file of a named cluster: its daemons are started by hand in any order.

A path that is not there is a mistake and refused by whoever reads it; a name may be that of a cluster whose broker comes later.
"""

import os
import select

from hs_common.logs import get_logger
from hs_common.site import connection_file

LOOK_MS = 500
"""Between two looks; a broker is started once in months."""


def await_connection(named: str, role: str, wake_fd: int, daemon: str) -> bool:
    """Wait until the connection file that was named is there; return whether it is: False when `wake_fd` has something to say.

    Args:
        named: Path, or name of a cluster of this site.
        role: Of the key in it.
        wake_fd: Readable when there is no need to wait any more: a signal, the end of who started us.
        daemon: Who waits, for the log.

    """
    path = connection_file(named, role)
    if path == named or os.path.exists(path):
        return True
    advice = f"hs-broker --name {named} makes it"
    get_logger(daemon).warning("connection.awaited", path=path, advice=advice)
    poll = select.poll()
    poll.register(wake_fd, select.POLLIN)
    while not os.path.exists(path):
        if poll.poll(LOOK_MS):
            return False
    return True
