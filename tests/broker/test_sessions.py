"""Who is who, and who came back with what."""

import pytest
from tests.broker.building import (
    Broker,
    Scheduler,
    Worker,
    a_bundle,
    a_cluster,
)

from hs_broker.events import PeerLeft, PeerRefused, PeerUnreachable, Send, WorkerLost
from hs_common import limits, messages
from hs_common.wire import decode, encode

# --- Coming back. ---


def test_a_restarted_broker_learns_from_inventories_who_has_what() -> None:
    """Nothing runs again: the scheduler hears that the worker still has its bundles."""
    broker = Broker()
    scheduler, worker = Scheduler(broker), Worker(broker, 1)
    assert worker.hello(inventory=(1, 2))[0] == worker.is_welcome()

    effects = scheduler.hello(epoch=3)

    assert effects[0] == scheduler.is_welcome(epoch=3)
    assert effects[2:] == [
        scheduler.sees(worker, 1, 2),
        scheduler.is_told(messages.Census, queued=(), more=False),
        worker.is_told(messages.NewEpoch, epoch=3),
        scheduler.has_credit(8),
    ]


def test_what_a_worker_does_not_hold_any_more_is_lost() -> None:
    """An Assign that died with its connection goes back to the scheduler; the worker itself is not gone."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1), a_bundle(2), a_bundle(3))

    again = Worker(broker, 1, connection=2)
    effects = again.hello(inventory=(2,))

    assert effects[0] == again.is_welcome(epoch=1)
    assert effects[1] == scheduler.hears_lost(worker, 1, 3, gone=False, reason="not in its inventory")
    assert effects[3:] == [scheduler.sees(worker, 2)]


def test_the_old_connection_of_a_worker_is_forgotten() -> None:
    """The newest connection counts; what still comes on the old one is answered with a question."""
    broker, scheduler, (worker,) = a_cluster()
    again = Worker(broker, 1, connection=2)
    again.hello()

    assert worker.says(messages.Heartbeat) == [Send(worker.routing_id, messages.WhoAreYou())]
    assert scheduler.submit(a_bundle(1)) == [again.gets(a_bundle(1))]


def test_a_bundle_that_waits_here_and_is_held_there_does_not_wait() -> None:
    """What a worker has, nobody else must get."""
    broker, scheduler, (worker,) = a_cluster(credit=0)
    scheduler.submit(a_bundle(1), a_bundle(2))

    other = Worker(broker, 2)
    effects = other.hello(inventory=(1,))

    assert effects[2:] == [scheduler.sees(other, 1), other.gets(a_bundle(2)), scheduler.has_credit(8)]
    effects = scheduler.hello()
    assert scheduler.sees(worker) in effects


def test_the_newest_inventory_wins() -> None:
    """Two workers with the same bundle: the lease is one, the fence of the store judges the results."""
    broker, scheduler, (first,) = a_cluster()
    scheduler.submit(a_bundle(1))
    second = Worker(broker, 2)
    second.hello(inventory=(1,))

    census = scheduler.hello()

    assert [scheduler.sees(first), scheduler.sees(second, 1)] == census[2:4]


def test_a_successor_takes_over_and_what_it_lacks_is_lost_for_good() -> None:
    """The guardian's word: its worker died, this one replaces it."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1), a_bundle(2))

    heir = Worker(broker, 2)
    effects = heir.hello(inventory=(2,), replaces=worker.id)

    assert effects[0] == heir.is_welcome(epoch=1)
    assert effects[1:3] == [
        scheduler.hears_lost(worker, 1, gone=True, reason="replaced"),
        WorkerLost(worker.id, "replaced", 1),
    ]
    assert effects[4:] == [scheduler.sees(heir, 2, replaces=worker.id)]


def test_a_worker_of_another_host_replaces_nobody() -> None:
    """A worker's key is not a licence to end another's leases."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))

    stranger = Worker(broker, 2)
    effects = stranger.hello(replaces=worker.id, host="elsewhere")

    assert effects[2] == scheduler.sees(stranger, host="elsewhere")
    effects = scheduler.hello()
    assert scheduler.sees(worker, 1) in effects


def test_a_worker_that_could_not_be_reached_is_asked_what_it_holds() -> None:
    """Nobody knows whether it has what was sent last; its Hello settles it, and until then it is given nothing."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    assert broker.takes(PeerUnreachable(worker.routing_id)) == []
    assert scheduler.submit(a_bundle(2)) == []

    assert worker.says(messages.Heartbeat) == [Send(worker.routing_id, messages.WhoAreYou())]
    effects = worker.hello(inventory=())

    assert effects[1] == scheduler.hears_lost(worker, 1, gone=False, reason="not in its inventory")
    assert effects[-1] == worker.gets(a_bundle(2))


