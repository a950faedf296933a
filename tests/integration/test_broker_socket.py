"""The broker shell on real sockets, in one thread: each step is called by hand, nothing sleeps."""

import os
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import pytest

from hs_broker.authenticator import Authenticator
from hs_broker.core import BrokerCore
from hs_broker.daemon import BrokerDaemon
from hs_broker.peers import OFFENCES_MAX
from hs_broker.router import Router, router
from hs_broker.stalls import STALL_S
from hs_common import messages, sockets
from hs_common.lifeline import Lifeline
from hs_common.messages import BundleHeader, Demand, Message
from hs_common.security import Connection, Server, make_cluster, make_key_pair
from hs_common.signals import SignalPipe
from hs_common.sockets import Link, new_context
from hs_common.wire import encode

STEPS_MAX = 6_000
"""Of 10 ms each: what has not happened by then never does."""

WORKER = b"w" * 16

M = TypeVar("M", bound=Message)


class Stage:
    """A broker on an ipc socket, and peers that are turned by the same hand."""

    def __init__(self, folder: str, lifeline: Lifeline | None = None) -> None:
        self.endpoint = f"ipc://{folder}/broker"
        self.server, self.connections = make_cluster((self.endpoint,), "here")
        self.context = new_context()
        self.peers: list[Peer] = []
        self.lifeline = lifeline
        self.core: BrokerCore
        self.router: Router
        self.authenticator: Authenticator
        self.daemon: BrokerDaemon
        self.handlers = signal.getsignal(signal.SIGUSR2)
        self.signals = SignalPipe([signal.SIGUSR2])
        self.reloaded = self.server
        self.start(self.server)

    def start(self, server: Server, stall_s: float = STALL_S) -> None:
        """Start the broker: a new incarnation that knows nothing."""
        self.own_context = new_context()
        self.authenticator = Authenticator(self.own_context, server)
        self.router = router(self.own_context, server)
        self.core = BrokerCore(broker=os.urandom(16), make_token=lambda: os.urandom(16), stall_s=stall_s)
        self.daemon = BrokerDaemon(
            self.core,
            self.router,
            self.authenticator,
            signals=self.signals,
            lifeline=self.lifeline,
            reload=lambda: self.reloaded,
        )

    def kill(self) -> None:
        """End the broker without a word to anybody."""
        self.own_context.destroy(0)

    def peer(self, role: str, connection: Connection | None = None) -> "Peer":
        """Return a new peer, connected and not yet known."""
        peer = Peer(self, connection or self.connections[role])
        self.peers.append(peer)
        return peer

    def until(self, condition: Callable[[], object]) -> None:
        """Turn everybody until it is so."""
        for _ in range(STEPS_MAX):
            self.daemon.step(0.01)
            self.core.check()
            for peer in self.peers:
                peer.turn()
            if condition():
                return
        pytest.fail("it never happened")

    def close(self) -> None:
        """End everything."""
        for peer in self.peers:
            peer.link.close()
        self.kill()
        self.context.destroy(0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR2, self.handlers)
        os.close(self.signals.fd)
        os.close(self.signals._write_fd)


class Peer:
    """A link, and what came over it."""

    def __init__(self, stage: Stage, connection: Connection) -> None:
        self.stage = stage
        self.link = Link(stage.context, connection)
        self.happened: list[str] = []
        self.heard: list[Message] = []

    def turn(self) -> None:
        """Take what has come; a scheduler remembers each worker at once."""
        self.happened += self.link.events()
        for message in self.link.receive():
            self.heard.append(message)
            if isinstance(message, messages.Attached):
                self.says(messages.Committed(session=message.session, worker=message.worker, sequences=()))

    def says(self, message: Message) -> None:
        """Say something; there is room for it."""
        assert self.link.send(message)

    def greets(self, hello: Message) -> bytes:
        """Wait for the connection, say Hello, return the session."""
        self.stage.until(lambda: "connected" in self.happened)
        self.happened.clear()
        self.says(hello)
        return self.hears(messages.Welcome).session

    def hears(self, kind: type[M]) -> M:
        """Wait for a message of this kind; what came before it is dropped."""
        self.stage.until(lambda: any(isinstance(message, kind) for message in self.heard))
        while not isinstance(message := self.heard.pop(0), kind):
            pass
        return message


