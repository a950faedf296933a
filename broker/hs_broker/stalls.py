"""Which workers are here, but make nothing of what they were given. Decides only that; the operator, whether such a worker goes.

    given something ──▶ owes a word ──Result, Running──▶ owes none
                             └── nothing for `STALL_S` ──▶ stalled, until the next word

A lease cannot find them: they say Heartbeat. A task that takes long is no reason either, since Running is said of it after a
second. What is given after that may have to wait for hours, and owes nothing until the next Result. Source: RELIABILITY 8.2, H16.
"""

from collections.abc import Iterator

from hs_broker.workers import Worker, Workers

STALL_S = 60.0
"""A worker says Running after a second; this is for one that is slow to start processes, or was stopped for a moment."""


def stalled(workers: Workers, now: float, stall_s: float) -> Iterator[Worker]:
    """Yield those of which it has to be told now, and note that it was."""
    for worker in workers:
        if now - worker.owes_since >= stall_s and not worker.stalled and worker.token and not _may_wait(worker):
            worker.stalled = True
            yield worker


def _may_wait(worker: Worker) -> bool:
    """Return whether what it was given last may wait for cores or memory that another task of it takes."""
    return len(worker.leases) != 1 and all(
        header.demand.cores or header.demand.memory for header in worker.leases.values()
    )
