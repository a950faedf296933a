"""A cluster in one process: the real cores and the real store in memory, with a network, processes and a clock of its own.

Everything that may happen in a run happens here by seed: connections break and lose what was on the way, daemons are killed
and started again, workers with what they were running. No socket, no process, no sleep: ten thousand schedules a minute.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import msgpack

from hs_broker.core import BrokerCore
from hs_broker.events import Heard
from hs_broker.events import Send as BrokerSend
from hs_common import messages
from hs_common.outcomes import unpack_outcomes
from hs_common.tasks import Outcome, OutcomeKind, Task, unpack_started
from hs_common.wire import decode, encode
from hs_scheduler import events as scheduling
from hs_scheduler.conversation import Identity as SchedulerIdentity
from hs_scheduler.core import SchedulerCore
from hs_scheduler.input.feed import Feed
from hs_scheduler.stores.memory import MemoryStore
from hs_scheduler.stores.store import Applied, InputState, NewTask, Retry
from hs_worker import events as working
from hs_worker.core import WorkerCore
from hs_worker.settings import Identity, Rules

LIFE_S = (8.0, 16.0)
"""Of a worker whose host is its own only for a while (`ending`): at least, at most."""
MARGIN_S = 6.0
"""Before its end; the longest task ends before it would be stopped."""

DISASTERS_S = 400.0
"""None happens later: what is then left has to end, and while all dies once a second nobody has to."""


class Lines:
    """An input by offset: a scheduler that starts anew goes on where the store says."""

    def __init__(self, count: int, state: InputState | None) -> None:
        self._count = count
        self._at = state.offset if state else 0

    @property
    def ended(self) -> bool:
        return self._at == self._count

    @property
    def position(self) -> int:
        return self._at

    def available(self) -> bool:
        return not self.ended

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        stop = min(self._count, self._at + lines_max)
        lines = [NewTask(b"%d" % number, None, 0, 0, "") for number in range(self._at, stop)]
        self._at = stop
        return lines

    def state(self) -> InputState:
        return InputState(
            path="",
            device=0,
            inode=0,
            size=self._count,
            modified_ns=0,
            offset=self._at,
            line=self._at,
            tags=(),
            ended=self.ended,
        )


class Wire:
    """One connection of a peer to the broker: in order each way, gone when it breaks."""

    def __init__(self, routing_id: bytes) -> None:
        self.routing_id = routing_id
        self.open = True


class Peer:
    """What scheduler and worker have in common: a wire that comes back by itself."""

    role = ""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.wire: Wire | None = None
        self.alive = True
        self.connect_later()

    def connect_later(self) -> None:
        self.world.after(self.world.random.uniform(0.01, 0.2), self._connect)

    def _connect(self) -> None:
        if not self.alive or (self.wire and self.wire.open):
            return
        if self.world.broker is None:
            self.connect_later()
            return
        self.wire = Wire(b"r%d" % next(self.world.numbers))
        self.world.wires[self.wire.routing_id] = (self.wire, self)
        self.connected()

    def say(self, message: messages.Message) -> bool:
        wire = self.wire
        check(message)
        if wire is None or not wire.open:
            return False
        self.world.deliver(wire, lambda: self.world.broker_hears(wire, self.role, message))
        return True

    def broken(self) -> None:
        self.disconnected()
        self.connect_later()

    def connected(self) -> None:
        raise AssertionError

    def disconnected(self) -> None:
        raise AssertionError

    def hear(self, message: messages.Message) -> None:
        raise AssertionError

    def hear_if_alive(self, message: messages.Message) -> None:
        if self.alive:
            self.hear(message)


def check(message: messages.Message) -> None:
    """Assert that who gets it takes it for what it is: what is malformed is dropped."""
    assert decode(encode(message)) == message


class SimScheduler(Peer):
    """The scheduler's shell, step by step; `store` outlives it."""

    role = "scheduler"

    def __init__(self, world: "World") -> None:
        self.store = world.store
        now = world.now
        self.core = SchedulerCore(
            identity=SchedulerIdentity(
                scheduler=world.token(),
                version="0",
                host="h",
                pid=1,
                epoch=self.store.take_epoch(),
                store=self.store.uid(),
                database="",
            ),
            bundlesize=world.bundlesize,
            grace_s=5,
            now=now,
        )
        self.core.restore(self.store.held(), self.store.workers())
        self.lines = Lines(world.tasks, self.store.input_state())
        self.feed = Feed(
            store=self.store,
            source=self.lines,
            core=self.core,
            cwd=b"/",
            bundlesize=world.bundlesize,
            bundlewait_s=1,
            ahead_max=None,
        )
        super().__init__(world)
        world.after(0, self.tick)

    def connected(self) -> None:
        self.step(self.core.handle(scheduling.Connected(), self.world.now))

    def disconnected(self) -> None:
        self.step(self.core.handle(scheduling.Disconnected(), self.world.now))

    def hear(self, message: messages.Message) -> None:
        event: scheduling.Event = message
        if isinstance(message, messages.Result):
            outcomes = unpack_outcomes(message.body)
            event = scheduling.Outcomes(message.worker, message.sequence, message.oldest, message.closed, outcomes)
        elif isinstance(message, messages.Running):
            event = scheduling.Running(message.worker, unpack_started(message.body))
        self.step(self.core.handle(event, self.world.now))

    def tick(self) -> None:
        if self.alive:
            self.step(self.core.expire(self.world.now))
            self.world.after(0.1, self.tick)

    def step(self, effects: list[scheduling.Effect]) -> None:
        """As `SchedulerDaemon._commit`: write all, then send; the process may die in between."""
        applied: list[Applied] = []
        room = self.core.room()
        self.feed.take(room, ahead=self.world.random.random() < 0.1)
        now = self.world.now
        with self.store.transaction():
            for effect in effects:
                match effect:
                    case scheduling.Record(worker=worker, host=host, outcomes=outcomes):
                        applied += self.store.record(worker, host, outcomes, Retry(0, eager=False), now)
                    case scheduling.Release(rows=rows):
                        self.store.release(rows)
                    case scheduling.MarkStarted(worker=worker, host=host, started=started):
                        self.store.started(worker, host, started)
                    case scheduling.RememberWorker(worker=worker, replaces=replaces, host=host):
                        self.store.worker_attached(worker, replaces, host, now)
                    case scheduling.ForgetWorker(worker=worker):
                        self.store.worker_gone(worker)
            claimed = self.feed.fill(room, now, now)
        self.feed.committed()
        self.world.applied += Counter(item.row for item in applied if item.state)
        if self.world.dies("scheduler.after_commit"):
            self.world.kill_scheduler()
            return
        for effect in effects:
            match effect:
                case scheduling.Record(worker=worker, sequence=sequence):
                    self.core.acknowledge(worker, sequence)
                case scheduling.RememberWorker(worker=worker):
                    self.core.remembered(worker)
        effects = effects + self.core.handle(scheduling.Recorded(applied), now)
        effects += self.core.handle(scheduling.Claimed(claimed), now) if claimed else []
        for effect in effects + self.core.settle(now):
            if isinstance(effect, scheduling.Send):
                self.say(effect.message)
            elif isinstance(effect, scheduling.Reopen):
                self.world.cut(self)
        self.core.check()


