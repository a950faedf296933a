"""Who left, fell silent or died, and what becomes of what they had."""

from tests.broker.building import (
    LEASE_S,
    Control,
    Scheduler,
    Worker,
    a_bundle,
    a_cluster,
)

from hs_broker.events import PeerLeft, PeerUnreachable, Send, WorkerLost
from hs_common import limits, messages
from hs_common.incarnation import ORIGIN_BYTES, all_of

SILENT = f"silent for {LEASE_S:g} s"


def test_the_bundles_of_a_silent_worker_are_lost() -> None:
    """Silence of a whole lease loses the worker, never its bundles."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    broker.passes(LEASE_S - 1)
    scheduler.says(messages.Heartbeat)

    effects = broker.passes(1)

    assert effects == [
        scheduler.hears_lost(worker, 1, gone=True, reason=SILENT),
        WorkerLost(worker.id, SILENT, 1),
        scheduler.has_credit(0),
    ]
    assert worker.result(1) == [Send(worker.routing_id, messages.WhoAreYou())]


def test_anything_that_a_worker_says_keeps_its_lease() -> None:
    """A heartbeat is only for those who have nothing else to say."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    broker.passes(LEASE_S - 1)
    worker.ready()
    scheduler.says(messages.Heartbeat)

    assert WorkerLost not in map(type, broker.passes(LEASE_S - 2))


def test_a_broker_that_was_away_blames_nobody() -> None:
    """After a pause longer than the lease every worker has its whole lease again (B2)."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    broker.passes(100)

    beats = broker.stands_still(2 * LEASE_S)

    assert beats == [scheduler.is_told(messages.Heartbeat), worker.is_told(messages.Heartbeat)]
    broker.passes(LEASE_S - 101)
    assert scheduler.says(messages.Heartbeat) == [scheduler.is_told(messages.Heartbeat)]
    assert [type(effect) for effect in broker.passes(2) if not isinstance(effect, Send)] == [WorkerLost]


def test_a_local_worker_out_of_reach_is_not_waited_for_a_whole_lease() -> None:
    """On one host a connection ends only with its process: guardian and worker may have died together."""
    broker, scheduler, (worker, other) = a_cluster(workers=2, reach_s=5)
    scheduler.submit(a_bundle(1), a_bundle(2))

    # Somebody new is started in their place, and the broker finds that one of the others is gone
    newcomer = Worker(broker, 9)
    probed = [effect.peer for effect in newcomer.hello() if isinstance(effect, Send)]
    assert {worker.routing_id, other.routing_id} <= set(probed)
    broker.takes(PeerUnreachable(worker.routing_id))
    assert WorkerLost not in map(type, broker.passes(4.5))
    effects = broker.passes(1)

    assert scheduler.hears_lost(worker, 1, gone=True, reason="out of reach for 5 s") in effects
    assert [effect for effect in effects if isinstance(effect, WorkerLost)] == [
        WorkerLost(worker.id, "out of reach for 5 s", 1)
    ]


def test_a_local_worker_that_comes_back_in_time_keeps_its_bundles() -> None:
    """A broken connection alone loses nothing."""
    broker, scheduler, (worker,) = a_cluster(reach_s=5)
    scheduler.submit(a_bundle(1))
    broker.takes(PeerUnreachable(worker.routing_id))
    broker.passes(4)

    worker.hello(inventory=(1,))

    assert WorkerLost not in map(type, broker.passes(20))


def test_a_worker_whose_guardian_ended_is_not_waited_for() -> None:
    """hs-cluster saw it end: the bundles come back at once."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    control = Control(broker, b"c")
    control.hello()

    effects = control.says(messages.WorkerDead, worker=worker.id)

    assert effects == [
        scheduler.hears_lost(worker, 1, gone=True, reason="its guardian ended"),
        WorkerLost(worker.id, "its guardian ended", 1),
        scheduler.has_credit(0),
    ]


