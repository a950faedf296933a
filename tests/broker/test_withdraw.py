"""Tasks that are not wanted any more are taken back from wherever the broker has them."""

from tests.broker.building import Scheduler, a_bundle, a_cluster

from hs_broker.events import Send
from hs_common import messages

TASKS = ((7, 1), (8, 1))


def withdraws(scheduler: Scheduler, *bundles: int) -> list[object]:
    return list(scheduler.says(messages.Withdraw, bundles=bundles, tasks=TASKS))


def is_refused(scheduler: Scheduler, *bundles: int) -> Send:
    return scheduler.is_told(messages.Refused, reason="withdrawn", fatal=False, bundles=bundles)


def test_a_bundle_that_waits_is_refused_and_never_given_out() -> None:
    """The scheduler dispatches anew what is left of it."""
    _, scheduler, (worker,) = a_cluster(credit=1, slots=1)
    scheduler.submit(a_bundle(1))
    scheduler.submit(a_bundle(2))

    assert withdraws(scheduler, 2) == [is_refused(scheduler, 2)]

    assert worker.gets(a_bundle(2)) not in worker.result(1)


def test_whoever_has_a_bundle_is_told_to_cancel_and_keeps_it_until_it_says_so() -> None:
    """Its slot is not free before what ran in it has ended. Each worker is told once, of all the tasks."""
    _, scheduler, (worker, other) = a_cluster(workers=2)
    scheduler.submit(*(a_bundle(number) for number in range(1, 4)))

    effects = withdraws(scheduler, 1, 2, 3)

    assert effects == [
        worker.is_told(messages.Cancel, worker=worker.id, tasks=TASKS),
        other.is_told(messages.Cancel, worker=other.id, tasks=TASKS),
    ]


def test_a_bundle_that_nobody_has_is_passed_over() -> None:
    """It was finished meanwhile."""
    _, scheduler, _ = a_cluster()
    assert withdraws(scheduler, 99) == []