def test_a_scheduler_that_could_not_be_reached_says_hello_again() -> None:
    """A Result that could not be passed on comes again with the new session."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    broker.takes(PeerUnreachable(scheduler.routing_id))
    assert worker.result(1) == []

    assert scheduler.says(messages.Heartbeat) == [Send(scheduler.routing_id, messages.WhoAreYou())]
    assert worker.is_told(messages.NewEpoch, epoch=1) in scheduler.hello()


def test_a_hello_that_is_said_again_opens_a_new_session() -> None:
    """Each Hello has its Welcome, and what was assigned in the session before is void unless the inventory names it."""
    _, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    before = worker.session

    effects = worker.hello()

    assert worker.session != before
    assert effects[1] == scheduler.hears_lost(worker, 1, gone=False, reason="not in its inventory")


# --- Schedulers. ---


def test_the_census_comes_in_parts() -> None:
    """No message names more ids than a decoder takes."""
    broker = Broker()
    scheduler = Scheduler(broker)
    scheduler.hello()
    for start in (1, 15_001):
        scheduler.submit(*(a_bundle(i) for i in range(start, start + 15_000)))

    effects = scheduler.hello()

    assert effects[2:4] == [
        scheduler.is_told(messages.Census, queued=tuple(range(1, limits.IDS_MAX + 1)), more=True),
        scheduler.is_told(messages.Census, queued=tuple(range(limits.IDS_MAX + 1, 30_001)), more=False),
    ]


def test_an_older_epoch_is_refused() -> None:
    """Whoever lost the store must not speak for it."""
    broker = Broker()
    Scheduler(broker, 2).hello(epoch=5)
    late = Scheduler(broker, 1)

    effects = late.hello(epoch=4)

    reason = "stale epoch 4: the store is at 5"
    assert effects == [
        late.is_told(messages.Refused, reason=reason, fatal=True, bundles=()),
        PeerRefused("scheduler", reason, 1),
    ]


def test_one_epoch_has_one_scheduler() -> None:
    """Two with the same epoch cannot be told apart by the store's fence."""
    broker = Broker()
    Scheduler(broker, 1).hello(epoch=5)
    other = Scheduler(broker, 2)

    effects = other.hello(epoch=5)

    reason = "epoch 5 belongs to another scheduler (here 1)"
    assert effects[0] == other.is_told(messages.Refused, reason=reason, fatal=True, bundles=())


def test_a_scheduler_of_another_store_waits_for_what_the_workers_still_have() -> None:
    """They would take its tasks for those that they have: the numbers are those of the rows."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    scheduler.says(messages.Bye, reason="stopped")
    other = Scheduler(broker, 2)

    effects = other.hello(store=b"p" * 16, epoch=9)

    reason = (
        "1 worker still has tasks of another database: start its scheduler again, or stop the worker. "
        "That database: /tasks.db"
    )
    assert effects[0] == other.is_told(messages.Refused, reason=reason, fatal=True, bundles=())
    same = Scheduler(broker, 3)
    assert same.hello(epoch=2)[2] == same.sees(worker, 1)
    worker.result(1)
    same.commits(worker, worker.sequence)
    same.says(messages.Bye, reason="stopped")
    assert Scheduler(broker, 4).hello(store=b"p" * 16)[0] != effects[0]


def test_a_scheduler_of_another_store_does_not_displace_the_one_that_is_here() -> None:
    """Whatever its epoch: those of two stores say nothing of each other."""
    broker = Broker()
    Scheduler(broker, 1).hello(epoch=1)
    other = Scheduler(broker, 2)

    effects = other.hello(store=b"p" * 16, epoch=9)

    reason = (
        "a scheduler of another database is here (here 1): if it was killed, start it again, or stop the workers "
        "and restart the broker; else take another broker (hs-broker --name). That database: /tasks.db"
    )
    assert effects[0] == other.is_told(messages.Refused, reason=reason, fatal=True, bundles=())


@pytest.mark.parametrize(
    "database",
    [
        "/lustre/" + "long/" * 40 + "tasks.db",  # as deep as folders of a site are
        "/" + "数" * 255,  # as long as one may be
    ],
)
def test_a_refusal_has_the_whole_name_of_the_database(database: str) -> None:
    """It is what the user has to look for; and the whole is a message that may be sent."""
    broker = Broker()
    Scheduler(broker, 1).hello(host="node1.cluster.example.org", database=database)
    other = Scheduler(broker, 2)

    (refused,) = (sent.message for sent in other.hello(store=b"p" * 16) if isinstance(sent, Send))

    assert isinstance(refused, messages.Refused)
    assert refused.reason.endswith(f"That database: {database}")
    assert decode(encode(refused)) == refused


def test_a_refusal_is_no_longer_than_a_text_may_be() -> None:
    """A host may have any name."""
    broker = Broker()
    Scheduler(broker, 1).hello(host="数" * (limits.NAME_BYTES_MAX // 3))
    other = Scheduler(broker, 2)

    (refused,) = (sent.message for sent in other.hello(store=b"p" * 16) if isinstance(sent, Send))

    assert decode(encode(refused)) == refused


def test_the_scheduler_before_is_told_that_it_is_over() -> None:
    """From the Hello of the next one on, nothing of it is taken."""
    broker, first, (worker,) = a_cluster()
    second = Scheduler(broker, 2)
    second.hello(epoch=2)

    effects = first.submit(a_bundle(1))

    reason = "stale epoch: the store is at 2"
    refusal = messages.Refused(session=bytes(16), reason=reason, fatal=True, bundles=())
    assert effects == [Send(first.routing_id, refusal), PeerRefused("scheduler", reason, 1)]
    assert second.submit(a_bundle(2)) == [worker.gets(a_bundle(2))]


def test_a_scheduler_that_left_takes_what_waits_with_it() -> None:
    """It holds nothing any more; the next one, of this store or another, begins afresh."""
    broker, scheduler, (worker,) = a_cluster(credit=1)
    scheduler.submit(a_bundle(1), a_bundle(2))

    assert scheduler.says(messages.Bye, reason="done") == [PeerLeft("scheduler", "done", 1)]

    other = Scheduler(broker, 2)
    effects = other.hello(epoch=1)
    assert effects[2:4] == [other.sees(worker, 1), other.is_told(messages.Census, queued=(), more=False)]
