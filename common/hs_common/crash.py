"""Deterministic crashes for the fault tests: `HYPERSHELL_CRASH_AT=point[:n[:marker]]`.

The daemon kills itself with SIGKILL at the n-th passage (default 1) of the named point. `marker` is a path: it is made at the
crash, and once it is there nothing crashes any more, so that only one incarnation dies. Unset, a passage costs an empty call.
"""

import os
import signal
from collections.abc import Callable


def _never(name: str) -> None:
    """Pass."""


def _armed(setting: str) -> Callable[[str], None]:
    point, _, rest = setting.partition(":")
    number, _, marker = rest.partition(":")
    left = int(number or 1)

    def crash_point(name: str) -> None:
        nonlocal left
        if name != point:
            return
        left -= 1
        if left == 0 and (not marker or _first(marker)):
            os.kill(os.getpid(), signal.SIGKILL)

    return crash_point


def _first(marker: str) -> bool:
    try:
        os.close(os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


_setting = os.environ.get("HYPERSHELL_CRASH_AT", "")
crash_point: Callable[[str], None] = _armed(_setting) if _setting else _never
"""Call it with the name of the point: `daemon.place`."""
