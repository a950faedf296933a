"""What all stores do: the same, shown by examples."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hs_common import limits
from hs_common.errors import InvalidTransitionError
from hs_common.outcomes import pack_outcomes, unpack_outcomes
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.memory import MemoryStore
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import Applied, Counts, Held, InputState, NewTask, Retry
from hs_scheduler.tasks.state import State

RUN = b"r" * 16
W1, W2 = b"1" * 16, b"2" * 16
NONE = Retry(0, eager=False)
T0 = 1_700_000_000.0
Store = MemoryStore | SqlStore


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    one: Store
    if request.param == "memory":
        one = MemoryStore()
    elif request.param == "sqlite":
        one = open_store(str(tmp_path / "tasks.db"))
    else:
        one = open_store(request.getfixturevalue("postgres_url"), create=True)
    one.open_run(RUN, {}, T0)
    yield one
    one.close()


def line(
    args: bytes, *, group: int = 0, priority: int = 0, detail: Detail | None = None, rejected: str = ""
) -> NewTask:
    return NewTask(args, detail, group, priority, rejected)


def add(store: Store, *tasks: NewTask, bundle: int = 0) -> list[Task]:
    with store.transaction():
        return store.add(tasks, [bundle] * len(tasks), b"/work", T0)


def claim(store: Store, count: int = 100, bundle: int = 7) -> list[Task]:
    with store.transaction():
        tasks = [item.task for item in store.ready(count)]
        store.assign([(bundle, tasks)], T0 + 1)
    return tasks


def outcome(
    task: Task, *, kind: OutcomeKind = OutcomeKind.FINISHED, status: int = 0, reason: str = "", **more: Any
) -> Outcome:
    ran = kind == OutcomeKind.FINISHED
    base = Outcome(
        task.row, task.dispatch, kind, status, reason, T0 + 2 if ran else 0.0, 0.5, 0.25, 0.125, 1024, b"", b"", b""
    )
    return base._replace(**more)


def record(store: Store, *outcomes: Outcome, retry: Retry = NONE) -> list[Applied]:
    """Record outcomes as they come from a worker."""
    with store.transaction():
        return list(store.record(W1, "host1", unpack_outcomes(pack_outcomes(outcomes)), retry, T0 + 3))


def test_a_task_is_claimed_run_and_recorded_once(store: Store) -> None:
    (task,) = add(store, line(b"true"))
    assert store.counts == Counts(new=1)

    (claimed,) = claim(store)
    assert claimed == task._replace(dispatch=1)
    assert store.counts == Counts(assigned=1)
    assert claim(store) == []

    result = outcome(claimed)
    assert record(store, result) == [Applied(task.row, result, State.DONE, failed=False, retried=False)]
    assert store.counts == Counts(succeeded=1)
    assert record(store, result) == [], "a repeated result is discarded"
    assert store.counts == Counts(succeeded=1)


def test_a_task_may_be_assigned_when_it_is_added(store: Store) -> None:
    (task,) = add(store, line(b"true"), bundle=3)

    assert store.counts == Counts(assigned=1)
    assert list(store.held()) == [Held(3, task.row, 1, b"")]
    assert store.ready(10) == []
    assert [applied.state for applied in record(store, outcome(task))] == [State.DONE]


def test_every_task_gets_an_id_of_its_own_in_order(store: Store) -> None:
    tasks = add(store, *(line(b"true") for _ in range(100))) + add(store, line(b"true"))

    ids = [task.uid for task in tasks]
    assert sorted(set(ids)) == ids
    assert {uid[6] >> 4 for uid in ids} == {7}
    assert {uid[8] >> 6 for uid in ids} == {2}


def test_details_come_back_as_they_were_given(store: Store) -> None:
    detail = Detail(1.5, 2, 3, (("a", None), ("b", True), ("c", 7), ("d", 1.25), ("e", "ä\n"), ("f", "")), b"t\xff {}")
    nearly = Detail(0.0, 0, 0, (("n", 1),), b"")
    (first, second) = add(store, line(b"\xff", detail=detail), line(b"b", detail=nearly))

    ready = store.ready(10)

    assert [item.task for item in ready] == [first, second]
    assert [item.task.detail for item in ready] == [detail, nearly]
    assert [type(value) for _, value in detail.tags] == [
        type(value) for _, value in (ready[0].task.detail or nearly).tags
    ]
    assert {item.cwd for item in ready} == {b"/work"}


def test_groups_go_in_order_and_in_a_group_the_higher_priority(store: Store) -> None:
    add(
        store,
        line(b"g1", group=1, priority=9),
        line(b"low", priority=-1),
        line(b"a"),
        line(b"b"),
        line(b"high", priority=5),
        line(b"g-1", group=-1),
    )

    assert [[task.args for task in claim(store)] for _ in range(4)] == [
        [b"g-1"],
        [b"high", b"a", b"b", b"low"],
        [b"g1"],
        [],
    ]


def test_ready_rows_are_of_one_group_and_say_which(store: Store) -> None:
    add(store, line(b"later", group=3), line(b"a", group=2), line(b"b", group=2))

    assert [(item.task.args, item.group) for item in store.ready(1)] == [(b"a", 2)]
    assert [(item.task.args, item.group) for item in store.ready(9)] == [(b"a", 2), (b"b", 2)]
    (early,) = add(store, line(b"early", group=-5))
    assert [(item.task, item.group) for item in store.ready(9)] == [(early, -5)]


def test_the_failed_group_is_the_lowest_with_a_task_that_failed_for_good(store: Store) -> None:
    add(store, line(b"g2", group=2), line(b"g1", group=1), line(b"g3", group=3, rejected="NUL"))
    assert store.failed_group() == 3

    (g1,) = claim(store)
    record(store, outcome(g1, status=256), retry=Retry(1, eager=False))
    assert store.failed_group() == 3, "it has another attempt"
    (again,) = claim(store)
    record(store, outcome(again, status=256), retry=Retry(1, eager=False))
    assert store.failed_group() == 1


@pytest.mark.parametrize(("eager", "order"), [(False, [b"new", b"low", b"bad"]), (True, [b"bad", b"new", b"low"])])
def test_a_retry_comes_when_no_new_task_of_its_group_is_ready_or_first(
    store: Store, eager: bool, order: list[bytes]
) -> None:
    (bad,) = add(store, line(b"bad", priority=5), bundle=1)
    add(store, line(b"new"), line(b"low", priority=-5), line(b"later", group=1))

    record(store, outcome(bad, status=256), retry=Retry(1, eager))

    assert [item.task.args for item in store.ready(10)] == order


def test_a_failure_is_tried_again_as_a_row_of_its_own(store: Store) -> None:
    detail = Detail(9.0, 1, 2, (("n", 1),), b"")
    (task,) = add(store, line(b"false", group=2, priority=3, detail=detail), bundle=1)
    retry = Retry(2, eager=False)

    assert record(store, outcome(task, status=256), retry=retry) == [
        Applied(task.row, outcome(task, status=256), State.DONE, failed=True, retried=True)
    ]
    assert store.counts == Counts(new=1, retried=1)
    (second,) = claim(store)
    assert second._replace(row=0, uid=b"") == Task(0, b"", 1, 2, b"false", detail)
    assert second.uid > task.uid
    assert second.row > task.row
    record(store, outcome(second, reason="timeout"), retry=retry)
    (third,) = claim(store)
    assert third.attempt == 3
    assert record(store, outcome(third, status=9), retry=retry)[0].retried is False
    assert store.counts == Counts(failed=1, retried=2)
    assert list(store.failures()) == [(b"false", detail, 2, 3)]


@pytest.mark.parametrize(
    ("kind", "state"),
    [(OutcomeKind.REJECTED, State.REJECTED), (OutcomeKind.CANCELLED, State.CANCELLED)],
)
def test_rejected_and_cancelled_tasks_are_not_tried_again(store: Store, kind: OutcomeKind, state: State) -> None:
    (task,) = add(store, line(b"x"), bundle=1)

    (applied,) = record(store, outcome(task, kind=kind, reason="template"), retry=Retry(5, eager=False))

    assert (applied.state, applied.retried) == (state, False)
    assert store.counts == (Counts(failed=1) if state == State.REJECTED else Counts(cancelled=1))
    assert [args for args, *_ in store.failures()] == ([b"x"] if state == State.REJECTED else [])


def test_a_line_that_can_never_run_is_rejected_at_once(store: Store) -> None:
    add(store, line(b"a"), line(b"b\0", rejected="NUL in the line"), line(b"c"), bundle=4)

    assert store.counts == Counts(assigned=2, failed=1)
    assert [args for args, *_ in store.failures()] == [b"b\0"]


def test_a_task_that_was_handed_back_is_dispatched_anew(store: Store) -> None:
    (task,) = add(store, line(b"x"), bundle=1)
    back = outcome(task, kind=OutcomeKind.HANDED_BACK)

    assert record(store, back) == [Applied(task.row, back, State.NEW, failed=False, retried=False)]
    assert store.counts == Counts(new=1)
    assert record(store, back) == []
    assert [again.dispatch for again in claim(store)] == [2]


def test_a_task_that_killed_its_worker_too_often_is_quarantined(store: Store) -> None:
    (task,) = add(store, line(b"x"), bundle=1)
    for crash in range(1, limits.CRASHES_MAX):
        (applied,) = record(store, outcome(task, kind=OutcomeKind.CRASHED))
        assert applied.state == State.NEW
        (task,) = claim(store)
        assert (task.dispatch, task.attempt) == (crash + 1, 1)

    (applied,) = record(store, outcome(task, kind=OutcomeKind.CRASHED), retry=Retry(5, eager=False))

    assert (applied.state, applied.failed, applied.retried) == (State.QUARANTINED, True, False)
    assert store.counts == Counts(failed=1)
    assert [args for args, *_ in store.failures()] == [b"x"]


def test_a_late_success_counts_a_late_failure_does_not(store: Store) -> None:
    """The first success wins, also where the task waits again or somebody else has it now."""
    waiting, elsewhere = add(store, line(b"a"), line(b"b"), bundle=1)
    with store.transaction():
        assert store.release([(waiting.row, 1), (elsewhere.row, 1)]) == 2
    assert store.counts == Counts(new=2)
    with store.transaction():
        store.assign([(2, [elsewhere._replace(dispatch=2)])], T0)

    assert record(store, outcome(waiting, status=256), outcome(elsewhere, status=256)) == []
    assert store.counts == Counts(new=1, assigned=1)
    assert [applied.row for applied in record(store, outcome(waiting), outcome(elsewhere))] == [
        waiting.row,
        elsewhere.row,
    ]
    assert store.counts == Counts(succeeded=2)
    assert record(store, outcome(elsewhere._replace(dispatch=2), status=256)) == []


@pytest.mark.parametrize("dispatch", [2, 99, limits.DISPATCH_MAX])
def test_a_result_of_a_dispatch_that_never_was_is_discarded(store: Store, dispatch: int) -> None:
    (task,) = add(store, line(b"a"), bundle=1)

    assert record(store, outcome(task._replace(dispatch=dispatch))) == []
    assert record(store, outcome(task._replace(row=12345))) == []
    assert store.counts == Counts(assigned=1)


def test_the_same_result_twice_in_one_message_counts_once(store: Store) -> None:
    first, second = add(store, line(b"a"), line(b"b"), bundle=1)

    applied = record(
        store, outcome(first, status=256), outcome(first, status=256), outcome(second), retry=Retry(1, eager=False)
    )

    assert [(item.row, item.retried) for item in applied] == [(first.row, True), (second.row, False)]
    assert store.counts == Counts(new=1, succeeded=1, retried=1)


def test_a_running_task_is_held_by_its_worker(store: Store) -> None:
    first, second = add(store, line(b"a"), line(b"b"), bundle=9)
    with store.transaction():
        store.started(W2, "host2", [Started(first.row, 1, T0 + 2), Started(second.row, 2, T0 + 2), Started(99, 1, T0)])

    assert sorted(store.held()) == [Held(9, first.row, 1, W2), Held(9, second.row, 1, b"")]
    assert store.counts == Counts(assigned=2)
    with store.transaction():
        assert store.release([(first.row, 1), (first.row, 1), (second.row, 2), (99, 1)]) == 1
    assert list(store.held()) == [Held(9, second.row, 1, b"")]
    assert [(item.task.row, item.task.dispatch) for item in store.ready(5)] == [(first.row, 2)]


def test_only_rows_that_are_new_for_this_dispatch_can_be_assigned(store: Store) -> None:
    (task,) = add(store, line(b"a"))
    claim(store)

    with pytest.raises(InvalidTransitionError), store.transaction():
        store.assign([(2, [task])], T0)

    assert store.counts == Counts(assigned=1)
    assert list(store.held()) == [Held(7, task.row, 1, b"")]


def test_nothing_of_a_transaction_that_failed_remains(store: Store) -> None:
    new, _, other = add(store, line(b"new"), line(b"held"), line(b"other"))
    claim(store, 1)
    with store.transaction():
        store.worker_attached(W1, b"", "host1", T0)
    before = (replace(store.counts), store.ready(10), list(store.held()), store.workers(), store.input_state())

    def fail() -> None:
        with store.transaction():
            store.add([line(b"more", group=-5), line(b"bad", rejected="NUL")], [0, 0], b"/other", T0)
            store.assign([(8, [item.task for item in store.ready(2)])], T0)
            store.record(W2, "host2", [outcome(new, status=256)], Retry(1, eager=True), T0)
            store.worker_attached(W2, W1, "host2", T0)
            store.save_input(an_input())
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert (store.counts, store.ready(10), list(store.held()), store.workers(), store.input_state()) == before
    assert list(store.failures()) == []
    assert [task.args for task in claim(store)] == [b"held", b"other"]
    (again,) = add(store, line(b"again", group=3))
    assert (again.row, [item.task for item in store.ready(5)]) == (other.row + 1, [again])
    record(store, outcome(new))
    assert store.counts == Counts(new=1, assigned=2, succeeded=1)


def test_writing_outside_a_transaction_is_a_bug(store: Store) -> None:
    with pytest.raises(InvalidTransitionError):
        store.add([line(b"a")], [0], b"/", T0)


def test_failures_come_in_the_order_of_the_input(store: Store) -> None:
    first, _, third = add(store, line(b"first"), line(b"good"), line(b"third"), bundle=1)
    retry = Retry(1, eager=False)
    record(store, outcome(first, status=256), outcome(third, status=256), retry=retry)
    again_first, again_third = claim(store)
    record(store, outcome(again_third, status=256), retry=retry)
    record(store, outcome(again_first, status=256), retry=retry)

    assert [args for args, *_ in store.failures()] == [b"first", b"third"]


def test_epochs_go_up(store: Store) -> None:
    assert [store.take_epoch(), store.take_epoch()] == [1, 2]


def test_a_store_keeps_its_own_id_from_epoch_to_epoch(store: Store) -> None:
    store.take_epoch()
    uid = store.uid()
    store.take_epoch()

    assert store.uid() == uid
    assert len(uid) == 16
    assert any(uid)


def test_a_run_keeps_the_settings_that_it_was_started_with(store: Store) -> None:
    other = b"o" * 16

    assert store.open_run(other, {"template": "a"}, T0) == {"template": "a"}
    assert store.open_run(other, {"template": "b"}, T0) == {"template": "a"}


def an_input(**more: Any) -> InputState:
    base = InputState(
        path=os.fsdecode(b"/tmp/\xff"),
        device=2**64 - 1,
        inode=2**64 - 2,
        size=100,
        modified_ns=10**18,
        offset=50,
        line=7,
        tags=(("group", 3), ("x", None)),
        ended=False,
    )
    return replace(base, **more)


def test_the_input_state_comes_back(store: Store) -> None:
    assert store.input_state() is None
    for state in (an_input(), an_input(offset=99, ended=True, tags=())):
        with store.transaction():
            store.save_input(state)
        assert store.input_state() == state


def test_attached_workers_are_remembered(store: Store) -> None:
    with store.transaction():
        store.worker_attached(W1, b"", "host1", T0)
    with store.transaction():
        store.worker_attached(W2, W1, "host1", T0)
    assert store.workers() == {W2}

    with store.transaction():
        store.worker_gone(W2)
        store.worker_gone(b"unknown")
    assert store.workers() == set()


def test_what_was_just_recorded_is_there_for_the_job_log(store: Store) -> None:
    good, bad, never = add(store, line(b"good"), line(b"bad\xff"), line(b"never"), bundle=1)
    results = [
        outcome(good, command=b"sh good", outpath=b"/o"),
        outcome(bad, status=9, memory_max=0),
        outcome(never, kind=OutcomeKind.REJECTED, reason="template"),
    ]
    with store.transaction():
        store.record(W1, "host1", results, NONE, T0 + 3)

    one, two, three = store.finished([good.row, bad.row, never.row, 99])

    assert one["id"][14] == "7"
    common = {"attempt": 1, "dispatch": 1, "worker_id": "31313131-3131-3131-3131-313131313131", "worker_host": "host1"}
    ran = common | {"start_time": "2023-11-14T22:13:22.000000Z", "completion_time": "2023-11-14T22:13:22.500000Z"}
    ran |= {"duration": 0.5, "cpu_user": 0.25, "cpu_system": 0.125}
    assert one.items() >= (ran | {"state": "DONE", "exit_status": 0, "reason": None, "memory_max": 1024}).items()
    assert (one["args"], one["command"], one["outpath"], one["errpath"]) == (b"good", b"sh good", b"/o", None)
    assert two.items() >= (ran | {"exit_status": -9, "command": b"bad\xff", "memory_max": None}).items()
    assert three.items() >= (common | {"state": "REJECTED", "exit_status": None, "reason": "template"}).items()
    assert (three["start_time"], three["duration"], three["command"]) == (None, None, None)
    assert three["completion_time"] == "2023-11-14T22:13:23.000000Z"


def test_a_row_that_a_result_names_twice_ends_once(store: Store) -> None:
    """Whatever a worker says, and though both are successes."""
    first, second = add(store, line(b"a"), line(b"b"), bundle=1)

    applied = record(store, outcome(first), outcome(first), outcome(second))

    assert [item.row for item in applied] == [first.row, second.row]
    assert store.counts == Counts(succeeded=2)


def test_a_success_of_a_dispatch_that_never_was_is_discarded(store: Store) -> None:
    """The row waits for that very dispatch."""
    (task,) = add(store, line(b"true"))

    assert record(store, outcome(store.ready(1)[0].task)) == []
    assert store.counts == Counts(new=1)
    assert [item.task.row for item in store.ready(1)] == [task.row]


def test_a_success_among_others_alike_is_written_down_as_one_by_itself(store: Store) -> None:
    """By the column or field by field: also that its memory is not known."""
    first, second = add(store, line(b"true"), line(b"true"), bundle=1)
    with store.transaction():
        store.record(W1, "host1", unpack_outcomes(pack_outcomes([outcome(first, memory_max=0)])), NONE, T0 + 3)
        store.record(W1, "host1", [outcome(second, memory_max=0)], NONE, T0 + 3)

    one, other = (next(iter(store.finished([task.row]))) for task in (first, second))

    assert one.pop("id") != other.pop("id")
    assert one == other
    assert one["memory_max"] is None
