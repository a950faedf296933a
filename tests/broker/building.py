"""What the tests of the broker's core are given: a broker, and peers that speak to it."""

from itertools import count
from typing import Any

from hs_broker.core import BrokerCore
from hs_broker.events import Effect, Event, Heard, Send
from hs_common import messages
from hs_common.messages import BundleHeader, Demand, Message

BROKER = b"b" * 16
STORE = b"o" * 16
ANYTHING = Demand(0, 0, 0.0)
LEASE_S = 300.0


def a_bundle(bundle: int, *, tasks: int = 1, size: int = 1, demand: Demand = ANYTHING) -> BundleHeader:
    """Return the header of a bundle."""
    return BundleHeader(bundle, tasks, size, demand)


class Broker:
    """A core whose every step is followed by `expire` where that is due, and by `check`."""

    def __init__(self, reach_s: float | None = None, lease_s: float = LEASE_S) -> None:
        numbers = count(1)
        self.remembers = True
        """Whether the scheduler says at once of each worker that its store knows it."""
        self.core = BrokerCore(
            broker=BROKER, make_token=lambda: next(numbers).to_bytes(16, "big"), lease_s=lease_s, reach_s=reach_s
        )
        self.now = 0.0
        self.token: dict[bytes, bytes] = {}
        """Routing id -> the session that its last Welcome gave."""

    def hears(self, peer: bytes, role: str, message: Message) -> list[Effect]:
        return self.takes(Heard(peer, role, message))

    def takes(self, event: Event) -> list[Effect]:
        effects = self.core.handle(event, self.now)
        self.core.check()
        for effect in effects if self.remembers else ():
            if isinstance(effect, Send) and isinstance(effect.message, messages.Attached):
                attached = effect.message
                known = messages.Committed(session=attached.session, worker=attached.worker, sequences=())
                effects = effects + self.core.handle(Heard(effect.peer, "scheduler", known), self.now)
                self.core.check()
        return self._note(effects + self._expire())

    def passes(self, seconds: float) -> list[Effect]:
        """Let time pass in steps of a tick or less, as a shell does."""
        effects: list[Effect] = []
        end = self.now + seconds
        while (due := self.core.deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            effects += self._expire()
        self.now = end
        return self._note(effects)

    def stands_still(self, seconds: float) -> list[Effect]:
        """Let time pass without being called (SIGSTOP)."""
        self.now += seconds
        return self._note(self._expire())

    def _expire(self) -> list[Effect]:
        due = self.core.deadline()
        if due is None or due > self.now:
            return []
        effects = self.core.expire(self.now)
        self.core.check()
        return effects

    def _note(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, messages.Welcome):
                self.token[effect.peer] = effect.message.session
        return effects


class Peer:
    """One connection to the broker."""

    role = ""

    def __init__(self, broker: Broker, routing_id: bytes) -> None:
        self.broker = broker
        self.routing_id = routing_id

    @property
    def session(self) -> bytes:
        return self.broker.token.get(self.routing_id, bytes(16))

    def says(self, kind: type[Message], **fields: Any) -> list[Effect]:
        return self.broker.hears(self.routing_id, self.role, kind(**{"session": self.session, **fields}))

    def is_told(self, kind: type[Message], **fields: Any) -> Send:
        """Return the effect by which it is told so."""
        return Send(self.routing_id, kind(**({"session": self.session} | fields)))

    def is_welcome(self, epoch: int = 0) -> Send:
        return self.is_told(messages.Welcome, broker=BROKER, epoch=epoch)


class Worker(Peer):
    """A worker on one connection; the same incarnation may have another."""

    role = "worker"

    def __init__(self, broker: Broker, number: int, connection: int = 1) -> None:
        super().__init__(broker, b"w%d.%d" % (number, connection))
        self.id = bytes([number]) * 16
        self.number = number
        self.sequence = 0

    def hello(self, **fields: Any) -> list[Effect]:
        usual: dict[str, Any] = {
            "worker": self.id,
            "replaces": b"",
            "version": "1",
            "host": "here",
            "pid": 100 + self.number,
            "slots": 2,
            "credit": 4,
            "cores": 8,
            "memory": 1 << 30,
            "seconds": 0.0,
            "confirms": True,
            "inventory": (),
        }
        return self.broker.hears(self.routing_id, self.role, messages.WorkerHello(**(usual | fields)))

    def ready(self, **fields: Any) -> list[Effect]:
        return self.says(
            messages.Ready, **({"slots": 2, "credit": 4, "cores": 8, "memory": 1 << 30, "seconds": 0.0} | fields)
        )

    def result(self, *closed: int, tasks: int | None = None, sequence: int | None = None) -> list[Effect]:
        self.sequence += 1
        return self.says(
            messages.Result,
            worker=self.id,
            sequence=sequence or self.sequence,
            oldest=1,
            tasks=len(closed) if tasks is None else tasks,
            closed=closed,
            body=b"outcomes",
        )

    def gets(self, *headers: BundleHeader) -> Send:
        """Return the effect by which it is given bundles."""
        return self.is_told(messages.Assign, bundles=headers, body=b"x" * sum(header.size for header in headers))


class Scheduler(Peer):
    """The scheduler on one connection."""

    role = "scheduler"

    def __init__(self, broker: Broker, number: int = 1, connection: int = 1) -> None:
        super().__init__(broker, b"s%d.%d" % (number, connection))
        self.id = bytes([200 + number]) * 16

    def hello(self, **fields: Any) -> list[Effect]:
        usual: dict[str, Any] = {
            "scheduler": self.id,
            "version": "1",
            "host": "here",
            "pid": 1,
            "epoch": 1,
            "store": STORE,
            "database": "/tasks.db",
        }
        return self.broker.hears(self.routing_id, self.role, messages.SchedulerHello(**(usual | fields)))

    def submit(self, *headers: BundleHeader) -> list[Effect]:
        return self.says(messages.Submit, bundles=headers, body=b"x" * sum(header.size for header in headers))

    def commits(self, worker: Worker, *sequences: int) -> list[Effect]:
        return self.says(messages.Committed, worker=worker.id, sequences=sequences)

    def has_credit(self, tasks: int) -> Send:
        return self.is_told(messages.Credit, tasks=tasks)

    def sees(self, worker: Worker, *bundles: int, **fields: Any) -> Send:
        """Return the effect by which it learns of a worker."""
        usual: dict[str, Any] = {
            "worker": worker.id,
            "replaces": b"",
            "host": "here",
            "slots": 2,
            "cores": 8,
            "memory": 1 << 30,
            "seconds": 0.0,
            "bundles": bundles,
        }
        return self.is_told(messages.Attached, **(usual | fields))

    def hears_result(self, worker: Worker, *closed: int, tasks: int | None = None, sequence: int | None = None) -> Send:
        return self.is_told(
            messages.Result,
            worker=worker.id,
            sequence=sequence or worker.sequence,
            oldest=1,
            tasks=len(closed) if tasks is None else tasks,
            closed=closed,
            body=b"outcomes",
        )

    def hears_lost(self, worker: Worker, *bundles: int, gone: bool, reason: str) -> Send:
        return self.is_told(messages.Lost, worker=worker.id, gone=gone, reason=reason, bundles=bundles)


class Control(Peer):
    """hs-cluster, or hs submit with its own role."""

    role = "control"
    client = b"c" * 16

    def hello(self) -> list[Effect]:
        hello = messages.ControlHello(client=self.client, version="1", host="here", pid=7)
        return self.broker.hears(self.routing_id, self.role, hello)

    def asks(self, request: int, verb: str = "status", body: bytes = b"what?") -> list[Effect]:
        return self.says(messages.Request, client=self.client, request=request, verb=verb, body=body)

    def hears_reply(self, request: int, status: int, body: bytes, *, more: bool = False) -> Send:
        return self.is_told(messages.Reply, client=self.client, request=request, status=status, more=more, body=body)


class Submitter(Control):
    """hs submit: a control peer that may do less."""

    role = "submit"


def a_cluster(
    *, workers: int = 1, reach_s: float | None = None, **hello: Any
) -> tuple[Broker, Scheduler, list[Worker]]:
    """Return a broker, its scheduler and workers, all attached."""
    broker = Broker(reach_s)
    scheduler = Scheduler(broker)
    scheduler.hello()
    those = [Worker(broker, number + 1) for number in range(workers)]
    for worker in those:
        worker.hello(**hello)
    return broker, scheduler, those
