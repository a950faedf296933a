"""Whatever happens, in whatever order, the rules of the broker hold, and no bundle is forgotten by everybody."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hs_broker.core import BrokerCore
from hs_broker.events import Effect, Heard, Malformed, PeerUnreachable, RoleRevoked, Send
from hs_common import messages
from hs_common.messages import BundleHeader, Demand, Message

NUMBERS = st.sampled_from([1, 2, 3])
DEMANDS = st.sampled_from([Demand(0, 0, 0.0), Demand(4, 0, 0.0), Demand(0, 0, 50.0), Demand(99, 0, 0.0)])
LEASE_S = 20.0


class _Worker:
    """A worker that follows the protocol: it accepts only what comes in the session of its last Hello."""

    def __init__(self, number: int) -> None:
        self.id = bytes([number]) * 16
        self.number = number
        self.connection = 0
        self.token = b""
        self.hellos = 0
        self.holds: set[int] = set()
        self.unfinished: set[int] = set()
        self.results: dict[int, tuple[int, ...]] = {}
        self.sequence = 0

    @property
    def routing_id(self) -> bytes:
        return b"w%d.%d" % (self.number, self.connection)


class AnyOrder(RuleBasedStateMachine):
    """Random peers, silence, lost connections, repeated and forged messages, restarts of broker and scheduler."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.tokens = 0
        self.counter = 0
        self.epoch = 0
        self.scheduler_token = b""
        self.scheduler_connection = 0
        self.control_token = b""
        self.out: set[int] = set()
        """Bundles that the scheduler believes to be with the broker."""
        self.mail: deque[Send] = deque()
        self.workers = {number: _Worker(number) for number in (1, 2, 3)}
        self.core = self.new_core()

    def new_core(self) -> BrokerCore:
        return BrokerCore(broker=b"b" * 16, make_token=self.make_token, lease_s=LEASE_S)

    def make_token(self) -> bytes:
        self.tokens += 1
        return self.tokens.to_bytes(16, "big")

    # --- How peers take what they are told. ---

    def say(self, peer: bytes, role: str, message: Message) -> None:
        self.saw(self.core.handle(Heard(peer, role, message), self.now))

    def saw(self, effects: list[Effect]) -> None:
        """Deliver in order: what a peer answers comes after what was said before."""
        self.core.check()
        idle = not self.mail
        self.mail += [effect for effect in effects if isinstance(effect, Send)]
        while idle and self.mail:
            self.deliver(self.mail[0])
            self.mail.popleft()

    def deliver(self, send: Send) -> None:
        if send.peer == b"s%d" % self.scheduler_connection:
            self.scheduler_hears(send.message)
        elif send.peer == b"c" and isinstance(send.message, messages.Welcome):
            self.control_token = send.message.session
        for worker in self.workers.values():
            if send.peer == worker.routing_id:
                self.worker_hears(worker, send.message)

    def scheduler_hears(self, message: Message) -> None:
        match message:
            case messages.Welcome(session=session):
                self.scheduler_token = session
                self.out = set()
            case messages.Attached(worker=worker, bundles=bundles):
                self.out |= set(bundles)
                self.scheduler_says_committed(worker, ())
            case messages.Census(queued=bundles):
                self.out |= set(bundles)
            case messages.Refused(bundles=bundles) | messages.Lost(bundles=bundles) | messages.Result(closed=bundles):
                self.out -= set(bundles)
            case _:
                pass

    def worker_hears(self, worker: _Worker, message: Message) -> None:
        match message:
            case messages.Welcome(session=session):
                worker.hellos -= 1
                worker.token = session if not worker.hellos else b""
                for sequence in sorted(worker.results) if worker.token else ():
                    self.send_result(worker, sequence)
            case messages.Assign(session=session, bundles=headers) if session == worker.token:
                bundles = {header.bundle for header in headers}
                assert not bundles & worker.holds, "leased to it twice"
                worker.holds |= bundles
                worker.unfinished |= bundles
            case messages.Committed(session=session, sequences=sequences) if session == worker.token:
                for sequence in sequences:
                    worker.holds -= set(worker.results.pop(sequence, ()))
            case messages.NewEpoch(session=session) if session == worker.token:
                for sequence in sorted(worker.results):
                    self.send_result(worker, sequence)
            case messages.WhoAreYou():
                self.hello(worker)
            case _:
                pass

    def hello(self, worker: _Worker, replaces: bytes = b"") -> None:
        worker.hellos += 1
        worker.token = b""
        self.say(
            worker.routing_id,
            "worker",
            messages.WorkerHello(
                worker=worker.id, replaces=replaces, version="1", host="here", pid=worker.number, slots=2, credit=4,
                cores=worker.number * 2, memory=0, seconds=100.0 * (worker.number == 1), confirms=True,
                inventory=tuple(sorted(worker.holds)),
            ),
        )  # fmt: skip

    def send_result(self, worker: _Worker, sequence: int) -> None:
        closed = worker.results[sequence]
        self.say(
            worker.routing_id,
            "worker",
            messages.Result(
                session=worker.token or bytes(16), worker=worker.id, sequence=sequence, oldest=min(worker.results),
                tasks=len(closed), closed=closed, body=b"",
            ),
        )  # fmt: skip

    # --- What may happen. ---

    @rule(number=NUMBERS)
    def worker_connects(self, number: int) -> None:
        worker = self.workers[number]
        worker.connection += 1
        worker.hellos = 0
        self.hello(worker)

    @rule(number=NUMBERS)
    def worker_says_hello_again(self, number: int) -> None:
        self.hello(self.workers[number])

    @rule(number=NUMBERS, credit=st.integers(0, 6), slots=st.integers(0, 3))
    def worker_is_ready(self, number: int, credit: int, slots: int) -> None:
        worker = self.workers[number]
        ready = messages.Ready(
            session=worker.token or bytes(16), slots=slots, credit=credit, cores=4, memory=0, seconds=0.0
        )
        self.say(worker.routing_id, "worker", ready)

    @rule(number=NUMBERS, keep=st.integers(0, 2))
    def worker_finishes(self, number: int, keep: int) -> None:
        worker = self.workers[number]
        worker.sequence += 1
        closed = tuple(sorted(worker.unfinished))[keep:]
        worker.unfinished -= set(closed)
        worker.results[worker.sequence] = closed
        self.send_result(worker, worker.sequence)

    @rule(number=NUMBERS)
    def worker_says_something_forged(self, number: int) -> None:
        worker = self.workers[number]
        forged = messages.Result(
            session=worker.token or bytes(16), worker=b"?" * 16, sequence=1, oldest=1, tasks=5, closed=(1, 2), body=b""
        )
        self.say(worker.routing_id, "worker", forged)

    @rule(number=NUMBERS)
    def worker_is_out_of_reach(self, number: int) -> None:
        self.saw(self.core.handle(PeerUnreachable(self.workers[number].routing_id), self.now))

    @rule(role=st.sampled_from(["worker", "scheduler"]))
    def key_is_revoked(self, role: str) -> None:
        self.saw(self.core.handle(RoleRevoked(role), self.now))

    @rule(number=NUMBERS)
    def worker_leaves(self, number: int) -> None:
        worker = self.workers[number]
        bye = messages.Bye(session=worker.token or bytes(16), reason="")
        worker.token = b""
        worker.holds, worker.unfinished, worker.results = set(), set(), {}
        self.say(worker.routing_id, "worker", bye)

    @rule(number=NUMBERS, other=NUMBERS)
    def worker_replaces_another(self, number: int, other: int) -> None:
        self.hello(self.workers[number], replaces=self.workers[other].id)

    @rule(number=NUMBERS)
    def guardian_ends(self, number: int) -> None:
        self.say(b"c", "control", messages.ControlHello(client=bytes(16), version="", host="", pid=0))
        self.say(b"c", "control", messages.WorkerDead(session=self.control_token, worker=self.workers[number].id))

    @rule(
        connection=st.sampled_from([b"c", b"d"]), request=st.integers(1, 3), role=st.sampled_from(["control", "submit"])
    )
    def client_asks(self, connection: bytes, request: int, role: str) -> None:
        # Two connections under one name: the newer one is the client's.
        self.say(connection, role, messages.ControlHello(client=bytes(16), version="", host="", pid=0))
        asked = messages.Request(
            session=self.control_token, client=bytes(16), request=request, verb="submit", body=b"x"
        )
        self.say(connection, role, asked)

    @rule()
    def client_leaves(self) -> None:
        self.saw(self.core.handle(PeerUnreachable(b"c"), self.now))

    @rule(request=st.integers(1, 3), more=st.booleans())
    def scheduler_replies(self, request: int, more: bool) -> None:
        reply = messages.Reply(
            session=self.scheduler_token or bytes(16), client=bytes(16), request=request, status=0, more=more, body=b""
        )
        self.say(b"s%d" % self.scheduler_connection, "scheduler", reply)

    @rule(same=st.booleans())
    def scheduler_connects(self, same: bool) -> None:
        if not same or not self.epoch:
            self.epoch += 1
        self.scheduler_connection += 1
        self.say(
            b"s%d" % self.scheduler_connection,
            "scheduler",
            messages.SchedulerHello(
                scheduler=self.epoch.to_bytes(16, "big"),
                version="1",
                host="here",
                pid=1,
                epoch=self.epoch,
                store=bytes(16),
                database="",
            ),
        )

    @rule(tasks=st.lists(st.integers(1, 6), min_size=1, max_size=6), demand=DEMANDS)
    def scheduler_submits(self, tasks: list[int], demand: Demand) -> None:
        headers = []
        for count in tasks:
            self.counter += 1
            headers.append(BundleHeader(self.counter, count, 1, demand))
        submit = messages.Submit(
            session=self.scheduler_token or bytes(16), bundles=tuple(headers), body=b"x" * len(headers)
        )
        if self.in_session():
            self.out |= {header.bundle for header in headers}
        self.say(b"s%d" % self.scheduler_connection, "scheduler", submit)

    @precondition(lambda self: self.counter)
    @rule()
    def scheduler_submits_again(self) -> None:
        if self.counter not in self.out:
            return  # it would come back to life: a scheduler does not do that
        header = BundleHeader(self.counter, 1, 1, Demand(0, 0, 0.0))
        submit = messages.Submit(session=self.scheduler_token or bytes(16), bundles=(header,), body=b"x")
        self.say(b"s%d" % self.scheduler_connection, "scheduler", submit)

    @rule(number=NUMBERS, sequence=st.integers(1, 9))
    def scheduler_commits(self, number: int, sequence: int) -> None:
        self.scheduler_says_committed(self.workers[number].id, (sequence,))

    def scheduler_says_committed(self, worker: bytes, sequences: tuple[int, ...]) -> None:
        committed = messages.Committed(session=self.scheduler_token or bytes(16), worker=worker, sequences=sequences)
        self.say(b"s%d" % self.scheduler_connection, "scheduler", committed)

    @rule()
    def scheduler_leaves(self) -> None:
        bye = messages.Bye(session=self.scheduler_token or bytes(16), reason="")
        self.say(b"s%d" % self.scheduler_connection, "scheduler", bye)

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.5, 9.0, LEASE_S, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.saw(self.core.expire(self.now))

    @rule()
    def something_malformed_comes(self) -> None:
        garbage = Malformed(b"w1.x", "worker", "garbage", other_version=False)
        self.core.handle(garbage, self.now)

    @rule()
    def broker_restarts(self) -> None:
        self.core = self.new_core()
        for worker in self.workers.values():
            worker.connection += 1
            worker.token = b""
            worker.hellos = 0
        self.scheduler_token = b""
        self.out = set()

    def in_session(self) -> bool:
        scheduler = self.core._sessions.scheduler
        return scheduler is not None and scheduler.token == self.scheduler_token

    # --- What holds. ---

    @invariant()
    def rules_hold(self) -> None:
        self.core.check()

    @invariant()
    def whoever_is_in_session_holds_what_the_broker_leased_to_it(self) -> None:
        """A bundle that the broker thinks is with a worker, but that it never got, would be forgotten by everybody."""
        for worker in self.workers.values():
            known = self.core._workers.get(worker.id)
            if known is not None and known.token and known.token == worker.token:
                assert set(known.leases) <= worker.holds

    @invariant()
    def what_the_scheduler_believes_to_be_here_is_here(self) -> None:
        """Or told to be lost, refused or finished: a bundle never just vanishes."""
        here = {*self.core._backlog.bundles(), *(b for worker in self.core._workers for b in worker.bundles())}
        assert not self.in_session() or self.out <= here


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
