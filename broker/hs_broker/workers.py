"""Who is here to work, what each worker holds, and who gets the next bundle.

    lease ──▶ held ──Result.closed──▶ uncommitted ──Committed──▶ forgotten

A bundle whose results are on their way still counts as the worker's: after the death of a scheduler only that says that it
must not run again. Two rings, taken in turn: `idle` workers have a free slot, `spare` ones have credit for prefetching only.

Rules, checked by `check`:
1. A bundle belongs to at most one worker, as held or as uncommitted.
2. A worker that was given a bundle held at most its credit afterwards, or that bundle alone.
3. len(leases) <= held <= tasks of the leases: each open bundle has a task left, and none has more than it had.
"""

from collections.abc import Iterable, Iterator
from math import inf

from hs_broker.bucket import Bucket
from hs_common import limits
from hs_common.messages import BundleHeader, Demand
from hs_common.values import dataclass, field

BUNDLES_MAX = limits.IDS_MAX // 2
"""Bundles of one worker, uncommitted ones included. It gets no more then, so that its inventory always fits one Hello."""

HELLOS_AT_ONCE_MAX, HELLOS_PER_S_MAX = 50, 5
"""New sessions of one incarnation: a worker on the worst of networks needs fewer, two processes that take one session from
each other in turn need more. Then it is Refused for good."""

_SECONDS_MIN = 0.001
"""Stands for "its end has come", since 0 means that it has none."""

_NO_DEMAND = Demand(0, 0, 0.0)


