"""What `hs-cluster` starts, and how one of them ended."""

import signal
from enum import StrEnum


class Daemon(StrEnum):
    """The value is the name of the program."""

    BROKER = "hs-broker"
    SCHEDULER = "hs-scheduler"
    WORKER = "hs-worker"


STATUS_REFUSED = 2
STATUS_STOPPED = 3
"""Exit statuses by which a daemon says that coming again is of no use."""

STATUS_TIME_OVER = 5
"""Of a worker that may run no longer. Source: `hs_worker.guardian.EXIT_TIME_OVER`."""


def how_it_ended(status: int, words: str) -> str:
    """Say what an exit status (or -signal) means, with the last words if there were any."""
    how = f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
    return f"{how} ({words})" if words else how


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
