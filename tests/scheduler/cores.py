"""The scheduler's core for tests, and what it is told."""

from hs_common.messages import Attached, Census, Credit, Demand, Lost, Welcome
from hs_common.tasks import Outcome, OutcomeKind
from hs_scheduler.conversation import Identity
from hs_scheduler.core import SchedulerCore
from hs_scheduler.events import ClaimedBundle, Connected
from hs_scheduler.out import NO_DEMAND

SESSION, BROKER, W1, W2 = b"s" * 16, b"b" * 16, b"1" * 16, b"2" * 16
IDENTITY = Identity(scheduler=bytes(16), version="0", host="h", pid=7, epoch=3, store=b"o" * 16, database="/tasks.db")
FIRST = 3 << 40 | 1
"""The first bundle id of epoch 3, of this scheduler."""


def a_core(bundlesize: int = 1) -> SchedulerCore:
    return SchedulerCore(identity=IDENTITY, bundlesize=bundlesize, grace_s=5, now=0)


def welcome(session: bytes = SESSION) -> Welcome:
    return Welcome(session=session, broker=BROKER, epoch=3)


def attached(worker: bytes = W1, *bundles: int, replaces: bytes = b"") -> Attached:
    return Attached(
        session=SESSION,
        worker=worker,
        replaces=replaces,
        host="n1",
        slots=2,
        cores=0,
        memory=0,
        seconds=0.0,
        bundles=bundles,
    )


def census(*queued: int) -> Census:
    return Census(session=SESSION, queued=queued, more=False)


def lost(worker: bytes, *bundles: int, gone: bool = False) -> Lost:
    return Lost(session=SESSION, worker=worker, gone=gone, reason="silent", bundles=bundles)


def outcome(row: int, dispatch: int = 1, kind: OutcomeKind = OutcomeKind.FINISHED) -> Outcome:
    return Outcome(row, dispatch, kind, 0, "", 1.0, 0.1, 0.0, 0.0, 0, b"", b"", b"")


def a_bundle(bundle: int, *rows: int, demand: Demand = NO_DEMAND) -> ClaimedBundle:
    return ClaimedBundle(bundle, [(row, 1) for row in rows], demand, b"body")


def live(core: SchedulerCore, credit: int = 8) -> SchedulerCore:
    """One worker with two slots is there."""
    for event in (Connected(), welcome(), attached(), census(), Credit(session=SESSION, tasks=credit)):
        core.handle(event, now=0)
    return core