@dataclass(slots=True, eq=False)
class Worker:
    """One incarnation of a worker."""

    id: bytes
    host: str
    pid: int
    heard_at: float
    spoken: bool = False
    """Whether it said anything in a session. Until then it may not have seen our Welcome, and its guardian goes on under its id
    when it dies."""
    remembered: bool = False
    """Whether the scheduler's store knows it. What another one had, a new broker and a new scheduler would not wait for."""
    margin_s: float = limits.MARGIN_S
    """A task without a time limit is not given to it when it ends within so long."""
    slots: int = 0
    credit: int = 0
    turn: int = 1
    """Tasks that it is given before it is the next one's turn."""
    room_min: int = 1
    """Tasks that must be free before it is given more while its slots are full."""
    cores: int = 0
    memory: int = 0
    ends_at: float = inf
    """Monotonic seconds; infinity when it has no end."""
    routing_id: bytes = b""
    """b"" while it has no session."""
    token: bytes = b""
    parted_at: float = inf
    """Since when it has had no session; infinity while it has one."""
    leases: dict[int, BundleHeader] = field(default_factory=dict)
    leased_tasks: int = 0
    leased_size: int = 0
    """Bytes of the bodies of its leases: what it does not read lies with us."""
    held: int = 0
    """Tasks that it was given and that no Result has returned, as far as can be known."""
    uncommitted: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Sequence of a Result -> bundles that it closed."""
    uncommitted_bundles: int = 0
    sequence: int = 0
    """Largest one seen: a Result that comes again frees no credit again."""
    hellos: Bucket = field(default_factory=lambda: Bucket(HELLOS_AT_ONCE_MAX, HELLOS_PER_S_MAX))
    owes_since: float = inf
    """Since when it has been given something of which it said nothing; infinity: it owes no word."""
    runs_long: bool = False
    """It said Running since its last Result: what it is given may have to wait for hours."""
    stalled: bool = False
    """The operator was told."""
    surplus_since: float = inf
    """Since when it has more tasks than slots."""
    recalled_at: float = -inf

    def fits(self, demand: Demand, now: float) -> bool:
        """Return whether it can ever run a task of this demand, as it is now."""
        cores, memory, seconds = demand
        if cores > self.cores or memory > self.memory:
            return False
        left_s = self.ends_at - now
        return left_s >= seconds if seconds else left_s > self.margin_s

    def free(self) -> int:
        """Return how many tasks it can be given now.

        A worker that holds nothing takes any bundle: its credit may have shrunk below what was leased as a unit.
        """
        if not self.credit or not self.token or not self.remembered or self.leased_size >= limits.QUEUE_BYTES_MAX:
            return 0
        if len(self.leases) + self.uncommitted_bundles >= BUNDLES_MAX:
            return 0
        return self.credit - self.held if self.held else limits.BUNDLE_TASKS_MAX

    def owe(self, now: float) -> None:
        """Note that it was given something: soon there will be a Result or, where that takes long, a Running."""
        if self.owes_since == inf and not self.runs_long:
            self.owes_since = now

    def heard_of_tasks(self, *, run_long: bool) -> None:
        """Note that it said what becomes of its tasks."""
        self.owes_since = inf
        self.stalled = False
        self.runs_long = run_long

    def room(self) -> int:
        """Return how many tasks are worth giving to it now: 0 while it is busy and has little free."""
        free = self.free()
        return 0 if self.held >= self.slots and free < self.room_min else free

    def seconds(self, now: float) -> float:
        """Return how long it still has, as messages say it: 0 when it has no end."""
        return 0.0 if self.ends_at == inf else max(_SECONDS_MIN, self.ends_at - now)

    def bundles(self) -> tuple[int, ...]:
        """Return all bundles of it, those included whose results are not yet committed."""
        return (*self.leases, *(bundle for closed in self.uncommitted.values() for bundle in closed))


class Workers:
    """All workers, by incarnation, with their bundles."""

    def __init__(self) -> None:
        self._by_id: dict[bytes, Worker] = {}
        self._owner: dict[int, Worker] = {}
        self._idle: dict[Worker, None] = {}
        self._spare: dict[Worker, None] = {}
        self._parked: dict[Worker, None] = {}
        """They have credit, but nothing in the backlog fitted them: not looked at again until something has changed."""
        self.credit = 0
        """Of all, tasks."""
        self.touched = False
        """Something changed since bundles were last given out."""

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[Worker]:
        """Yield every worker."""
        return iter(self._by_id.values())

    def __contains__(self, bundle: int) -> bool:
        """Return whether a worker has this bundle."""
        return bundle in self._owner

    def holders(self, bundles: Iterable[int]) -> list[Worker]:
        """Return the workers that have one of these bundles, each once."""
        found = {self._owner[bundle].id: self._owner[bundle] for bundle in bundles if bundle in self._owner}
        return list(found.values())

    def get(self, worker: bytes) -> Worker | None:
        """Return the worker of this incarnation."""
        return self._by_id.get(worker)

    def add(self, worker: Worker) -> None:
        """Take a new worker, without bundles."""
        self._by_id[worker.id] = worker
        self.credit += worker.credit

    def remove(self, worker: Worker) -> tuple[int, ...]:
        """Forget a worker; return the bundles that it had."""
        self.touched = True
        self.withdraw(worker)
        bundles = worker.bundles()
        for bundle in bundles:
            self._owner.pop(bundle, None)
        del self._by_id[worker.id]
        self.credit -= worker.credit
        return bundles

    def set_credit(self, worker: Worker, slots: int, credit: int) -> None:
        """Note what it can take from now on."""
        self.credit += credit - worker.credit
        worker.slots = slots
        worker.credit = credit
        # Credit beyond two tasks a slot says that it finishes so many in 100 ms. To give them one by one would only cost a
        # message each. Half of them are a turn: where many workers want more than there is, each message has its cost, and
        # the others wait 50 ms at most. A quarter free is room for more: it has three quarters to go on with until that comes.
        beyond = credit - 2 * slots
        worker.turn, worker.room_min = max(1, beyond // 2), max(1, beyond // 4)

    def hold(self, worker: Worker, inventory: tuple[int, ...], headers: dict[int, BundleHeader]) -> tuple[int, ...]:
        """Make the inventory the bundles of the worker, whoever had them before; return those that it has no more.

        A bundle that is neither in `headers` nor anybody's (after a restart of the broker) counts as one task.
        """
        kept = set(inventory)
        gone = tuple(bundle for bundle in worker.bundles() if bundle not in kept)
        for bundle in gone:
            self._take_away(worker, bundle)
        for bundle in inventory:
            owner = self._owner.get(bundle)
            if owner is not worker:
                header = self._take_away(owner, bundle) if owner else headers.get(bundle)
                self._lease(worker, header or BundleHeader(bundle, 1, 1, _NO_DEMAND))
        return gone

    def lease(self, worker: Worker, header: BundleHeader) -> None:
        """Give a bundle that nobody has to a worker that is free."""
        self._lease(worker, header)
        assert worker.held <= worker.credit or len(worker.leases) == 1

    def close(self, worker: Worker, sequence: int, tasks: int, closed: tuple[int, ...]) -> None:
        """Note a Result: so many tasks came back, these bundles are finished. What is not leased to it is passed over."""
        if sequence > worker.sequence:
            worker.sequence = sequence
            worker.held -= tasks
        leases = worker.leases
        finished = tuple(bundle for bundle in closed if bundle in leases)
        for bundle in finished:
            header = leases.pop(bundle)
            worker.leased_tasks -= header.tasks
            worker.leased_size -= header.size
        if finished:
            worker.uncommitted[sequence] = worker.uncommitted.get(sequence, ()) + finished
            worker.uncommitted_bundles += len(finished)
        worker.held = min(max(worker.held, len(leases)), worker.leased_tasks)

    def commit(self, worker: Worker, sequences: tuple[int, ...]) -> None:
        """Forget the bundles that these Results closed."""
        for sequence in sequences:
            closed = worker.uncommitted.pop(sequence, ())
            worker.uncommitted_bundles -= len(closed)
            for bundle in closed:
                self._owner.pop(bundle, None)

    # --- Who is next. ---

    def offer(self, worker: Worker) -> None:
        """Put it at the end of the ring where it belongs now."""
        self.touched = True
        self.withdraw(worker)
        if worker.room() > 0:
            (self._idle if worker.held < worker.slots else self._spare)[worker] = None

    def withdraw(self, worker: Worker) -> None:
        """Take it out of its ring."""
        self._idle.pop(worker, None)
        self._spare.pop(worker, None)
        self._parked.pop(worker, None)

    def next(self) -> Worker | None:
        """Return who gets the next bundle: idle ones first, each in turn. It stays where it is."""
        for ring in (self._idle, self._spare):
            for worker in ring:
                return worker
        return None

    def park(self, worker: Worker) -> None:
        """Leave it out until its own state changes, or `unpark`."""
        self.withdraw(worker)
        self._parked[worker] = None

    def unpark(self) -> None:
        """Look at all parked workers again: the backlog has something new."""
        parked, self._parked = self._parked, {}
        for worker in parked:
            self.offer(worker)

    def check(self) -> None:
        """Assert the rules."""
        owned: dict[int, Worker] = {}
        for worker in self:
            for bundle in worker.bundles():
                assert bundle not in owned
                owned[bundle] = worker
            assert worker.leased_tasks == sum(header.tasks for header in worker.leases.values())
            assert worker.leased_size == sum(header.size for header in worker.leases.values())
            assert len(worker.leases) <= worker.held <= worker.leased_tasks
            assert worker.uncommitted_bundles == sum(map(len, worker.uncommitted.values()))
            places = [worker in ring for ring in (self._idle, self._spare, self._parked)]
            assert sum(places) == (worker.room() > 0)
            assert not places[0] or worker.held < worker.slots
            assert not places[1] or worker.held >= worker.slots
        assert owned == self._owner
        assert self.credit == sum(worker.credit for worker in self)
        assert {*self._idle, *self._spare, *self._parked} <= set(self)

    def _lease(self, worker: Worker, header: BundleHeader) -> None:
        worker.leases[header.bundle] = header
        worker.leased_tasks += header.tasks
        worker.leased_size += header.size
        worker.held += header.tasks
        self._owner[header.bundle] = worker

    def _take_away(self, worker: Worker, bundle: int) -> BundleHeader | None:
        del self._owner[bundle]
        header = worker.leases.pop(bundle, None)
        if header is not None:
            worker.leased_tasks -= header.tasks
            worker.leased_size -= header.size
            worker.held = min(max(worker.held - header.tasks, len(worker.leases)), worker.leased_tasks)
        else:
            sequence = next(number for number, closed in worker.uncommitted.items() if bundle in closed)
            worker.uncommitted[sequence] = tuple(other for other in worker.uncommitted[sequence] if other != bundle)
            worker.uncommitted_bundles -= 1
        self.offer(worker)
        return header
