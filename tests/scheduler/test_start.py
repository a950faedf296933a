"""What a scheduler looks at when it starts: at what is left to do, however much is over."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hs_common.tasks import Outcome, OutcomeKind
from hs_scheduler.stores.changes import Action, Change, Piece
from hs_scheduler.stores.database import Database
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.postgres import PostgresDatabase
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import NO_RUN, Counts, NewTask, Retry
from hs_scheduler.tasks.filters import Filter

RUN, LATER = b"r" * 16, b"s" * 16
WORKER = b"w" * 16
T0 = 1_700_000_000.0
TASK = NewTask(b"true", None, 0, 0, "")

ENGINES: dict[str, tuple[type, str, str]] = {
    "sqlite": (Database, "EXPLAIN QUERY PLAN ", "SCAN task$"),
    # The tables of a test are so small that it would look at all of them whatever there is.
    "postgres": (PostgresDatabase, "EXPLAIN ", "Seq Scan on task"),
}
"""What asks, what explains a question, and how a look at all tasks is called."""


@pytest.fixture(params=ENGINES)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with tasks of each kind: over, failed, tried again, cancelled (one of them out), out, waiting, on hold."""
    at = str(tmp_path / "tasks.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with closing(open_store(at, create=True)) as store:
        store.open_run(RUN, {}, T0)
        with store.transaction():
            store.add([TASK] * 6, [7] * 6, b"/", T0)
            store.add([TASK] * 3, [0] * 3, b"/", T0)
            ends = [ended(1, 0), ended(2, 256), ended(3, 0)]
            store.record(WORKER, "host", ends, Retry(0, eager=False), T0)
        with store.transaction():
            store.record(WORKER, "host", [ended(4, 256)], Retry(1, eager=False), T0)
            change(store, Action.CANCEL, 5, 7)
            change(store, Action.HOLD, 8)
    return at


def ended(row: int, status: int) -> Outcome:
    return Outcome(row, 1, OutcomeKind.FINISHED, status, "", T0, 0.1, 0.0, 0.0, 0, b"", b"", b"")


def change(store: SqlStore, action: Action, *rows: int) -> None:
    for row in rows:
        store.change(Piece(Change(filter=Filter(), action=action), row, row), T0)


def started(store: SqlStore) -> Iterator[Any]:
    """Ask what a scheduler asks before it sends its first Hello, in a queue, and in a new run of the same database.

    Not in a run of several that is continued: it looks at each row once, to see how many of them were its own.
    """
    for run in (NO_RUN, LATER):
        store.open_run(run, {}, T0)
        yield store.counts.copy()
        store.input_state()
        yield store.others()
        yield [held.row for held in store.held()], store.workers()
        yield store.failures_before(T0 + 1), store.failed_group(), store.left_of_group(0)
        yield len(store.ready(100))


FOUND = [
    *(Counts(on_hold=1, new=2, assigned=1, succeeded=2, failed=1, cancelled=2, retried=1), 0),
    *(([5, 6], set()), (1, 0, 3), 2),
    *(Counts(), 4, ([], set()), (0, None, 0), 0),
]


def test_it_looks_at_what_is_left_and_only_counts_the_rest(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, explain, scan = ENGINES["postgres" if ":" in location else "sqlite"]
    asked: list[tuple[str, Any]] = []
    with closing(open_store(location)) as store:
        note(monkeypatch, kind, asked)
        found = list(started(store))
        monkeypatch.undo()

        assert found == FOUND
        assert len(asked) > 10
        if scan.startswith("Seq"):
            store._engine.execute("SET enable_seqscan = off")
        for statement, values in asked:
            plan = [str(step[-1]) for step in store._engine.execute(explain + statement, values)]
            assert not any(re.search(scan, step) for step in plan), (statement, plan)


def note(monkeypatch: pytest.MonkeyPatch, kind: Any, asked: list[tuple[str, Any]]) -> None:
    """Note what is asked about tasks."""

    def noting(asks: Callable[..., Any]) -> Callable[..., Any]:
        def ask(self: Any, statement: str, values: Any = ()) -> Any:
            if "FROM task" in statement:
                asked.append((statement, values))
            return asks(self, statement, values)

        return ask

    for name in ("execute", "stream"):
        monkeypatch.setattr(kind, name, noting(getattr(kind, name)))
