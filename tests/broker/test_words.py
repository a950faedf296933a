"""Who may say what, and to whom it is passed on."""

import pytest
from tests.broker.building import (
    Broker,
    Control,
    Peer,
    Scheduler,
    Submitter,
    Worker,
    a_bundle,
    a_cluster,
)

from hs_broker.events import Malformed, PeerBanned, PeerRefused, Send
from hs_broker.peers import ALLOWED, ECHOES_PER_S_MAX, MESSAGES_PER_S_MAX, OFFENCES_MAX
from hs_broker.workers import HELLOS_AT_ONCE_MAX
from hs_common import limits, messages
from hs_common.messages import Message
from hs_common.wire import decode, encode

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
