"""The judge of the fault campaigns must see each kind of violation: else a campaign could not fail."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.faults.oracle import Allowance, Entry, Evidence, Row, judge, read_ledger
from tests.faults.queue_judge import Tally, Task, judged

from hs_scheduler.tasks.state import State

NOTHING_AGAIN = Allowance(reruns_max=0, finishes=True)


def a_clean_run(tasks: int = 8) -> Evidence:
    """Eight tasks; 1 to 6 fail by design."""
    return Evidence(
        tasks=tasks,
        ledger=[Entry(i, 1, 100 + i, kind) for i in range(tasks) for kind in ("start", "end")],
        rows=[Row(i, "DONE", i % 7, 1) for i in range(tasks)],
        applied=dict.fromkeys(range(tasks), 1),
        failures=[b"%d" % i for i in range(tasks) if i % 7],
        exit_status=1,
        leftovers=[],
    )


def test_a_clean_run_has_no_violation() -> None:
    assert judge(a_clean_run(), NOTHING_AGAIN).violations == 0


# Each row: the rule that is broken, and a clean run with just that fault in it.
FAULTS: list[tuple[str, Callable[[Evidence], Evidence]]] = [
    ("stuck", lambda run: replace(run, exit_status=None)),
    ("stuck", lambda run: replace(run, rows=[*(run.rows or [])[:-1], Row(7, "ASSIGNED", None, 1)])),
    ("lost", lambda run: replace(run, rows=(run.rows or [])[:-1])),
    ("lost", lambda run: replace(run, rows=None, ledger=run.ledger[:-2])),
    ("phantom", lambda run: replace(run, ledger=[*run.ledger, Entry(99, 1, 1, "start")])),
    ("recorded_twice", lambda run: replace(run, rows=[*(run.rows or []), Row(0, "DONE", 0, 1)])),
    ("recorded_twice", lambda run: replace(run, applied={**run.applied, 3: 2})),
    ("run_twice", lambda run: replace(run, ledger=[*run.ledger, Entry(2, 1, 200, "start"), Entry(2, 1, 200, "end")])),
    ("wrong", lambda run: replace(run, rows=[Row(0, "DONE", 1, 1), *(run.rows or [])[1:]])),
    ("wrong", lambda run: replace(run, rows=[Row(0, "QUARANTINED", None, 1), *(run.rows or [])[1:]])),
    ("wrong", lambda run: replace(run, rows=[Row(0, "DONE", 0, 0), *(run.rows or [])[1:]])),
    ("wrong", lambda run: replace(run, exit_status=0)),
    ("failures_wrong", lambda run: replace(run, failures=[*(run.failures or []), b"1"])),
    ("failures_wrong", lambda run: replace(run, failures=(run.failures or [])[1:])),
    ("leftovers", lambda run: replace(run, leftovers=["process 1: hs-worker"])),
]


@pytest.mark.parametrize(("rule", "fault"), FAULTS)
def test_one_fault_breaks_one_rule(rule: str, fault: Callable[[Evidence], Evidence]) -> None:
    verdict = judge(fault(a_clean_run()), NOTHING_AGAIN)
    assert (getattr(verdict, rule), verdict.violations) == (1, 1), verdict.remarks


def test_what_a_lost_lease_may_cost_is_no_violation_and_one_more_is() -> None:
    """Its worker runs on, where nobody reaches it, while another one has the task."""
    first_end = Entry(7, 1, 107, "end")
    run = a_clean_run()
    ledger = [*run.ledger[:-1], Entry(7, 2, 200, "start"), first_end, Entry(7, 2, 200, "end")]
    run = replace(run, ledger=ledger, rows=[*(run.rows or [])[:-1], Row(7, "DONE", 0, 2)])

    assert judge(run, replace(NOTHING_AGAIN, reruns_max=1, overlaps_max=1)).violations == 0
    verdict = judge(run, NOTHING_AGAIN)
    assert (verdict.run_twice, verdict.overlapped) == (1, 1)


def test_a_result_without_an_execution_is_fabricated_and_the_task_lost() -> None:
    run = a_clean_run()
    verdict = judge(replace(run, ledger=[e for e in run.ledger if e != Entry(4, 1, 104, "end")]), NOTHING_AGAIN)
    assert (verdict.fabricated, verdict.lost) == (1, 1)


def test_a_start_inside_another_execution_of_the_same_task_overlaps() -> None:
    run = a_clean_run()
    inside = [Entry(0, 1, 100, "start"), Entry(0, 2, 200, "start"), Entry(0, 2, 200, "end"), Entry(0, 1, 100, "end")]
    rows = [Row(0, "DONE", 0, 2), *(run.rows or [])[1:]]
    verdict = judge(replace(run, ledger=[*inside, *run.ledger[2:]], rows=rows), Allowance(reruns_max=1, finishes=True))
    assert (verdict.overlapped, verdict.violations) == (1, 1)


def test_what_a_dead_worker_was_running_may_start_again_and_no_more() -> None:
    """An execution that was killed has no end: its successor does not overlap with it."""
    run = a_clean_run()
    again = replace(
        run, ledger=[Entry(0, 1, 99, "start"), *[e._replace(dispatch=2) if e.task == 0 else e for e in run.ledger]],
        rows=[Row(0, "DONE", 0, 2), *(run.rows or [])[1:]],
    )  # fmt: skip
    assert judge(again, Allowance(reruns_max=1, finishes=True)).violations == 0
    assert judge(again, NOTHING_AGAIN).run_twice == 1


def test_a_run_that_was_killed_whole_may_leave_tasks_unfinished() -> None:
    run = a_clean_run()
    killed = replace(run, ledger=run.ledger[:8], exit_status=-9, rows=[*(run.rows or [])[:4], Row(4, "NEW", None, 0)])
    assert judge(killed, Allowance(reruns_max=0, finishes=False)).violations == 0


def test_a_torn_line_of_the_ledger_is_left_out() -> None:
    assert read_ledger(b"1 1 10 start\n2 1 \n1 1 10 end\n") == [Entry(1, 1, 10, "start"), Entry(1, 1, 10, "end")]


def a_clean_queue(tasks: int = 4) -> Tally:
    return Tally(
        tasks=tasks,
        rows=[Task(number, State.DONE, 0) for number in range(tasks)],
        applied=Counter(range(tasks)),
        ran=Counter(range(tasks)),
    )


def test_a_clean_queue_has_no_violation() -> None:
    assert judged(a_clean_queue(), reruns_max=0) == []


# Each row: what the judge says, and a clean queue with just that fault in it.
QUEUE_FAULTS: list[tuple[str, Callable[[Tally], Tally]]] = [
    ("lost: 4 (1)", lambda queue: replace(queue, tasks=5)),
    ("never submitted: 3 (1)", lambda queue: replace(queue, tasks=3)),
    ("stored twice: 1 (1)", lambda queue: replace(queue, rows=[*queue.rows, queue.rows[1]])),
    ("not done: 0 (1)", lambda queue: replace(queue, rows=[Task(0, State.DONE, 1), *queue.rows[1:]])),
    ("not done: 0 (1)", lambda queue: replace(queue, rows=[Task(0, State.NEW, None), *queue.rows[1:]])),
    ("recorded twice: 2 (1)", lambda queue: replace(queue, applied=queue.applied + Counter([2]))),
    ("recorded without having run: 3 (1)", lambda queue: replace(queue, ran=Counter(range(3)))),
    ("run, not stored: 9 (1)", lambda queue: replace(queue, ran=queue.ran + Counter([9]))),
    ("2 runs too many, 1 allowed: 1 2 (2)", lambda queue: replace(queue, ran=queue.ran + Counter([1, 2]))),
]


@pytest.mark.parametrize(("said", "fault"), QUEUE_FAULTS)
def test_one_fault_of_a_queue_is_said_once(said: str, fault: Callable[[Tally], Tally]) -> None:
    assert judged(fault(a_clean_queue()), reruns_max=1) == [said]