@pytest.fixture(name="stage")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(str(tmp_path_factory.mktemp("b")))
    yield stage
    stage.close()


def worker_hello(inventory: tuple[int, ...] = ()) -> messages.WorkerHello:
    """Return the Hello of the one worker here."""
    return messages.WorkerHello(
        worker=WORKER, replaces=b"", version="1", host="here", pid=5, slots=1, credit=2, cores=1, memory=0, seconds=0.0,
        confirms=True, inventory=inventory,
    )  # fmt: skip


def scheduler_hello(epoch: int = 1) -> messages.SchedulerHello:
    """Return the Hello of the one scheduler here."""
    return messages.SchedulerHello(
        scheduler=b"s" * 16, version="1", host="here", pid=6, epoch=epoch, store=b"o" * 16, database="/tasks.db"
    )


def a_submit(session: bytes, bundle: int = 1) -> messages.Submit:
    """Return a Submit of one bundle."""
    return messages.Submit(session=session, bundles=(BundleHeader(bundle, 1, 4, Demand(0, 0, 0.0)),), body=b"work")


def a_result(session: bytes, bundle: int = 1) -> messages.Result:
    """Return the Result that finishes it."""
    return messages.Result(
        session=session, worker=WORKER, sequence=1, oldest=1, tasks=1, closed=(bundle,), body=b"outcome"
    )


def test_a_bundle_there_and_back(stage: Stage) -> None:
    """Scheduler -> broker -> worker, the Result back, and the acknowledgement to the worker."""
    # Given a scheduler and a worker in session
    scheduler, worker = stage.peer("scheduler"), stage.peer("worker")
    submitting = scheduler.greets(scheduler_hello())
    working = worker.greets(worker_hello())
    assert scheduler.hears(messages.Attached).worker == WORKER
    assert scheduler.hears(messages.Credit).tasks == 4

    # When a bundle is submitted, then the worker has it, its body unopened
    scheduler.says(a_submit(submitting))
    assert worker.hears(messages.Assign) == messages.Assign(
        session=working, bundles=(BundleHeader(1, 1, 4, Demand(0, 0, 0.0)),), body=b"work"
    )

    # And its Result reaches the scheduler under the scheduler's session
    worker.says(a_result(working))
    assert scheduler.hears(messages.Result) == a_result(submitting)

    # And the worker learns that it is durable
    scheduler.says(messages.Committed(session=submitting, worker=WORKER, sequences=(1,)))
    assert worker.hears(messages.Committed).sequences == (1,)


def test_a_broker_that_was_killed_is_told_again_what_it_knew(stage: Stage) -> None:
    """Both peers come back by themselves, and the worker's Result, said too early, is asked for again."""
    # Given a leased bundle
    scheduler, worker = stage.peer("scheduler"), stage.peer("worker")
    submitting = scheduler.greets(scheduler_hello())
    working = worker.greets(worker_hello())
    scheduler.says(a_submit(submitting))
    worker.hears(messages.Assign)

    # When the broker dies, another one comes, and the worker is there first
    stage.kill()
    stage.start(stage.server)
    working = worker.greets(worker_hello(inventory=(1,)))
    worker.says(a_result(working))
    stage.until(lambda: stage.core.deadline() is not None)

    # Then the scheduler hears who has the bundle, and the worker that it must say its Result again
    submitting = scheduler.greets(scheduler_hello())
    assert scheduler.hears(messages.Attached).bundles == (1,)
    assert scheduler.hears(messages.Census).queued == ()
    assert worker.hears(messages.NewEpoch).epoch == 1
    worker.says(a_result(working))
    assert scheduler.hears(messages.Result) == a_result(submitting)


def test_a_session_of_the_broker_before_is_no_session(stage: Stage) -> None:
    """Data before Hello is answered with a question, and nothing of it is kept (Z11)."""
    worker = stage.peer("worker")
    stage.until(lambda: "connected" in worker.happened)

    worker.says(a_result(b"o" * 16))

    worker.hears(messages.WhoAreYou)