class SimWorker(Peer):
    """The worker's shell with processes that are entries in a calendar. `records` and `slots` are the shared map."""

    role = "worker"

    def __init__(self, world: "World", predecessor: "SimWorker | None" = None) -> None:
        self.records: list[tuple[int, bytes]] = []
        self.slots: dict[int, tuple[int, Task]] = {}
        self.incarnation: bytes = world.token()
        self.replaces = b""
        self.welcomed = False
        self.ends_at: float = predecessor.ends_at if predecessor is not None else world.end_of_a_life()
        if predecessor is not None:
            if predecessor.welcomed:
                self.replaces = predecessor.incarnation
            else:
                self.incarnation, self.replaces = predecessor.incarnation, predecessor.replaces
            self.records = list(predecessor.records)
            for bundle, task in predecessor.slots.values():
                crashed = Outcome(
                    task.row, task.dispatch, OutcomeKind.CRASHED, 0, "", 1.0, 0.0, 0.0, 0.0, 0, b"", b"", b""
                )
                self.records.append((bundle, msgpack.packb(crashed)))
        self.core = WorkerCore(
            Rules(
                slots=2,
                signalwait_s=1,
                confirms=world.random.random() < 0.5,
                ends_at=self.ends_at,
                margin_s=MARGIN_S,
                stop_wait_s=0.25,
            ),
            Identity(worker=self.incarnation, replaces=self.replaces, version="0", host="h", pid=next(world.numbers)),
            self.records,
            world.now,
        )
        super().__init__(world)
        self.perform(self.core.handle(working.ClockSet(1e9), world.now))
        self.tick()

    def connected(self) -> None:
        self.perform(self.core.handle(working.Connected(), self.world.now))

    def disconnected(self) -> None:
        self.perform(self.core.handle(working.Disconnected(), self.world.now))

    def hear(self, message: messages.Message) -> None:
        self.welcomed = self.welcomed or isinstance(message, messages.Welcome)
        self.perform(self.core.handle(message, self.world.now))

    def tick(self) -> None:
        if self.alive:
            self.perform(self.core.expire(self.world.now))
            self.world.after(0.02, self.tick)

    def perform(self, effects: list[working.Effect]) -> None:
        for effect in effects:
            match effect:
                case working.Spawn(slot=slot, task=task, bundle=bundle):
                    self.slots[slot] = (bundle, task)
                    self.world.started[int(task.args)] += 1
                    self.world.after(self.world.random.choice((0.001, 0.05, 2.5)), partial(self._ends, slot, task))
                case working.Record(slot=slot, bundle=bundle, packed=packed):
                    self.records.append((bundle, packed))
                    self.slots.pop(slot, None)
                case working.Release(size=size):
                    while size > 0:
                        size -= len(self.records.pop(0)[1]) + 16
                case working.Send(message=message):
                    if not self.say(message):
                        self.world.after(0, self._unsent)
                case working.Reopen():
                    self.world.cut(self)
                case working.Leave(refused=refused):
                    assert not refused, "the broker will not have it"
                    self.world.after(0.1, partial(self.world.replace, self))  # its farewell is on its way
        self.core.check()

    def _unsent(self) -> None:
        if self.alive:
            self.perform(self.core.handle(working.Unsent(), self.world.now))

    def _ends(self, slot: int, task: Task) -> None:
        if not self.alive or self.slots.get(slot, (0, None))[1] is not task:
            return
        self.world.finished[int(task.args)] += 1
        now = self.world.now
        exit_ = working.Exit(slot, 0, now - 0.001, now, 0.0, 0.0, 0)
        self.perform(self.core.handle(working.Exited([exit_]), now))


