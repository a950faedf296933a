"""Who is who, who came back with what, and who may say what."""

import pytest
from tests.broker.building import (
    LEASE_S,
    Broker,
    Control,
    Peer,
    Scheduler,
    Submitter,
    Worker,
    a_bundle,
    a_cluster,
)

from hs_broker.events import Malformed, PeerBanned, PeerLeft, PeerRefused, PeerUnreachable, Send, WorkerLost
from hs_broker.peers import ALLOWED, ECHOES_PER_S_MAX, MESSAGES_PER_S_MAX, OFFENCES_MAX
from hs_broker.workers import HELLOS_AT_ONCE_MAX
from hs_common import limits, messages
from hs_common.incarnation import ORIGIN_BYTES, all_of
from hs_common.messages import Message
from hs_common.wire import decode, encode

SILENT = f"silent for {LEASE_S:g} s"
ZERO = bytes(16)
MESSAGES: dict[type[Message], Message] = {
    messages.WorkerHello: messages.WorkerHello(
        worker=ZERO, replaces=b"", version="", host="", pid=0, slots=0, credit=0, cores=0, memory=0, seconds=0.0,
        confirms=True, inventory=(),
    ),
    messages.SchedulerHello: messages.SchedulerHello(
        scheduler=ZERO, version="", host="", pid=0, epoch=0, store=ZERO, database=""
    ),
    messages.ControlHello: messages.ControlHello(client=ZERO, version="", host="", pid=0),
    messages.Welcome: messages.Welcome(session=ZERO, broker=ZERO, epoch=0),
    messages.WhoAreYou: messages.WhoAreYou(),
    messages.Refused: messages.Refused(session=ZERO, reason="", fatal=False, bundles=()),
    messages.Ready: messages.Ready(session=ZERO, slots=0, credit=0, cores=0, memory=0, seconds=0.0),
    messages.Credit: messages.Credit(session=ZERO, tasks=0),
    messages.Submit: messages.Submit(session=ZERO, bundles=(), body=b""),
    messages.Assign: messages.Assign(session=ZERO, bundles=(), body=b""),
    messages.Received: messages.Received(session=ZERO, worker=ZERO, bundles=()),
    messages.Result: messages.Result(session=ZERO, worker=ZERO, sequence=1, oldest=1, tasks=0, closed=(), body=b""),
    messages.Committed: messages.Committed(session=ZERO, worker=ZERO, sequences=()),
    messages.Running: messages.Running(session=ZERO, worker=ZERO, body=b""),
    messages.Recall: messages.Recall(session=ZERO, tasks=1),
    messages.Cancel: messages.Cancel(session=ZERO, worker=ZERO, tasks=()),
    messages.Withdraw: messages.Withdraw(session=ZERO, bundles=(), tasks=()),
    messages.NewEpoch: messages.NewEpoch(session=ZERO, epoch=0),
    messages.Attached: messages.Attached(
        session=ZERO, worker=ZERO, replaces=b"", host="", slots=0, cores=0, memory=0, seconds=0.0, bundles=()
    ),
    messages.Census: messages.Census(session=ZERO, queued=(), more=False),
    messages.Lost: messages.Lost(session=ZERO, worker=ZERO, gone=False, reason="", bundles=()),
    messages.WorkerDead: messages.WorkerDead(session=ZERO, worker=ZERO),
    messages.Drain: messages.Drain(session=ZERO, worker=b"", now=False),
    messages.Bye: messages.Bye(session=ZERO, reason=""),
    messages.Heartbeat: messages.Heartbeat(session=ZERO),
    messages.Request: messages.Request(session=ZERO, client=ZERO, request=1, verb="", body=b""),
    messages.Reply: messages.Reply(session=ZERO, client=ZERO, request=1, status=0, more=False, body=b""),
    messages.ClientGone: messages.ClientGone(session=ZERO, client=ZERO),
}  # fmt: skip
FORBIDDEN = [(role, kind) for role in ALLOWED for kind in messages.TYPE_OF.values() if kind not in ALLOWED[role]]


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


def test_the_scheduler_before_is_told_that_it_is_over() -> None:
    """From the Hello of the next one on, nothing of it is taken."""
    broker, first, (worker,) = a_cluster()
    second = Scheduler(broker, 2)
    second.hello(epoch=2)

    effects = first.submit(a_bundle(1))

    reason = "stale epoch: the store is at 2"
    refusal = messages.Refused(session=ZERO, reason=reason, fatal=True, bundles=())
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


