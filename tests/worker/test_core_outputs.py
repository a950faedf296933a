"""Tasks of the worker's core whose output goes to another host."""

import signal

from tests.worker.building import FINISHED, SELF, a_worker, sent, spawned, told

from hs_common import messages
from hs_common.tasks import OutcomeKind, unpack_started
from hs_worker import events
from hs_worker.events import Exit, Look, Record, Send, Signal


def says(slot: int, sent: int, *, at: float = 0.0) -> events.Exited:
    """The process in a slot has ended, and its output ends where so many bytes were sent."""
    output = events.Output(b"", b"", whole=True, sent=sent)
    return events.Exited([Exit(slot, 0, at, at, 0.0, 0.0, 0, output=output)])


def test_a_task_counts_when_its_output_is_there() -> None:
    """Until then it keeps its slot, and nobody hears of its end."""
    # Given two tasks that said something, and a third that waits
    worker = a_worker(slots=2)
    worker.gets_tasks(1, 2, 3)
    assert worker.takes(says(0, 10)) == []
    assert worker.takes(says(1, 25)) == []

    # When the output of the first is there, and the beginning of the other's
    effects = worker.takes(events.OutputKept(24))

    # Then the first counts, and what waited has its slot
    assert [outcome.row for outcome in told(effects)] == [1]
    assert spawned(effects) == [(0, 3)]
    assert [outcome.row for outcome in told(worker.takes(events.OutputKept(25)))] == [2]


def test_nothing_ends_a_task_whose_output_is_on_its_way() -> None:
    """Neither its limit, nor a cancellation, nor an order to stop: it has ended already, and drained means delivered."""
    worker = a_worker(slots=1, task_timeout_s=5.0)
    worker.gets_tasks(1)
    worker.takes(says(0, 10, at=1.0))

    effects = worker.takes(messages.Cancel(session=worker.session, worker=SELF, tasks=((1, 1),)))
    effects += worker.takes(events.PauseAsked()) + worker.takes(events.ResumeAsked())
    effects += worker.waits(6.0) + worker.takes(events.StopAsked(kill=False, wait_s=5.0)) + worker.waits(12.0)

    assert not [effect for effect in effects if not isinstance(effect, Send)]
    assert told(effects) == []
    (outcome,) = told(worker.takes(events.OutputKept(10)))
    assert (outcome.kind, outcome.reason) == (FINISHED, "")


def test_a_task_whose_output_will_never_be_there_goes_back() -> None:
    """Who would have printed it is gone: it has to run again."""
    worker = a_worker(slots=2)
    worker.gets_tasks(1, 2)
    worker.takes(says(0, 10))

    effects = worker.takes(events.StopAsked(kill=True, wait_s=1.0)) + worker.takes(says(1, 20))

    assert [(outcome.row, outcome.kind) for outcome in told(effects)] == [
        (1, OutcomeKind.HANDED_BACK),
        (2, OutcomeKind.HANDED_BACK),
    ]


def test_a_task_that_was_stopped_waits_for_its_output_too() -> None:
    """When nothing of it is left."""
    worker = a_worker(slots=1, task_timeout_s=1.0)
    worker.gets_tasks(1)
    assert Signal(0, signal.SIGINT) in worker.waits(1.0)
    assert Look(0) in worker.takes(says(0, 10))

    assert told(worker.takes(events.Left(0, 0))) == []
    (outcome,) = told(worker.takes(events.OutputKept(10)))

    assert (outcome.kind, outcome.reason) == (FINISHED, "timeout")


def test_nothing_is_started_while_nobody_reads_what_was_said() -> None:
    """What runs may end, and comes to its result; what waits waits on, or goes back."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2, 3)
    worker.takes(events.OutputFull(full=True))

    effects = worker.ends(0)

    assert spawned(effects) == []
    assert any(isinstance(effect, Record) for effect in effects)
    assert spawned(worker.takes(events.OutputFull(full=False))) == [(0, 2)]
    worker.takes(events.OutputFull(full=True))
    assert 3 in [outcome.row for outcome in told(worker.takes(events.DrainAsked(None)))]


def test_nobody_takes_a_worker_for_stalled_whose_outputs_nobody_reads() -> None:
    """It says so: the broker warns of one that was given something and says nothing of it."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2, 3)
    worker.ends(0)
    worker.takes(events.OutputFull(full=True))
    worker.ends(0)

    said = [unpack_started(running.body) for _ in range(60) for running in sent(worker.waits(0.5), messages.Running)]

    assert said == [[], []]
