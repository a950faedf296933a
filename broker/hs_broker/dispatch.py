"""Which worker gets which bundle, and which worker hands some back. Decides, and notes it in the backlog and the workers."""

from collections.abc import Iterator
from math import inf

from hs_broker.backlog import Backlog
from hs_broker.workers import Worker, Workers
from hs_common import limits
from hs_common.messages import BundleHeader

STEP_BUNDLES_MAX = 10_000
"""Given out in one step; heartbeats and timers are served before the next ones."""

RECALL_PERIOD_S = 1.0
"""How often one worker is asked to hand back."""


Parcel = tuple[Worker, list[BundleHeader], list[bytes]]
"""What goes to one worker in one message: headers and bodies in the same order."""


def assign(backlog: Backlog, workers: Workers, now: float) -> Iterator[Parcel]:
    """Lease waiting bundles to workers, each in turn; yield what to send.

    It looks once at each bundle that it gives, and once at each worker that has credit but finds nothing.
    """
    parcels: dict[Worker, tuple[Parcel, int]] = {}
    left = STEP_BUNDLES_MAX
    while left > 0 and backlog and (worker := workers.next()) is not None:
        parcel, size = parcels.get(worker) or ((worker, [], []), 0)
        given = 0
        while given < worker.turn and (found := backlog.take(worker.fits, now, worker.free())) is not None:
            header, body = found
            workers.lease(worker, header)
            given += header.tasks
            left -= 1
            if parcel[1] and (size + header.size > limits.PARCEL_BYTES_MAX or len(parcel[1]) == limits.IDS_MAX):
                yield parcel
                parcel, size = (worker, [], []), 0
            parcel[1].append(header)
            parcel[2].append(body)
            size += header.size
        if given:
            parcels[worker] = parcel, size
            workers.offer(worker)
        else:
            workers.park(worker)
    for parcel, _ in parcels.values():
        yield parcel


def recalls(workers: Workers, now: float) -> Iterator[tuple[Worker, int]]:
    """Yield (worker, tasks to hand back): those that hold more than they run, while others have slots and nothing to run.

    Call it when no waiting bundle can be given to anybody. Whoever is asked decides which tasks have not been started for long
    enough; none may be the answer.
    """
    idle = []
    for worker in workers:
        if worker.held < worker.slots and worker.free():
            idle.append(worker)
        if worker.held <= worker.slots:
            worker.surplus_since = inf
        elif worker.surplus_since > now:
            worker.surplus_since = now
    slots = sum(worker.slots - worker.held for worker in idle)
    if not slots:
        return
    for worker in workers:
        if (
            slots > 0
            and now - worker.surplus_since > limits.RECALL_AFTER_S
            and now - worker.recalled_at >= RECALL_PERIOD_S
            and worker.token
            and _some_fit(worker, idle, now)
        ):
            tasks = min(slots, worker.held - worker.slots, limits.CREDIT_MAX)
            slots -= tasks
            worker.recalled_at = now
            yield worker, tasks


def _some_fit(worker: Worker, idle: list[Worker], now: float) -> bool:
    demands = {header.demand for header in worker.leases.values()}
    return any(other.fits(demand, now) for demand in demands for other in idle)