# --- Leaving, silence, death. ---


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


# --- What is passed on. ---


def test_what_a_worker_tells_reaches_the_scheduler() -> None:
    """Bodies are passed on unopened, under the receiver's session."""
    _, scheduler, (worker,) = a_cluster()
    received = {"worker": worker.id, "bundles": (1, 2)}
    running = {"worker": worker.id, "body": b"not for us"}

    assert worker.says(messages.Received, **received) == [scheduler.is_told(messages.Received, **received)]
    assert worker.says(messages.Running, **running) == [scheduler.is_told(messages.Running, **running)]


def test_what_is_meant_for_a_worker_reaches_that_worker() -> None:
    """Cancel and Drain name it; a Drain that names nobody is for all."""
    broker, scheduler, (first, second) = a_cluster(workers=2)
    control = Control(broker, b"c")
    control.hello()
    cancel = {"worker": second.id, "tasks": ((5, 1),)}

    assert scheduler.says(messages.Cancel, **cancel) == [second.is_told(messages.Cancel, **cancel)]
    assert control.says(messages.Drain, worker=second.id, now=True) == [
        second.is_told(messages.Drain, worker=second.id, now=True)
    ]
    assert control.says(messages.Drain, worker=b"", now=False) == [
        first.is_told(messages.Drain, worker=first.id, now=False),
        second.is_told(messages.Drain, worker=second.id, now=False),
    ]
    assert scheduler.says(messages.Drain, worker=first.id, now=True) == [
        first.is_told(messages.Drain, worker=first.id, now=True)
    ]


def test_what_is_meant_for_an_unknown_worker_is_dropped() -> None:
    """A late word about somebody who left is no error."""
    _, scheduler, _ = a_cluster()
    gone = bytes([99]) * 16

    assert scheduler.says(messages.Cancel, worker=gone, tasks=((5, 1),)) == []
    assert scheduler.says(messages.Committed, worker=gone, sequences=(1,)) == []


# --- Peers that misbehave. ---


@pytest.mark.parametrize(("role", "kind"), FORBIDDEN)
def test_a_key_may_say_only_what_its_role_says(role: str, kind: type[Message]) -> None:
    """A worker's key cannot submit, a submit key cannot report results, nobody can speak as the broker (H10, H11)."""
    broker = Broker()

    effects = broker.hears(b"p", role, MESSAGES[kind])

    reason = f"a {role} key may not say {kind.__name__}"
    assert effects == [
        Send(b"p", messages.Refused(session=ZERO, reason=reason, fatal=True, bundles=())),
        PeerRefused(role, reason, 1),
    ]


def test_a_role_that_nobody_has_may_say_nothing() -> None:
    """Fail closed."""
    effects = Broker().hears(b"p", "None", messages.Heartbeat(session=ZERO))

    assert isinstance(effects[1], PeerRefused)


@pytest.mark.parametrize(
    "peer", [Worker(Broker(), 1), Scheduler(Broker()), Control(Broker(), b"c"), Submitter(Broker(), b"t")]
)
def test_who_has_no_session_is_asked_once_who_it_is(peer: Peer) -> None:
    """One question is enough: each could bring one more Hello."""
    assert peer.says(messages.Heartbeat) == [Send(peer.routing_id, messages.WhoAreYou())]
    assert peer.says(messages.Heartbeat) == []


def test_a_message_of_an_earlier_session_is_dropped() -> None:
    """It was on its way when its sender said Hello: the answer to that Hello settles everything."""
    _, scheduler, (worker,) = a_cluster()
    stale = worker.session
    worker.hello()

    assert worker.says(messages.Ready, session=stale, slots=9, credit=9, cores=9, memory=9, seconds=0.0) == []
    assert scheduler.submit(a_bundle(1)) == [worker.gets(a_bundle(1))]


def test_two_processes_cannot_be_one_worker() -> None:
    """The second is refused for good, the first keeps its session (H13)."""
    broker, scheduler, (worker,) = a_cluster()
    worker.ready()
    double = Worker(broker, 1, connection=2)

    effects = double.hello(pid=999)

    reason = "another process (here 101) is this worker"
    assert effects[0] == double.is_told(messages.Refused, reason=reason, fatal=True, bundles=())
    assert scheduler.submit(a_bundle(1)) == [worker.gets(a_bundle(1))]