class World:
    """The machine room.

    Args:
        seed: Decides everything.
        tasks: Lines of input.
        bundlesize: As --bundlesize.
        workers: How many.
        disasters: What may happen, by name, each about once a second.

    """

    def __init__(self, seed: int, *, tasks: int, bundlesize: int, workers: int, disasters: tuple[str, ...]) -> None:
        self.random = Random(seed)
        self.tasks, self.bundlesize, self.disasters = tasks, bundlesize, disasters
        self.now = 0.0
        self.numbers = itertools.count(1)
        self.wires: dict[bytes, tuple[Wire, Peer]] = {}
        self.started: Counter[int] = Counter()
        self.finished: Counter[int] = Counter()
        self.applied: Counter[int] = Counter()
        self.workers_killed = 0
        self._calendar: list[tuple[float, int, Callable[[], object]]] = []
        self._delivered: dict[Wire, float] = {}
        self.store = MemoryStore()
        self.broker: BrokerCore | None = self._new_broker()
        self.scheduler = SimScheduler(self)
        self.workers = [SimWorker(self) for _ in range(workers)]
        self._broker_tick()
        if disasters:
            self.after(0.5, self._disaster)

    def run(self, until_s: float = 600.0) -> None:
        """Go on until every row has ended, or the calendar says that it takes too long."""
        while self._calendar and self.now < until_s:
            self.now, _, action = heapq.heappop(self._calendar)
            action()
            counts = self.store.counts
            if self.scheduler.lines.ended and not (counts.new or counts.assigned or self.scheduler.core.tasks_out):
                return

    def token(self) -> bytes:
        return self.random.randbytes(16)

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._calendar, (self.now + seconds, next(self.numbers), action))

    def deliver(self, wire: Wire, action: Callable[[], object]) -> None:
        """In order on one wire, and only while it stands."""
        at = max(self.now + self.random.uniform(0.0, 0.01), self._delivered.get(wire, 0.0))
        self._delivered[wire] = at
        heapq.heappush(self._calendar, (at, next(self.numbers), lambda: action() if wire.open else None))

    def end_of_a_life(self) -> float:
        """Return when a worker that comes now must end."""
        return self.now + self.random.uniform(*LIFE_S) if "ending" in self.disasters else math.inf

    def replace(self, worker: SimWorker) -> None:
        """Let another worker come some time after one has left."""
        if not worker.alive:
            return
        worker.alive = False
        if worker.wire is not None:
            worker.wire.open = False
        place = self.workers.index(worker)
        self.after(self.random.uniform(0, 5), partial(self._start_worker, place))

    def _start_worker(self, place: int) -> None:
        self.workers[place] = SimWorker(self)

    def cut(self, peer: Peer) -> None:
        if peer.wire is not None and peer.wire.open:
            peer.wire.open = False
            self.after(0, lambda: peer.broken() if peer.alive else None)

    # --- The broker's shell ---

    def broker_hears(self, wire: Wire, role: str, message: messages.Message) -> None:
        if self.broker is not None:
            self._broker_does(self.broker.handle(Heard(wire.routing_id, role, message), self.now))
            self._broker_does(self.broker.expire(self.now))
            self.broker.check()

    def _broker_tick(self) -> None:
        if self.broker is not None:
            self._broker_does(self.broker.expire(self.now))
        self.after(0.1, self._broker_tick)

    def _broker_does(self, effects: Sequence[object]) -> None:
        for effect in effects:
            if isinstance(effect, BrokerSend) and effect.peer in self.wires:
                check(effect.message)
                wire, peer = self.wires[effect.peer]
                self.deliver(wire, partial(peer.hear_if_alive, effect.message))

    def _new_broker(self) -> BrokerCore:
        return BrokerCore(broker=self.token(), make_token=self.token, lease_s=300, margin_s=MARGIN_S)

    # --- Disasters ---

    def dies(self, point: str) -> bool:
        return point in self.disasters and self.random.random() < 0.02

    def _disaster(self) -> None:
        match self.random.choice(self.disasters):
            case "broker":
                self.kill_broker()
            case "scheduler":
                self.kill_scheduler()
            case "both":
                self.kill_broker()
                self.kill_scheduler()
            case "worker":
                self.kill_worker()
            case "link":
                self.cut(self.random.choice([self.scheduler, *self.workers]))
        if self.now < DISASTERS_S:
            self.after(self.random.expovariate(1), self._disaster)

    def kill_broker(self) -> None:
        if self.broker is None:
            return
        self.broker = None
        for wire, peer in self.wires.values():
            if wire.open:
                self.cut(peer)
        self.wires.clear()
        self.after(self.random.uniform(0.05, 0.5), self._start_broker)

    def _start_broker(self) -> None:
        self.broker = self._new_broker()

    def kill_scheduler(self) -> None:
        if self.scheduler.alive:
            self.scheduler.alive = False
            if self.scheduler.wire is not None:
                self.scheduler.wire.open = False
            self.after(self.random.uniform(0.05, 0.5), self._start_scheduler)

    def _start_scheduler(self) -> None:
        self.scheduler = SimScheduler(self)

    def kill_worker(self) -> None:
        place = self.random.randrange(len(self.workers))
        self._kill_worker_at(place)
        if self.random.random() < 0.5:  # its successor too, perhaps before it is welcome
            self.after(self.random.uniform(0, 0.1), partial(self._kill_worker_at, place))

    def _kill_worker_at(self, place: int) -> None:
        victim = self.workers[place]
        if not victim.alive:
            return  # it has left, and the next one is not here yet
        victim.alive = False
        self.workers_killed += 1
        if victim.wire is not None:
            victim.wire.open = False
        self.workers[place] = SimWorker(self, victim)
