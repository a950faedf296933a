"""What the user may do to a task: every action on every state, on tasks with retries too."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from hs_common import limits
from hs_common.errors import RefusedError, WireError
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task
from hs_scheduler.search.questions import spans
from hs_scheduler.stores.changes import PIECE_ROWS, Action, Change, Changed, Piece, Span
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


# --- Given ---


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

LEFT = "left"

TABLE: dict[str, tuple[str, str, str, str, str, str]] = {
    # state          cancel       hold       release  retry  revert  delete
    "on hold":      ("CANCELLED", LEFT,      "NEW",   LEFT,  LEFT,   "gone"),
    "new":          ("CANCELLED", "ON_HOLD", LEFT,    LEFT,  LEFT,   "gone"),
    "assigned":     ("CANCELLED", LEFT,      LEFT,    LEFT,  LEFT,   LEFT),
    "running":      ("CANCELLED", LEFT,      LEFT,    LEFT,  LEFT,   LEFT),
    "succeeded":    (LEFT,        LEFT,      LEFT,    LEFT,  "NEW",  "gone"),
    "failed":       (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "cancelled":    (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "quarantined":  (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "rejected":     (LEFT,        LEFT,      LEFT,    "+1",  "NEW",  "gone"),
    "never run":    (LEFT,        LEFT,      LEFT,    LEFT,  LEFT,   "gone"),
}  # fmt: skip
ACTIONS = (Action.CANCEL, Action.HOLD, Action.RELEASE, Action.RETRY, Action.REVERT, Action.DELETE)
CELLS = [
    pytest.param(given, action, cell, id=f"{given} {action}")
    for given, cells in TABLE.items()
    for action, cell in zip(ACTIONS, cells, strict=True)
]


# --- When ---


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


# --- Then ---


@pytest.mark.parametrize(("given", "action", "cell"), CELLS)
def test_every_cell_of_the_table(store: SqlStore, given: str, action: Action, cell: str) -> None:
    task = GIVEN[given](store)
    before = row(store, task.row, "state", "next", "exit_status")

    done = change(store, action)

    after = row(store, task.row, "state", "next", "exit_status")
    match cell:
        case "left":
            assert (done.count, sum(done.left.values()), after) == (0, 1, before)
        case "gone":
            assert (done.deleted, after) == ((task.row,), None)
        case "+1":
            assert after == (before[0], task.row + 1, before[2])
            assert row(store, task.row + 1, "state", "attempt", "previous", "tag") == (0, 2, task.row, '{"kind": "x"}')
        case _:
            assert (State(after[0]).name, after[2]) == (cell, None)
    assert done.count == (cell != LEFT)
    assert done.cancelled == (((task.row, row(store, task.row, "dispatch")),) if cell == "CANCELLED" else ())


@pytest.mark.parametrize(("given", "action", "cell"), CELLS)
def test_saying_it_twice_changes_nothing_more(store: SqlStore, given: str, action: Action, cell: str) -> None:
    GIVEN[given](store)
    change(store, action)
    once = chain(store)

    assert change(store, action).count == 0
    assert chain(store) == once


@pytest.mark.parametrize("given", ["failed", "quarantined", "rejected", "never run"])
def test_what_failed_is_given_up_by_a_cancel_that_names_it(store: SqlStore, given: str) -> None:
    """It keeps what was recorded of it, fails no group any more, and may be retried. Only the whole line could be."""
    task = GIVEN[given](store)
    recorded = row(store, task.row, "exit_status", "reason", "completion_time", "dispatch")
    kept = given == "never run"

    done = change(store, Action.CANCEL, tasks=Filter(ended="failed"))

    assert (done.count, sum(done.left.values())) == ((0, 1) if kept else (1, 0))
    assert row(store, task.row, "exit_status", "reason", "completion_time", "dispatch") == recorded
    assert (store.counts.failed, store.counts.cancelled) == ((1, 0) if kept else (0, 1))
    assert store.failed_group() == (0 if kept else None)
    assert change(store, Action.RETRY).count == (not kept)


def test_an_attempt_that_follows_what_failed_is_given_up_with_it(store: SqlStore) -> None:
    """It is the same task."""
    ended(store, 3)
    change(store, Action.RETRY)

    assert change(store, Action.CANCEL, tasks=Filter(ended="failed")).count == 1
    assert [state for _, state, _, _ in chain(store)] == ["DONE", "CANCELLED"]


# --- Results that come late ---


@pytest.mark.parametrize(
    "kind", [OutcomeKind.FINISHED, OutcomeKind.CRASHED, OutcomeKind.HANDED_BACK, OutcomeKind.CANCELLED]
)
@pytest.mark.parametrize("given", ["assigned", "running"])
def test_what_a_cancelled_task_still_does_does_not_count(store: SqlStore, given: str, kind: OutcomeKind) -> None:
    task = GIVEN[given](store)
    change(store, Action.CANCEL)

    assert record(store, task, 1, kind, ONCE) == 0
    assert record(store, task, 0, kind, ONCE) == 0
    with store.transaction():
        store.release([(task.row, task.dispatch)])
        store.started(WORKER, "n1", [Started(task.row, task.dispatch, T0)])
    assert (chain(store), store.ready(9)) == ([(task.row, "CANCELLED", None, None)], [])


@pytest.mark.parametrize("status", [0, 1])
def test_a_result_of_before_a_revert_does_not_count(store: SqlStore, status: int) -> None:
    """It was committed, but its worker may not have heard so, and says it again."""
    task = ended(store)
    change(store, Action.REVERT)

    assert record(store, task, status) == 0
    (ready,) = store.ready(9)
    with store.transaction():
        store.assign([(8, [ready.task])], T0)
    assert record(store, task, status) == 0, "nor while it is out once more"
    assert record(store, ready.task, 0) == 1


def test_a_result_of_a_deleted_row_does_not_count(store: SqlStore) -> None:
    task = ended(store)
    change(store, Action.DELETE)

    assert record(store, task) == 0
    assert new(store).row > task.row, "its number is not used again"


def test_a_success_of_a_task_on_hold_counts(store: SqlStore) -> None:
    """It was taken for lost, and the user held it meanwhile; but a finished execution is a valid one."""
    task = assigned(store)
    with store.transaction():
        store.release([(task.row, task.dispatch)])
    change(store, Action.HOLD)

    assert record(store, task, 0) == 1
    assert chain(store) == [(task.row, "DONE", None, None)]


@pytest.mark.parametrize("given", ["assigned", "running"])
@pytest.mark.parametrize("end", ["late result", "handed back", "another cluster"])
def test_who_has_a_cancelled_task_is_told_until_it_lets_go(store: SqlStore, given: str, end: str) -> None:
    """The scheduler may be killed before it can say so, or be away while the user cancels."""
    store.take_epoch(b"1" * 16)
    task = GIVEN[given](store)
    change(store, Action.CANCEL)

    assert [(item.bundle, item.row, item.dispatch, item.wanted) for item in store.held()] == [(7, task.row, 1, False)]
    match end:
        case "late result":
            record(store, task, 0)
        case "handed back":
            with store.transaction():
                store.release([(task.row, 1)])
        case "another cluster":
            store.take_epoch(b"2" * 16)
    assert list(store.held()) == []
    assert chain(store) == [(task.row, "CANCELLED", None, None)]


def test_what_its_worker_gave_up_by_itself_is_settled(store: SqlStore) -> None:
    ended(store, kind=OutcomeKind.CANCELLED)
    assert list(store.held()) == []


def test_what_was_cancelled_before_it_went_out_is_nobodys(store: SqlStore) -> None:
    new(store)
    change(store, Action.CANCEL)
    assert list(store.held()) == []


# --- Attempts ---


def test_a_reverted_task_is_as_it_was_submitted(store: SqlStore) -> None:
    task = ended(store, 3)
    change(store, Action.REVERT)

    columns = ("exit_status", "reason", "worker", "command", "outpath", "start_time", "completion_time", "crashes")
    assert row(store, task.row, *columns) == (None, None, None, None, None, None, None, 0)
    assert store.ready(9)[0].task.dispatch == 2


def failed_and_tried_again(store: SqlStore) -> tuple[Task, Task]:
    """Return the first attempt, which failed, and the second, which is out."""
    first = ended(store, 3, retry=ONCE)
    with store.transaction():
        (ready,) = store.ready(1)
        store.assign([(8, [ready.task])], T0)
    return first, ready.task


def failed_twice_and_tried_again(store: SqlStore) -> Task:
    """Return the third attempt, which is out."""
    _, second = failed_and_tried_again(store)
    record(store, second, 3, retry=Retry(2, eager=False))
    with store.transaction():
        (ready,) = store.ready(1)
        store.assign([(9, [ready.task])], T0)
    return ready.task


@pytest.mark.parametrize(
    ("action", "state"),
    [(Action.CANCEL, "CANCELLED"), (Action.HOLD, "ON_HOLD")],
)
def test_what_is_wanted_of_a_task_is_wanted_of_its_last_attempt(store: SqlStore, action: Action, state: str) -> None:
    """The id that submit printed is that of the first one."""
    first = ended(store, 3, retry=ONCE)

    done = change(store, action, tasks=Filter(conditions=("attempt == 1",)))
    assert (done.count, chain(store)) == (1, [(1, "DONE", None, 2), (2, state, 1, None)])
    assert first.row == 1


def test_both_attempts_of_a_task_are_one_task(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 3)

    assert change(store, Action.RETRY, tasks=Filter(ended="failed")).count == 1
    assert chain(store) == [(1, "DONE", None, 2), (2, "DONE", 1, 3), (3, "NEW", 2, None)]


def test_three_attempts_of_a_task_are_one_task_too(store: SqlStore) -> None:
    """The attempt that is added must not be taken for one that was meant."""
    record(store, failed_twice_and_tried_again(store), 3)

    done = change(store, Action.RETRY)
    assert (done.count, done.left) == (1, {})


def test_what_succeeded_at_last_is_not_retried(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 0)

    done = change(store, Action.RETRY, tasks=Filter(ended="failed"))
    assert (done.count, done.left) == (0, {"succeeded": 1})


def test_an_attempt_that_another_followed_is_not_reverted(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 0)

    done = change(store, Action.REVERT)
    assert (done.count, done.left) == (1, {"a later attempt follows": 1})
    assert chain(store) == [(1, "DONE", None, 2), (2, "NEW", 1, None)]


@pytest.mark.parametrize(
    ("attempts", "left"),
    [
        ("== 1", [(2, "DONE", None, 3), (3, "DONE", 2, None)]),
        ("== 2", [(1, "DONE", None, 3), (3, "DONE", 1, None)]),
        ("== 3", [(1, "DONE", None, 2), (2, "DONE", 1, None)]),
        ("<= 2", [(3, "DONE", None, None)]),
        (">= 2", [(1, "DONE", None, None)]),
        ("!= 2", [(2, "DONE", None, None)]),
    ],
)
def test_the_attempts_around_deleted_ones_become_neighbours(store: SqlStore, attempts: str, left: list[Any]) -> None:
    third = failed_twice_and_tried_again(store)
    record(store, third, 0)

    change(store, Action.DELETE, tasks=Filter(conditions=(f"attempt {attempts}",)))
    assert chain(store) == left


def test_all_attempts_can_be_deleted_at_once(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)
    record(store, second, 3)

    assert change(store, Action.DELETE).deleted == (1, 2)
    assert chain(store) == []


def test_an_attempt_that_runs_keeps_its_place_when_the_one_before_goes(store: SqlStore) -> None:
    _, second = failed_and_tried_again(store)

    assert change(store, Action.DELETE).left == {"handed out or running": 1}
    assert chain(store) == [(2, "ASSIGNED", None, None)]
    assert record(store, second, 0) == 1


# --- Holding ---


def test_a_task_on_hold_is_not_dispatched(store: SqlStore) -> None:
    task = on_hold(store)
    assert store.ready(9) == []

    change(store, Action.RELEASE)
    assert [item.task.row for item in store.ready(9)] == [task.row]


def test_a_task_on_hold_holds_later_groups(store: SqlStore) -> None:
    """What depends on it must not start."""
    on_hold(store)
    new(store, group=2)

    assert (store.failed_group(), store.counts.holding) == (0, 1)


# --- Values and tags ---


def test_values_of_what_waits_can_be_set(store: SqlStore) -> None:
    task = new(store)

    change(store, Action.NONE, "args=echo a=b:c", "group=2", "priority=-3", "cores=4", "memory=2G", "timeout=1h")
    (ready,) = store.ready(9)
    assert (ready.task.args, ready.group) == (b"echo a=b:c", 2)
    assert ready.task.detail == Detail(3600.0, 4, 2 << 30, (("kind", "x"),), b"")
    change(store, Action.NONE, "cores=null", "memory=null", "timeout=null")
    assert store.ready(9)[0].task.detail == Detail(0.0, 0, 0, (("kind", "x"),), b"")
    assert row(store, task.row, "priority") == -3


@pytest.mark.parametrize("given", ["assigned", "running", "succeeded", "failed", "cancelled"])
def test_values_of_what_does_not_wait_are_history(store: SqlStore, given: str) -> None:
    task = GIVEN[given](store)

    done = change(store, Action.NONE, "priority=5", "color:red")
    assert (done.count, row(store, task.row, "priority", "tag")) == (0, (0, '{"kind": "x"}'))


@pytest.mark.parametrize("given", list(GIVEN))
def test_tags_can_be_changed_at_any_time(store: SqlStore, given: str) -> None:
    task = GIVEN[given](store)

    assert change(store, Action.NONE, "color:red", "n:1").count == 1
    assert change(store, Action.NONE, "n:2", remove=("color", "missing")).count == 1
    assert row(store, task.row, "tag") in ('{"kind": "x", "n": 2}', '{"n": 2}')


def test_a_retry_may_get_other_values(store: SqlStore) -> None:
    task = ended(store, 137)

    change(store, Action.RETRY, "memory=8G", "again:true")
    assert row(store, task.row, "memory", "tag") == (None, '{"kind": "x"}'), "the attempt that failed stays as it was"
    assert row(store, task.row + 1, "memory", "tag") == (8 << 30, '{"kind": "x", "again": true}')


def test_a_task_has_no_more_tags_than_a_line_may_have(store: SqlStore) -> None:
    new(store)
    change(store, Action.NONE, *(f"k{n}:1" for n in range(99)))

    assert change(store, Action.NONE, "one:more").left == {"they would have over 100 tags": 1}


@pytest.mark.parametrize(
    ("action", "assignments", "remove"),
    [
        (Action.NONE, (), ()),
        (Action.NONE, ("word",), ()),
        (Action.NONE, ("state=DONE",), ()),
        (Action.NONE, ("args:x",), ()),
        (Action.NONE, ("args=",), ()),
        (Action.NONE, ("args=a\0b",), ()),
        (Action.NONE, ("args=" + "x" * (limits.LINE_BYTES_MAX + 1),), ()),
        (Action.NONE, ("group=null",), ()),
        (Action.NONE, ("cores=-1",), ()),
        (Action.NONE, ("memory=much",), ()),
        (Action.NONE, ("bad key:1",), ()),
        (Action.NONE, (), ("a b",)),
        (Action.NONE, (), ("group",)),
        (Action.NONE, tuple(f"k{n}:1" for n in range(101)), ()),
        (Action.DELETE, ("color:red",), ()),
        (Action.CANCEL, ("priority=1",), ()),
    ],
)
def test_a_change_without_sense_is_refused(
    action: Action, assignments: tuple[str, ...], remove: tuple[str, ...]
) -> None:
    with pytest.raises(RefusedError):
        Change(filter=Filter(), action=action, assignments=assignments, removed_tags=remove).plan()


# --- Pieces, and the way to a scheduler ---


def test_only_pieces_with_such_tasks_are_looked_at(store: SqlStore) -> None:
    first, *_ = (new(store) for _ in range(3))
    with store.transaction():
        store.add([NewTask(b"x", None, 0, 0, "")] * PIECE_ROWS, [0] * PIECE_ROWS, b"/", T0)
    new(store, group=3)
    last = new(store)

    assert spans(store.name, Filter()) == [
        Span(first.row, PIECE_ROWS, PIECE_ROWS),
        Span(PIECE_ROWS + 1, last.row, last.row - PIECE_ROWS),
    ]
    assert spans(store.name, Filter(group=3)) == [Span(PIECE_ROWS + 1, last.row - 1, 1)]
    assert spans(store.name, Filter(group=4)) == []


def test_only_the_rows_of_the_piece_are_changed(store: SqlStore) -> None:
    rows = [new(store).row for _ in range(4)]
    asked = Change(filter=Filter(), action=Action.CANCEL)
    with store.transaction():
        done = store.change(Piece(asked, 2, 3), T0)

    assert [number for number, _ in done.cancelled] == rows[1:3]


def test_regular_expressions_are_worked_out_by_who_asks(store: SqlStore) -> None:
    """One can take a day for a single row, and whoever carries a change out has workers to answer."""
    meant = [new(store, args=b"echo caf\xe9").row for _ in range(2)]
    new(store)
    new(store, args=b"echo caf\xe9", group=1)
    tasks = Filter(conditions=("args ~ caf\udce9$",), group=0)
    found = spans(store.name, tasks)

    assert found == [Span(1, meant[-1], 2, tuple(meant))]

    asked = Change(filter=tasks.split()[0], action=Action.CANCEL)
    with store.transaction():
        done = store.change(Piece(asked, 1, meant[-1], (meant[0],)), T0)
    assert [number for number, _ in done.cancelled] == meant[:1]


def test_a_change_survives_its_way_to_the_scheduler() -> None:
    one = Piece(
        Change(
            filter=Filter(conditions=("args == caf\udce9",), tags=("a:1",), group=2, ended="failed"),
            action=Action.RETRY,
            assignments=("args=caf\udce9",),
            removed_tags=("x",),
        ),
        3,
        PIECE_ROWS + 2,
        (3, 7),
    )

    assert Piece.from_plain(msgpack.unpackb(msgpack.packb(one.plain()))) == one


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        [[], "cancel", [], []],
        [[[], [], None, ""], "destroy", [], []],
        [[[], [], None, ""], "cancel", ["text"], []],
        [[[], [], None, "sometimes"], "cancel", [], []],
        [[[], [], "group", ""], "cancel", [], []],
        [[None, [], None, ""], "cancel", [], []],
        [[[b"args ~ (a+)+$"], [], None, ""], "cancel", [], []],
    ],
    ids=repr,
)
def test_what_is_no_change_is_the_peers_fault(plain: Any) -> None:
    with pytest.raises(WireError):
        Piece.from_plain([plain, 1, 2, None])


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 1), (1, PIECE_ROWS + 1), ("1", 2), (1 << 63, 1 << 63)])
def test_a_piece_is_bounded(first: Any, last: Any) -> None:
    with pytest.raises(WireError):
        Piece.from_plain([Change(filter=Filter(), action=Action.CANCEL).plain(), first, last, None])


@pytest.mark.parametrize("rows", [1, ["1"], [None], list(range(PIECE_ROWS + 1))])
def test_so_are_the_rows_that_were_chosen(rows: Any) -> None:
    with pytest.raises(WireError):
        Piece.from_plain([Change(filter=Filter(), action=Action.CANCEL).plain(), 1, 2, rows])
