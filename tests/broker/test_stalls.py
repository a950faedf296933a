"""Workers that are here and make nothing of what they were given (H16)."""

import pytest
from tests.broker.building import Control, Worker, a_bundle, a_cluster

from hs_broker.events import Effect, Send, WorkerLost, WorkerStalled
from hs_broker.stalls import STALL_S
from hs_common import messages
from hs_common.messages import BundleHeader, Demand


def told(effects: list[Effect]) -> list[Effect]:
    """What the operator hears."""
    return [effect for effect in effects if not isinstance(effect, Send)]


def is_running(worker: Worker) -> None:
    worker.says(messages.Running, worker=worker.id, body=b"rows")


def test_a_worker_that_beats_and_does_nothing_is_told_of_once() -> None:
    """Its lease never ends, for it is alive; only the operator can judge it."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1), a_bundle(2))
    worker.says(messages.Received, worker=worker.id, bundles=(1, 2))
    assert told(broker.passes(STALL_S - 1)) == []
    worker.says(messages.Heartbeat)

    assert told(broker.passes(1)) == [WorkerStalled(worker.id, "here", 2)]
    assert told(broker.passes(STALL_S)) == []


@pytest.mark.parametrize("word", ["result", "running"])
def test_after_a_word_of_its_tasks_it_may_be_told_of_again(word: str) -> None:
    """One line for each time."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1), a_bundle(2))
    broker.passes(STALL_S)

    if word == "running":
        is_running(worker)
    worker.result(1)
    scheduler.submit(a_bundle(3))

    assert told(broker.passes(STALL_S + 1)) == [WorkerStalled(worker.id, "here", 2)]


def test_long_tasks_are_no_stall() -> None:
    """Running is said of each once; what comes after them waits for hours, and nobody is to blame."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1), a_bundle(2))
    broker.passes(1)
    is_running(worker)
    scheduler.submit(a_bundle(3), a_bundle(4))

    assert told(broker.passes(4 * STALL_S)) == []


def test_short_tasks_are_no_stall() -> None:
    """A Result is a word too, and nothing is owed by a worker that holds nothing."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    worker.result(1)

    assert told(broker.passes(4 * STALL_S)) == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((a_bundle(2, demand=Demand(8, 0, 0.0)), a_bundle(3, demand=Demand(8, 0, 0.0))), 0),  # one waits for the other
        ((a_bundle(2, demand=Demand(0, 9, 0.0)), a_bundle(3, demand=Demand(1, 0, 0.0))), 0),
        ((a_bundle(2, demand=Demand(8, 0, 0.0)),), 1),  # alone it waits for nobody
        ((a_bundle(2, demand=Demand(8, 0, 0.0)), a_bundle(3)), 1),
    ],
)
def test_what_waits_for_the_cores_of_another_is_no_stall(headers: tuple[BundleHeader, ...], expected: int) -> None:
    """The worker holds it back until they are free."""
    broker, scheduler, _ = a_cluster()
    scheduler.submit(*headers)

    assert len(told(broker.passes(STALL_S + 1))) == expected


def test_a_worker_out_of_session_owes_nothing_until_it_is_back() -> None:
    """What it said meanwhile comes again after its Hello, and not before."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    Worker(broker, 1, connection=2).says(messages.Heartbeat)
    broker.passes(STALL_S - 1)
    back = Worker(broker, 1, connection=2)
    back.hello(inventory=(1,))

    assert told(broker.passes(STALL_S - 1)) == []
    assert told(broker.passes(2)) == [WorkerStalled(worker.id, "here", 1)]


def test_a_broker_that_was_away_blames_no_worker() -> None:
    """The Results of that time lie in our own sockets."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))

    assert told(broker.stands_still(2 * STALL_S)) == []
    assert told(broker.passes(STALL_S)) == [WorkerStalled(worker.id, "here", 1)]


def test_an_operator_can_evict_it() -> None:
    """Its bundles are the scheduler's again, which gives them to somebody else."""
    broker, scheduler, (worker, other) = a_cluster(workers=2, slots=1, credit=1)
    scheduler.submit(a_bundle(1))
    broker.passes(STALL_S)
    control = Control(broker, b"c")
    control.hello()

    effects = control.says(messages.WorkerDead, worker=worker.id)

    reason = "its guardian ended"
    assert effects == [
        scheduler.hears_lost(worker, 1, gone=True, reason=reason),
        WorkerLost(worker.id, reason, 1),
        scheduler.has_credit(2),
    ]
    assert scheduler.submit(a_bundle(2)) == [other.gets(a_bundle(2))]
