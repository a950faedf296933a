"""Tasks in every state, for tests of what the user may do to them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hs_common import limits
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task
from hs_scheduler.stores.changes import Action, Change, Changed, Piece
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import NO_RUN, NewTask, Retry
from hs_scheduler.tasks.filters import Filter
from hs_scheduler.tasks.state import State

T0 = 1_700_000_000.0
WORKER = b"w" * 16
ONCE, NEVER = Retry(1, eager=False), Retry(0, eager=False)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    on_server = request.param == "postgres"
    location = request.getfixturevalue("postgres_url") if on_server else str(tmp_path / "tasks.db")
    one = open_store(location, create=True)
    one.open_run(NO_RUN, {}, T0)
    yield one
    counted = one.counts.copy()
    one._count()
    assert counted == one.counts, "the counts that were kept are those that are counted"
    one.close()


def outcome(task: Task, status: int = 0, kind: OutcomeKind = OutcomeKind.FINISHED) -> Outcome:
    return Outcome(task.row, task.dispatch, kind, status << 8, "", T0, 0.5, 0.0, 0.0, 0, b"ran", b"out", b"err")


def record(
    store: SqlStore, task: Task, status: int = 0, kind: OutcomeKind = OutcomeKind.FINISHED, retry: Retry = NEVER
) -> int:
    with store.transaction():
        return len(store.record(WORKER, "n1", [outcome(task, status, kind)], retry, T0))


def new(store: SqlStore, **fields: Any) -> Task:
    line = NewTask(b"true", Detail(0.0, 0, 0, (("kind", "x"),), b""), 0, 0, "")._replace(**fields)
    with store.transaction():
        return store.add([line], [0], b"/", T0)[0]


def assigned(store: SqlStore) -> Task:
    new(store)
    with store.transaction():
        (ready,) = store.ready(1)
        store.assign([(7, [ready.task])], T0)
    return ready.task


def on_hold(store: SqlStore) -> Task:
    task = new(store)
    change(store, Action.HOLD)
    return task


def running(store: SqlStore) -> Task:
    task = assigned(store)
    with store.transaction():
        store.started(WORKER, "n1", [Started(task.row, task.dispatch, T0)])
    return task


def ended(store: SqlStore, status: int = 0, kind: OutcomeKind = OutcomeKind.FINISHED, retry: Retry = NEVER) -> Task:
    task = assigned(store)
    record(store, task, status, kind, retry)
    return task


def quarantined(store: SqlStore) -> Task:
    new(store)
    for _ in range(limits.CRASHES_MAX):
        with store.transaction():
            (ready,) = store.ready(1)
            store.assign([(7, [ready.task])], T0)
        record(store, ready.task, kind=OutcomeKind.CRASHED)
    return ready.task


GIVEN: dict[str, Callable[[SqlStore], Task]] = {
    "on hold": on_hold,
    "new": new,
    "assigned": assigned,
    "running": running,
    "succeeded": ended,
    "failed": lambda store: ended(store, 3),
    "cancelled": lambda store: ended(store, kind=OutcomeKind.CANCELLED),
    "quarantined": quarantined,
    "rejected": lambda store: ended(store, kind=OutcomeKind.REJECTED),
    "never run": lambda store: new(store, rejected="NUL in the line"),
}


def change(
    store: SqlStore,
    action: Action = Action.NONE,
    *assignments: str,
    tasks: Filter | None = None,
    remove: tuple[str, ...] = (),
) -> Changed:
    asked = Change(filter=tasks or Filter(), action=action, assignments=assignments, removed_tags=remove)
    with store.transaction():
        return store.change(Piece(asked, 1, store._last_row), T0 + 9)


def row(store: SqlStore, number: int, *columns: str) -> Any:
    found = store._engine.execute(f"SELECT {', '.join(columns)} FROM task WHERE row = ?", (number,)).fetchone()
    return found[0] if found and len(columns) == 1 else found


def chain(store: SqlStore) -> list[tuple[int, str, int | None, int | None]]:
    found = store._engine.execute("SELECT row, state, previous, next FROM task ORDER BY row")
    return [(number, State(state).name, previous, following) for number, state, previous, following in found]
