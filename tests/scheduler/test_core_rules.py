"""The scheduler's core under any order of events: what is out in the store is out in the core, and nothing is given twice."""

import json
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.scheduler.cores import FIRST, SESSION, W1, W2, a_core, attached, census, lost, outcome, welcome

from hs_common.messages import Credit, Demand, Received, Refused, Submit, Withdraw
from hs_common.tasks import OutcomeKind
from hs_common.values import replace
from hs_scheduler.events import (
    Claimed,
    ClaimedBundle,
    Connected,
    Disconnected,
    Effect,
    Event,
    Outcomes,
    Record,
    Recorded,
    Release,
    Reopen,
    Send,
    Sought,
    Withdrawn,
)
from hs_scheduler.out import NO_DEMAND
from hs_scheduler.stores.store import Applied
from hs_scheduler.tasks.state import State

WORKERS = (W1, W2)
LARGE = Demand(64, 0, 0.0)
CREDIT = 8

Tasks = dict[int, int]
"""Row -> dispatch."""


class AnyOrder(RuleBasedStateMachine):
    """A store, a broker and two workers as the protocol has them; what they say is on its way until it is delivered."""

    def __init__(self) -> None:
        super().__init__()
        self.core = a_core(4)
        self.now = 0.0
        self.dispatches: Tasks = {}
        """Of every row of the store."""
        self.new: set[int] = set()
        self.out: Tasks = {}
        self.unwanted: Tasks = {}
        """Of those, what was cancelled."""
        self.made = 0
        self.connected = False
        self.mail: deque[Event] = deque()
        self.slow = False
        """Whether what is said stays on its way until `deliver`."""
        self.queued: dict[int, Tasks] = {}
        """Bundles that wait in the broker."""
        self.here: set[bytes] = set()
        self.held: dict[bytes, dict[int, Tasks]] = {worker: {} for worker in WORKERS}
        self.forsaken: dict[bytes, Tasks] = {worker: {} for worker in WORKERS}
        """What a worker still runs though its lease is over."""
        self.results: dict[bytes, dict[int, Outcomes]] = {worker: {} for worker in WORKERS}
        """Sent, and not acknowledged."""
        self.sequence = dict.fromkeys(WORKERS, 0)

    # --- the core ---

    def tell(self, event: Event) -> None:
        self.perform(self.core.handle(event, self.now))

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Release():
                    for row, dispatch in effect.rows:
                        self.release(row, dispatch)
                case Record():
                    self.record(effect)
                case Send(Submit() as submit):
                    self.take(submit)
                case Send(Withdraw() as withdraw):
                    self.withdraw(withdraw)
                case Reopen():
                    self.lose_connection()

    def release(self, row: int, dispatch: int) -> None:
        assert self.out.pop(row) == dispatch
        if self.unwanted.pop(row, None) is None:
            self.new.add(row)

    def record(self, result: Record) -> None:
        """As a store: the first end of a row counts, and only its present dispatch may give it back."""
        applied: list[Applied] = []
        for told in result.outcomes:
            ended = told.kind is OutcomeKind.FINISHED
            if self.out.get(told.row) == told.dispatch or (ended and told.row in self.out.keys() | self.new):
                self.out.pop(told.row, None)
                self.new.discard(told.row)
                cancelled = self.unwanted.pop(told.row, None) is not None
                if not (ended or cancelled):
                    self.new.add(told.row)
                state = State.DONE if ended else State.CANCELLED if cancelled else State.NEW
                applied.append(Applied(told.row, told, state, failed=False, retried=False))
        self.results[result.worker].pop(result.sequence, None)
        self.core.acknowledge(result.worker, result.sequence)
        self.tell(Recorded(applied))

    # --- the broker ---

    def say(self, event: Event) -> None:
        if self.connected:
            self.mail.append(event)

    def take(self, submit: Submit) -> None:
        at = 0
        for header in submit.bundles:
            tasks: Tasks = dict(json.loads(submit.body[at : at + header.size]))
            at += header.size
            assert len(tasks) == header.tasks
            assert not tasks.items() & self.unwanted.items(), "what was cancelled is never given"
            assert tasks.items() <= self.out.items(), "nor what is over, or somebody else's"
            self.queued[header.bundle] = tasks
        assert at == len(submit.body)

    def withdraw(self, withdraw: Withdraw) -> None:
        """What waits is let go; a worker is told, and says so when it has let go too."""
        forgotten = [bundle for bundle in withdraw.bundles if self.queued.pop(bundle, None) is not None]
        if forgotten:
            self.say(Refused(session=SESSION, reason="withdrawn", fatal=False, bundles=tuple(forgotten)))

    def lose_connection(self) -> None:
        self.connected = False
        self.mail.clear()

    def report(self, worker: bytes, closed: tuple[int, ...], ends: Tasks, kind: OutcomeKind) -> None:
        self.sequence[worker] += 1
        number = self.sequence[worker]
        oldest = min(self.results[worker], default=number)
        told = [outcome(row, dispatch, kind) for row, dispatch in ends.items()]
        self.results[worker][number] = result = Outcomes(worker, number, oldest, closed, told)
        if worker in self.here:
            self.say(result)

    def attach(self, worker: bytes) -> None:
        """Say what it has; it repeats what nobody acknowledged."""
        self.say(attached(worker, *self.held[worker]))
        for result in self.results[worker].values():
            self.say(replace(result, oldest=min(self.results[worker])))

    # --- what happens ---

    @initialize()
    def begin(self) -> None:
        self.connect()
        for worker in WORKERS:
            self.come(worker)
        self.deliver_all()

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        self.tell(Connected())
        self.connected = True
        self.say(welcome())
        for worker in sorted(self.here):
            self.attach(worker)
        self.say(census(*self.queued))
        self.say(Credit(session=SESSION, tasks=CREDIT))
        self.settle()

    @precondition(lambda self: self.connected and len(self.dispatches) > 3)
    @rule(forgets=st.booleans())
    def disconnect(self, *, forgets: bool) -> None:
        """The broker may have been killed: then it knows nobody, and what waited there is gone."""
        self.lose_connection()
        self.tell(Disconnected())
        if forgets:
            self.queued.clear()
            self.here.clear()
        self.settle()

    @rule(slow=st.booleans())
    def hurry(self, *, slow: bool) -> None:
        self.slow = slow
        self.settle()

    @precondition(lambda self: self.mail)
    @rule(count=st.integers(1, 6))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.mail))):
            self.tell(self.mail.popleft())
            self.core.check()

    @precondition(lambda self: self.core.room())
    @rule(
        sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
        demand=st.sampled_from([NO_DEMAND, LARGE]),
        data=st.data(),
    )
    def claim(self, sizes: list[int], demand: Demand, data: st.DataObject) -> None:
        claimed = []
        for size in sizes:
            known = sorted(self.new)[: data.draw(st.integers(0, size))]
            rows = known + [len(self.dispatches) + 1 + number for number in range(size - len(known))]
            for row in rows:
                self.dispatches[row] = self.out[row] = self.dispatches.get(row, 0) + 1
            self.new.difference_update(rows)
            tasks = [(row, self.out[row]) for row in rows]
            group = data.draw(st.integers(0, 2))
            claimed.append(ClaimedBundle(FIRST + self.made, tasks, demand, json.dumps(tasks).encode(), group))
            self.made += 1
        self.tell(Claimed(claimed))
        self.settle()

    @precondition(lambda self: self.queued)
    @rule(data=st.data(), reason=st.sampled_from(["fits nobody", "fits nobody", "queue full"]))
    def refuse(self, data: st.DataObject, reason: str) -> None:
        some = data.draw(st.sets(st.sampled_from(sorted(self.queued)), min_size=1))
        for bundle in some:
            del self.queued[bundle]
        self.say(Refused(session=SESSION, reason=reason, fatal=False, bundles=tuple(sorted(some))))
        self.settle()

    @precondition(lambda self: self.queued and self.here)
    @rule(data=st.data(), confirms=st.booleans())
    def assign(self, data: st.DataObject, *, confirms: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.here)))
        bundle = data.draw(st.sampled_from(sorted(self.queued)))
        self.held[worker][bundle] = self.queued.pop(bundle)
        if confirms:
            self.say(Received(session=SESSION, worker=worker, bundles=(bundle,)))
        self.settle()

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), kind=st.sampled_from([OutcomeKind.FINISHED, OutcomeKind.FINISHED, OutcomeKind.HANDED_BACK]))
    def end_tasks(self, data: st.DataObject, kind: OutcomeKind) -> None:
        """Also of a worker whose broker is away: it says so later."""
        worker = data.draw(st.sampled_from([worker for worker in WORKERS if self.held[worker]]))
        bundle = data.draw(st.sampled_from(sorted(self.held[worker])))
        tasks = self.held[worker][bundle]
        some = data.draw(st.sets(st.sampled_from(sorted(tasks)), min_size=1))
        ends = {row: tasks.pop(row) for row in sorted(some)}
        if not tasks:
            del self.held[worker][bundle]
        self.report(worker, () if tasks else (bundle,), ends, kind)
        self.settle()

    @precondition(lambda self: any(self.forsaken.values()))
    @rule(data=st.data())
    def end_what_was_forsaken(self, data: st.DataObject) -> None:
        """Its row may be out again, be over, or be cancelled."""
        worker = data.draw(st.sampled_from([worker for worker in WORKERS if self.forsaken[worker]]))
        row = data.draw(st.sampled_from(sorted(self.forsaken[worker])))
        self.report(worker, (), {row: self.forsaken[worker].pop(row)}, OutcomeKind.FINISHED)
        self.settle()

    @rule(worker=st.sampled_from(WORKERS))
    def come(self, worker: bytes) -> None:
        if worker not in self.here:
            self.here.add(worker)
            self.attach(worker)
        self.settle()

    @precondition(lambda self: self.here)
    @rule(data=st.data(), gone=st.booleans())
    def lose(self, data: st.DataObject, *, gone: bool) -> None:
        """Its lease is over; it may still run what it has, but is not asked any more."""
        worker = data.draw(st.sampled_from(sorted(self.here)))
        self.here.remove(worker)
        self.say(lost(worker, *self.held[worker], gone=gone))
        self.forsake(worker)
        self.settle()

    def forsake(self, worker: bytes) -> None:
        for tasks in self.held[worker].values():
            self.forsaken[worker].update(tasks)
        self.held[worker].clear()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        rows = data.draw(st.sets(st.sampled_from(sorted(self.out)), min_size=1, max_size=3))
        tasks = {row: self.out[row] for row in sorted(rows)}
        self.unwanted.update(tasks)
        self.tell(Withdrawn(list(tasks.items())))
        self.settle()

    @precondition(lambda self: self.core.parked_tasks)
    @rule(first=st.integers(1, 20), more=st.integers(0, 10))
    def seek(self, first: int, more: int) -> None:
        self.tell(Sought([(first, first + more)]))
        self.settle()

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.perform(self.core.expire(self.now))
        self.settle()

    # --- what always holds ---

    @invariant()
    def rules_hold(self) -> None:
        self.core.check()
        assert self.core.room() >= 0

    @invariant()
    def what_is_out_in_the_store_is_out_in_the_core(self) -> None:
        assert self.core.tasks_out == len(self.out)

    def teardown(self) -> None:
        """Then all goes well for a while: everything comes to an end."""
        if not self.connected:
            self.connect()
        for worker in WORKERS:
            self.come(worker)
        self.deliver_all()
        for _ in range(2):
            self.attach(W1)  # what fitted nobody is tried again
            self.deliver_all()
            self.held[W1].update(self.queued)
            self.queued.clear()
            for worker in WORKERS:
                for bundle, tasks in self.held[worker].items():
                    self.report(worker, (bundle,), tasks, OutcomeKind.FINISHED)
                self.held[worker].clear()
            self.deliver_all()
        assert not self.out
        assert not self.core.tasks_out

    def settle(self) -> None:
        if not self.slow:
            self.deliver_all()

    def deliver_all(self) -> None:
        while self.mail:
            self.tell(self.mail.popleft())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
