"""Tasks of the worker's core whose templates ask a process before the command is known."""

import errno
import signal

import pytest
from tests.worker.building import (
    CANCELLED,
    FINISHED,
    HANDED_BACK,
    REJECTED,
    SELF,
    WALL_S,
    Worker,
    a_detail,
    a_task,
    a_worker,
    spawned,
    told,
)

from hs_common import limits, messages
from hs_worker import events
from hs_worker.events import Drop, Look, Record, Signal, Spawn

ASKS = b"echo {= x + 1 =} {slot}"
ASKED = (b"=x + 1",)


def an_expanding_worker(**rules: object) -> Worker:
    """Return one whose only task is asked for its command, since monotonic 0, in slot 0."""
    worker = a_worker(**{"template": ASKS, "signalwait_s": 1.0, **rules})
    assert worker.gets_tasks(1) == [Spawn(0, a_task(1), 1, b"/here", b"", ASKED)]
    return worker


def answers(worker: Worker, answer: bytes, status: int = 0) -> list[events.Effect]:
    """The process in slot 0 ends and leaves this."""
    return worker.takes(events.Exited([events.Exit(0, status, 0.0, worker.now, 0.0, 0.0, 0, answer)]))


def test_what_a_template_asks_is_answered_in_the_slot_and_then_the_task_runs() -> None:
    """The slot is taken all the time; the task begins when its command is known, and that is recorded."""
    worker = an_expanding_worker()
    worker.now = 3.0

    assert answers(worker, b"7\0") == [Spawn(0, a_task(1), 1, b"/here", b"echo 7 1")]
    worker.now = 10.0
    effects = worker.ends(0, seconds=7.0)

    (outcome,) = told(effects)
    assert (outcome.kind, outcome.command, outcome.start, outcome.duration) == (
        FINISHED,
        b"echo 7 1",
        WALL_S + 3.0,
        7.0,
    )


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (0x100, b"0 NameError: no such name", "template: {= x + 1 =}: NameError: no such name"),
        (0, b"", "template: its process ended with wait status 0 before it had answered"),
        (0, b"y" * 2 * limits.MIB + b"\0", "too long"),
    ],
    ids=["failed", "silent", "long"],
)
def test_a_task_that_cannot_be_expanded_is_rejected_and_the_next_starts(
    status: int, answer: bytes, reason: str
) -> None:
    """It is written down, for its slot was taken; nothing of it ran."""
    worker = an_expanding_worker(slots=1)
    worker.gets_tasks(2)

    effects = answers(worker, answer, status)

    assert [type(effect) for effect in effects[:3]] == [Drop, Record, Spawn]
    assert spawned(effects) == [(0, 2)]
    effects += worker.waits(0.06)
    (outcome,) = told(effects)
    assert (outcome.row, outcome.kind, outcome.reason, outcome.start) == (1, REJECTED, reason, 0.0)


def test_a_bad_template_that_a_task_brings_costs_no_slot() -> None:
    """Nor does an index that is out of range."""
    worker = a_worker(slots=1)
    tasks = (
        a_task(1, detail=a_detail(template=b"{% %}")),
        a_task(2, args=b"a b", detail=a_detail(template=b"{[2]}")),
        a_task(3),
    )

    effects = worker.gets((1, tasks))

    assert spawned(effects) == [(0, 3)]
    assert [(outcome.row, outcome.kind, outcome.reason) for outcome in told(effects)] == [
        (1, REJECTED, "template: {% %} is empty"),
        (2, REJECTED, "template: {[2]} is out of range: 2 arguments"),
    ]


@pytest.mark.parametrize(("limit_s", "waits_s"), [(7.0, 7.0), (900.0, 900.0), (0.0, 300.0)])
def test_an_endless_expansion_is_ended_by_the_limit_of_the_task_and_rejected(limit_s: float, waits_s: float) -> None:
    """Or by ours, where it has none; signals, and then what it left, as for a task."""
    worker = an_expanding_worker(task_timeout_s=limit_s)
    assert not any(isinstance(effect, Signal) for effect in worker.waits(waits_s - 0.1))

    assert Signal(0, signal.SIGINT) in worker.waits(0.1)
    assert answers(worker, b"7\0", 2) == [Look(0)]
    (outcome,) = told(worker.takes(events.Left(0, 0)))

    assert (outcome.kind, outcome.reason) == (REJECTED, "template: timeout while it was expanded")


def test_expanding_and_running_share_one_limit() -> None:
    """It begins when the first process of the task does."""
    worker = an_expanding_worker(task_timeout_s=10.0)
    worker.waits(6.0)
    answers(worker, b"7\0")

    assert Signal(0, signal.SIGINT) not in worker.waits(3.9)
    assert Signal(0, signal.SIGINT) in worker.waits(0.1)
    worker.ends(0, status=2)
    (outcome,) = told(worker.takes(events.Left(0, 0)))
    assert (outcome.kind, outcome.reason) == (FINISHED, "timeout")


def test_our_limit_ends_with_the_expansion() -> None:
    """A task without a limit has none of ours once it runs."""
    worker = an_expanding_worker()
    answers(worker, b"7\0")

    assert not any(isinstance(effect, Signal) for effect in worker.waits(3600.0))


@pytest.mark.parametrize(("kill", "number"), [(False, signal.SIGINT), (True, signal.SIGKILL)])
def test_a_stop_hands_back_what_is_being_expanded(kill: bool, number: int) -> None:
    """It never ran."""
    worker = an_expanding_worker()

    assert Signal(0, number) in worker.takes(events.StopAsked(kill=kill, wait_s=1.0))
    effects = answers(worker, b"", int(number)) + worker.takes(events.Left(0, 0))

    assert [(outcome.kind, outcome.reason, outcome.start) for outcome in told(effects)] == [(HANDED_BACK, "halt", 0.0)]


def test_a_cancelled_expansion_is_cancelled() -> None:
    """Whatever the answer would have been."""
    worker = an_expanding_worker()

    assert worker.takes(messages.Cancel(session=worker.session, worker=SELF, tasks=((1, 1),))) == [
        Signal(0, signal.SIGINT)
    ]
    answers(worker, b"7\0")
    (outcome,) = told(worker.takes(events.Left(0, 0)))
    assert outcome.kind == CANCELLED


def test_an_expander_that_cannot_be_spawned_is_a_fault_of_the_host() -> None:
    """The task goes back and nothing is counted."""
    worker = an_expanding_worker()

    (outcome,) = told(worker.takes(events.SpawnFailed(0, errno.EAGAIN)))

    assert (outcome.kind, outcome.reason) == (HANDED_BACK, "spawn:EAGAIN")


def test_a_line_for_which_the_map_has_no_room_goes_back() -> None:
    """Unlike a plain one, which waits, it is only known when it has a slot already."""
    worker = an_expanding_worker(area_bytes=5000)

    (outcome,) = told(answers(worker, b"y" * 5000 + b"\0"))

    assert (outcome.kind, outcome.reason) == (HANDED_BACK, "room")
