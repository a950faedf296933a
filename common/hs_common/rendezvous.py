"""Waiting for the connection file of a named cluster: its daemons are started by hand in any order.

A path that is not there is a mistake and refused by whoever reads it; a name may be that of a cluster whose broker comes later.
"""

import os
from collections.abc import Callable

from hs_common.logs import get_logger
from hs_common.site import connection_file

LOOK_S = 0.5
"""Between two looks; a broker is started once in months."""


def await_connection(named: str, role: str, wait: Callable[[float], object], daemon: str) -> bool:
    """Wait until the connection file that was named is there; return whether it is: False when somebody wants us to end.

    Args:
        named: Path, or name of a cluster of this site.
        role: Of the key in it.
        wait: Waits for so many seconds; returns, maybe earlier, something true when there is no need to wait any more.
        daemon: Who waits, for the log.

    """
    path = connection_file(named, role)
    if path == named or os.path.exists(path):
        return True
    advice = f"hs-broker --name {named} makes it"
    get_logger(daemon).warning("connection.awaited", path=path, advice=advice)
    while not os.path.exists(path):
        if wait(LOOK_S):
            return False
    return True