def test_who_died_before_it_was_welcome_is_followed_under_its_id() -> None:
    """Its guardian cannot know that we know it; what it was given meanwhile never started."""
    broker, scheduler, (first,) = a_cluster()
    scheduler.submit(a_bundle(1))
    second = Worker(broker, 1, connection=2)

    effects = second.hello(pid=999)

    assert effects[0] == second.is_welcome(epoch=1)
    assert effects[1] == scheduler.hears_lost(first, 1, gone=False, reason="not in its inventory")
    second.ready()
    reason = "another process (here 999) is this worker"
    assert first.hello()[0] == first.is_told(messages.Refused, session=ZERO, reason=reason, fatal=True, bundles=())


def test_one_on_another_host_is_never_its_successor() -> None:
    """No guardian starts it there."""
    broker, _, (worker,) = a_cluster()
    double = Worker(broker, 1, connection=2)

    effects = double.hello(host="there")

    reason = f"another process (here {100 + worker.number}) is this worker"
    assert effects[0] == double.is_told(messages.Refused, reason=reason, fatal=True, bundles=())


def test_a_refusal_can_be_decoded_whatever_a_peer_is_called() -> None:
    """Names of peers stand in it, and those may be as long as a text may be."""
    broker = Broker()
    Worker(broker, 1).hello(host="\N{SNOWMAN}" * (limits.NAME_BYTES_MAX // 3))

    effects = Worker(broker, 1, connection=2).hello()

    assert isinstance(effects[0], Send)
    assert decode(encode(effects[0].message)) == effects[0].message


def test_two_that_take_one_session_from_each_other_are_stopped() -> None:
    """The same identity down to the pid: bounded by how often one worker may say Hello."""
    broker, _, (worker,) = a_cluster()
    pair = [Worker(broker, 1, connection=2), worker]
    effects = [pair[i % 2].hello() for i in range(HELLOS_AT_ONCE_MAX)]

    reason = "too many sessions of one worker"
    refusal = messages.Refused(session=ZERO, reason=reason, fatal=True, bundles=())
    assert effects[-1][0] == Send(worker.routing_id, refusal)
    assert effects[-2][0] == pair[0].is_welcome(epoch=1)


def test_a_worker_speaks_for_itself_only() -> None:
    """Whose word it is, its session says."""
    _, _, (first, second) = a_cluster(workers=2)

    effects = first.says(messages.Result, worker=second.id, sequence=1, oldest=1, tasks=1, closed=(1,), body=b"")

    assert effects == [PeerRefused("worker", "it speaks for another worker", 1)]


def test_a_flood_ends_the_session() -> None:
    """Beyond the budget nothing is looked at; the Hello that follows settles what was lost (H15)."""
    broker, _, (worker,) = a_cluster()
    answers = [worker.says(messages.Heartbeat) for _ in range(MESSAGES_PER_S_MAX - 1)]
    assert len([answer for answer in answers if answer]) == ECHOES_PER_S_MAX

    assert worker.says(messages.Heartbeat) == [PeerRefused("worker", "too many messages", 1)]
    assert worker.says(messages.Heartbeat) == []
    broker.passes(1)
    assert worker.says(messages.Heartbeat) == [Send(worker.routing_id, messages.WhoAreYou())]


def test_garbage_bans_a_connection() -> None:
    """The operator hears of it when it begins and when it ends, not each time; the bundles wait for the lease (H1)."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    garbage = Malformed(worker.routing_id, "worker", "unknown message type 99", other_version=False)

    effects = [broker.takes(garbage) for _ in range(OFFENCES_MAX + 1)]

    assert effects[0] == [PeerRefused("worker", garbage.reason, 1)]
    assert effects[1:-1] == [[]] * (OFFENCES_MAX - 1)
    assert effects[-1] == [PeerBanned("worker", garbage.reason)]
    assert worker.hello() == []
    assert scheduler.submit(a_bundle(2)) == []
    assert Worker(broker, 1, connection=2).hello(inventory=(1,)) != []


def test_another_version_is_told_so() -> None:
    """A typed answer, so that the other side can say what to do (H19)."""
    effects = Broker().takes(Malformed(b"p", "worker", "protocol version 9, expected 1", other_version=True))

    assert isinstance(effects[0], Send)
    assert isinstance(effects[0].message, messages.Refused)
    assert effects[0].message.fatal


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
