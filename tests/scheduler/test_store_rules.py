"""Whatever happens, in whatever order: all stores say the same, and each row ends once."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.postgres_server import PostgresServer

from hs_common.outcomes import pack_outcomes, unpack_outcomes
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.memory import MemoryStore
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import NewTask, Retry

RUN = b"r" * 16
details = st.none() | st.just(Detail(1.0, 2, 3, (("n", 1),), b""))
lines = st.builds(
    NewTask,
    st.sampled_from([b"a", b"b"]),
    details,
    st.integers(-1, 1),
    st.integers(-1, 1),
    st.sampled_from(["", "", "", "NUL"]),
)
# Few rows and dispatches, so that stale, repeated and unknown ones are frequent.
rows = st.integers(1, 9)
outcomes = st.builds(
    Outcome,
    row=rows,
    dispatch=st.integers(1, 4),
    kind=st.sampled_from([0, 0, 0, *OutcomeKind]),
    status=st.sampled_from([0, 0, 256, 9]),
    reason=st.sampled_from(["", "", "timeout"]),
    start=st.sampled_from([0.0, 1e9]),
    duration=st.just(0.5),
    cpu_user=st.just(0.1),
    cpu_system=st.just(0.1),
    memory_max=st.sampled_from([0, 5]),
    command=st.just(b""),
    outpath=st.just(b""),
    errpath=st.just(b""),
)
retries = st.builds(Retry, st.integers(0, 2), st.booleans())


class RolledBackError(Exception):
    """Ends a transaction that shall leave nothing."""


Store = MemoryStore | SqlStore


@pytest.fixture(scope="module", autouse=True)
def server(postgres: PostgresServer) -> Iterator[None]:
    """Let the machines, which know no fixtures, have the server."""
    Triplets.server = postgres
    yield
    Triplets.server = None


class Triplets(RuleBasedStateMachine):
    """The same calls to all stores; ids are random, so they are left out of what is compared."""

    server: PostgresServer | None = None

    def __init__(self) -> None:
        super().__init__()
        self.last_bundle = 0
        self.ended: set[int] = set()

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        assert self.server is not None
        self.server.execute("DROP SCHEMA IF EXISTS rules CASCADE")
        # Hundreds of sessions are opened: on a busy machine one of them takes longer than a user would wait.
        self.locations = (f"{self.folder.name}/tasks.db", f"{self.server.new_schema('rules')}&connect_timeout=60")
        self.stores: tuple[Store, ...] = (MemoryStore(), *self.opened())
        for store in self.stores:
            store.open_run(RUN, {}, 1e9)

    def opened(self) -> list[SqlStore]:
        return [open_store(location, create=True) for location in self.locations]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def all(self, *calls: Any, undo: bool) -> Any:
        """Make these calls of all stores, in a transaction each; return what they agreed upon."""
        answers = []
        for store in self.stores:
            with contextlib.suppress(RolledBackError), store.transaction():
                answers.append([call(store) for call in calls])
                if undo:
                    raise RolledBackError
        assert all(answer == answers[0] for answer in answers)
        return answers[0]

    @rule(tasks=st.lists(lines, min_size=1, max_size=3), at_once=st.booleans(), undo=st.booleans())
    def add(self, tasks: list[NewTask], at_once: bool, undo: bool) -> None:
        self.last_bundle += 1
        bundles = [self.last_bundle if at_once else 0] * len(tasks)
        self.all(lambda s: [t._replace(uid=b"") for t in s.add(tasks, bundles, b"/", 1e9)], undo=undo)

    @rule(count=st.integers(1, 4), undo=st.booleans())
    def claim(self, count: int, undo: bool) -> None:
        self.last_bundle += 1

        def assign(store: Store) -> list[int]:
            tasks = [item.task for item in store.ready(count)]
            store.assign([(self.last_bundle, tasks)], 1e9)
            return [task.row for task in tasks]

        self.all(assign, undo=undo)

    @rule(what=st.lists(outcomes, max_size=4), more=st.lists(outcomes, max_size=2), retry=retries, undo=st.booleans())
    def record(self, what: list[Outcome], more: list[Outcome], retry: Retry, undo: bool) -> None:
        applied = self.all(
            lambda s: list(s.record(b"w" * 16, "host", unpack_outcomes(pack_outcomes(what)), retry, 1e9)),
            lambda s: list(s.record(b"v" * 16, "host", unpack_outcomes(pack_outcomes(more)), retry, 1e9)),
            undo=undo,
        )
        if undo:
            return
        now_ended = [item.row for answer in applied for item in answer if item.state]
        assert len(set(now_ended)) == len(now_ended)
        assert not self.ended & set(now_ended), "a row ended twice"
        self.ended |= set(now_ended)
        known, *others = (list(store.finished(now_ended)) for store in self.stores)
        assert len(known) == len(now_ended)
        for other in others:
            assert [item | {"id": 0, "submit_time": 0} for item in known] == [
                {name: raw[name] for name in item} | {"id": 0, "submit_time": 0}
                for item, raw in zip(known, other, strict=True)
            ]

    @rule(what=st.lists(st.builds(Started, rows, st.integers(1, 3), st.just(1e9)), max_size=3), undo=st.booleans())
    def started(self, what: list[Started], undo: bool) -> None:
        self.all(lambda s: s.started(b"w" * 16, "host", what), undo=undo)

    @rule(what=st.lists(st.tuples(rows, st.integers(1, 3)), max_size=4), undo=st.booleans())
    def release(self, what: list[tuple[int, int]], undo: bool) -> None:
        self.all(lambda s: s.release(what), undo=undo)

    @rule()
    def reopen(self) -> None:
        """A new scheduler finds in the database what the old one knew."""
        for store in self.stores[1:]:
            store.close()
        self.stores = (self.stores[0], *self.opened())
        for store in self.stores[1:]:
            store.open_run(RUN, {}, 1e9)

    @invariant()
    def they_agree(self) -> None:
        memory, *others = self.stores
        for other in others:
            assert asdict(memory.counts) == asdict(other.counts)
            assert [i._replace(task=i.task._replace(uid=b"")) for i in memory.ready(50)] == [
                i._replace(task=i.task._replace(uid=b"")) for i in other.ready(50)
            ]
            assert sorted(memory.held()) == sorted(other.held())
            assert list(memory.failures()) == list(other.failures())
            assert memory.failed_group() == other.failed_group()
        assert len(list(memory.held())) == memory.counts.assigned
        assert bool(memory.ready(50)) == bool(memory.counts.new)
        assert len({item.group for item in memory.ready(50)}) <= 1, "one group at a time"


TestTriplets = Triplets.TestCase
TestTriplets.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