def test_what_cannot_be_sent_to_a_peer_that_left_is_settled_by_its_hello(stage: Stage) -> None:
    """The Assign that nobody got comes back to the scheduler as lost, not as silence."""
    # Given a worker whose connection is gone, and a broker that does not know it yet
    scheduler, worker = stage.peer("scheduler"), stage.peer("worker")
    submitting = scheduler.greets(scheduler_hello())
    worker.greets(worker_hello())
    worker.link.reopen()

    # When a bundle is submitted
    scheduler.says(a_submit(submitting))
    worker.greets(worker_hello())

    # Then, whether it was leased to the old session or waited for the new one, it arrives or is told to be lost
    stage.until(
        lambda: (
            any(isinstance(message, messages.Assign) for message in worker.heard)
            or any(isinstance(message, messages.Lost) for message in scheduler.heard)
        )
    )


def test_the_role_is_that_of_the_key(stage: Stage) -> None:
    """A worker's key that speaks as a scheduler is refused, whatever it says about itself (H10)."""
    worker = stage.peer("worker")
    stage.until(lambda: "connected" in worker.happened)

    worker.says(scheduler_hello())

    refused = worker.hears(messages.Refused)
    assert (refused.fatal, refused.reason) == (True, "a worker key may not say SchedulerHello")


def test_garbage_with_a_good_key_does_not_stop_the_others(stage: Stage) -> None:
    """Frames that are no message, empty ones, several at once: that connection is banned, the run goes on (H1, H2)."""
    # Given a scheduler and a worker at work, and a second connection with the worker's key
    scheduler, worker, hostile = stage.peer("scheduler"), stage.peer("worker"), stage.peer("worker")
    submitting = scheduler.greets(scheduler_hello())
    worker.greets(worker_hello())
    stage.until(lambda: "connected" in hostile.happened)
    dealer = hostile.link.sockets[0]

    # When it talks nonsense
    dealer.send_multipart([b"one", b"two", b"three"])
    for number in range(OFFENCES_MAX + 1):
        dealer.send(os.urandom(number))
    dealer.send(encode(worker_hello()))
    scheduler.says(a_submit(submitting))

    # Then the worker gets its bundle, and the hostile one never a Welcome
    worker.hears(messages.Assign)
    stage.until(lambda: stage.router.strange == 1)
    assert not any(isinstance(message, messages.Welcome) for message in hostile.heard)


@pytest.mark.parametrize(
    "frame",
    [
        *(struct.pack(">BBI", version, 1, 0) for version in (0, 2, 255)),
        struct.pack(">BBI", 1, 1, 1) + b"\x90",  # a Hello without any field
    ],
)
def test_another_version_gets_a_typed_answer(stage: Stage, frame: bytes) -> None:
    """It can say then what to do, instead of waiting for ever (H19)."""
    worker = stage.peer("worker")
    stage.until(lambda: "connected" in worker.happened)

    worker.link.sockets[0].send(frame)

    assert worker.hears(messages.Refused).fatal


def test_a_stranger_never_gets_a_handshake(stage: Stage) -> None:
    """A key that is in no role is refused by ZAP, before any message (G9)."""
    stranger_server, stranger = make_cluster((stage.endpoint,), "here")
    del stranger_server
    own = stage.connections["worker"]
    peer = stage.peer(
        "worker",
        Connection(
            endpoints=own.endpoints, server_public=own.server_public, cluster=own.cluster, role="worker",
            keys=stranger["worker"].keys, host="here",
        ),
    )  # fmt: skip

    stage.until(lambda: "denied" in peer.happened)

    assert "connected" not in peer.happened


def test_the_end_of_the_lifeline_lets_others_finish(tmp_path_factory: pytest.TempPathFactory) -> None:
    """hs-cluster is gone: the broker stays until nobody is left to carry messages for."""
    # Given a broker on a lifeline, with a worker
    read_end, write_end = os.pipe()
    stage = Stage(str(tmp_path_factory.mktemp("b")), Lifeline(read_end))
    worker = stage.peer("worker")
    session = worker.greets(worker_hello())

    # When the lifeline ends
    os.close(write_end)
    stage.daemon.step(0.01)
    assert not stage.daemon.stopped

    # Then it stops as soon as the worker has said Bye
    worker.says(messages.Bye(session=session, reason="done"))
    stage.until(lambda: stage.daemon.stopped)
    stage.close()
    os.close(read_end)