def test_all_workers_of_an_origin_are_lost_by_its_name() -> None:
    """Who saw the guardian end does not know how often it had restarted its worker."""
    broker, scheduler, (worker, _) = a_cluster(workers=2)
    scheduler.submit(a_bundle(1))
    control = Control(broker, b"c")
    control.hello()

    effects = control.says(messages.WorkerDead, worker=all_of(worker.id[:ORIGIN_BYTES]))

    assert scheduler.hears_lost(worker, 1, gone=True, reason="its guardian ended") in effects
    assert [effect.worker for effect in effects if isinstance(effect, WorkerLost)] == [worker.id]


def test_a_dead_worker_that_never_came_back_is_told_too() -> None:
    """After a restart of the broker the scheduler may be waiting for exactly that inventory."""
    broker, scheduler, _ = a_cluster(workers=0)
    control, unknown = Control(broker, b"c"), Worker(broker, 9)
    control.hello()

    effects = control.says(messages.WorkerDead, worker=unknown.id)

    assert effects == [scheduler.hears_lost(unknown, gone=True, reason="its guardian ended")]


def test_a_scheduler_that_comes_hears_who_is_gone() -> None:
    """It may know such a worker from its store, and would wait a whole lease for it."""
    # Given a worker that died while no scheduler was there, and one that came back after its lease
    broker, _, (dead, late) = a_cluster(workers=2)
    control = Control(broker, b"c")
    control.hello()
    for worker in (dead, late):
        control.says(messages.WorkerDead, worker=worker.id)
    late.hello()

    # When the next scheduler comes
    scheduler = Scheduler(broker, number=2)
    effects = scheduler.hello(epoch=2)

    # Then it hears of the first, after the census
    gone = scheduler.hears_lost(dead, gone=True, reason="gone before this scheduler came")
    census = scheduler.is_told(messages.Census, queued=(), more=False)
    assert [effect for effect in effects if effect in (gone, census)] == [census, gone]
    assert scheduler.hears_lost(late, gone=True, reason="gone before this scheduler came") not in effects


def test_a_worker_that_leaves_gives_back_what_it_has() -> None:
    """Bye says that it holds nothing, so whatever is left over is lost."""
    _, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))

    effects = worker.says(messages.Bye, reason="drained")

    assert effects == [
        scheduler.hears_lost(worker, 1, gone=True, reason="drained"),
        PeerLeft("worker", "drained", 1),
        scheduler.has_credit(0),
    ]


def test_a_heartbeat_is_answered() -> None:
    """Both sides know then that the other one's main loop turns."""
    _, scheduler, (worker,) = a_cluster()

    assert worker.says(messages.Heartbeat) == [worker.is_told(messages.Heartbeat)]
    assert scheduler.says(messages.Heartbeat) == [scheduler.is_told(messages.Heartbeat)]


def test_the_broker_beats_when_it_said_nothing_else() -> None:
    """Silence is how its peers notice that it is gone."""
    broker, scheduler, (worker,) = a_cluster()
    broker.passes(limits.HEARTBEAT_S - 1)
    scheduler.submit(a_bundle(1))

    assert broker.passes(1) == [scheduler.is_told(messages.Heartbeat)]
    assert broker.passes(limits.HEARTBEAT_S - 1) == [worker.is_told(messages.Heartbeat)]


def test_a_broker_with_nobody_left_is_deserted() -> None:
    """That is when it may end without anybody missing it."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.says(messages.Bye, reason="")
    assert not broker.core.deserted()

    worker.says(messages.Bye, reason="")

    assert broker.core.deserted()


def test_a_broker_is_not_deserted_while_somebody_tells_late_workers_to_leave() -> None:
    """A launcher may still be starting them when everything is done."""
    broker, scheduler, (worker,) = a_cluster()
    control = Control(broker, b"c")
    control.hello()
    control.says(messages.Drain, worker=b"", now=True)
    scheduler.says(messages.Bye, reason="")
    worker.says(messages.Bye, reason="")
    assert not broker.core.deserted()

    control.says(messages.Bye, reason="")

    assert broker.core.deserted()


def test_a_broker_with_nobody_there_has_nothing_to_wait_for() -> None:
    """No peers, no timer: it sleeps."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.says(messages.Bye, reason="")
    worker.says(messages.Bye, reason="")
    broker.passes(1)

    assert broker.core.deadline() is None