def test_a_peer_that_does_not_read_holds_up_nobody(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipe fills, its session ends until it says Hello again, and the others are served (H18)."""
    # Given a worker that reads nothing any more, and another one; and pipes that are full sooner than in earnest
    monkeypatch.setattr(sockets, "_SEND_MARK", 1000)
    stage = Stage(str(tmp_path_factory.mktemp("b")))
    deaf, scheduler, worker, control = (stage.peer(role) for role in ("worker", "scheduler", "worker", "control"))
    submitting = scheduler.greets(scheduler_hello())
    deaf.greets(replace(worker_hello(), worker=b"d" * 16))
    worker.greets(worker_hello())
    stage.peers.remove(deaf)

    # When it is told more than its pipe takes
    session = control.greets(messages.ControlHello(client=b"c" * 16, version="1", host="here", pid=9))
    drain = messages.Drain(session=session, worker=b"d" * 16, now=False)

    def nobody_listens() -> bool:
        for _ in range(100):
            control.link.send(drain)
        known = stage.core._workers.get(b"d" * 16)
        return known is not None and not known.token

    stage.until(nobody_listens)

    # Then what is submitted goes to the other one
    scheduler.says(a_submit(submitting))
    worker.hears(messages.Assign)
    deaf.link.close()
    stage.close()


def test_a_worker_that_stalls_is_told_of_and_can_be_evicted(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """It takes a bundle, beats, and says nothing of it; its bundle then runs elsewhere (H16)."""
    # Given a worker that holds a bundle, a broker without patience, and another worker
    stage.kill()
    stage.start(stage.server, stall_s=0.3)
    scheduler, idler, other, control = (stage.peer(role) for role in ("scheduler", "worker", "worker", "control"))
    submitting = scheduler.greets(scheduler_hello())
    session = idler.greets(worker_hello())
    scheduler.says(a_submit(submitting))
    idler.hears(messages.Assign)
    other.greets(replace(worker_hello(), worker=b"o" * 16))
    idler.says(messages.Heartbeat(session=session))
    said = ""

    def is_told() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "worker.stalled" in said

    stage.until(is_told)

    # When the operator has it evicted
    commanding = control.greets(messages.ControlHello(client=b"c" * 16, version="1", host="here", pid=9))
    control.says(messages.WorkerDead(session=commanding, worker=WORKER))

    # Then the scheduler has its bundle again, and the other worker gets it
    lost = scheduler.hears(messages.Lost)
    assert (lost.worker, lost.gone, lost.bundles) == (WORKER, True, (1,))
    scheduler.says(a_submit(submitting, bundle=2))
    assert other.hears(messages.Assign).bundles[0].bundle == 2


def test_a_revoked_key_is_not_listened_to_any_more(stage: Stage) -> None:
    """Its connection lives, but what it says is dropped and counted, and nothing is said to it; a new key is welcome (H20)."""
    # Given a scheduler, and a worker that holds a bundle
    scheduler, revoked = stage.peer("scheduler"), stage.peer("worker")
    submitting = scheduler.greets(scheduler_hello())
    session = revoked.greets(worker_hello())
    scheduler.says(a_submit(submitting))
    revoked.hears(messages.Assign)

    # When the worker's key is replaced, and it still says what it likes
    keys = make_key_pair()
    stage.reloaded = replace(stage.server, roles=dict(stage.server.roles) | {"worker": keys.public})
    os.kill(os.getpid(), signal.SIGUSR2)
    stage.until(lambda: not stage.core._workers.get(WORKER).token)  # type: ignore[union-attr]
    refused = stage.authenticator.refused
    revoked.says(a_result(session))
    revoked.says(worker_hello(inventory=(1,)))
    scheduler.says(a_submit(submitting, bundle=2))
    stage.until(lambda: stage.authenticator.refused == refused + 2)

    # Then a worker with the new key has what it says it has, and nobody else heard anything
    fresh = stage.peer("worker", replace(stage.connections["worker"], keys=keys))
    fresh.greets(worker_hello(inventory=(1,)))
    assert fresh.hears(messages.Assign).bundles[0].bundle == 2
    assert revoked.heard == []
    assert not any(isinstance(message, messages.Result | messages.Lost) for message in scheduler.heard)
