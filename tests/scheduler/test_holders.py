"""Who has what was handed out, as far as the scheduler knows: when brokers, workers and schedulers come and go."""

from tests.scheduler.cores import FIRST, SESSION, W1, W2, a_bundle, a_core, attached, census, live, lost, welcome

from hs_common.incarnation import ORIGIN_BYTES, all_of
from hs_common.messages import Committed, Credit, Received
from hs_scheduler.core import NOT_BACK
from hs_scheduler.events import (
    Claimed,
    ClaimedBundle,
    Disconnected,
    DrainAsked,
    ForgetWorker,
    Release,
    RememberWorker,
    Send,
    Tell,
)
from hs_scheduler.out import NO_DEMAND
from hs_scheduler.stores.store import Held


def test_the_bundles_of_a_lost_worker_are_new_again() -> None:
    """Losing a worker never loses its bundles."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1), a_bundle(FIRST + 1, 2)]), now=1)

    effects = core.handle(lost(W1, FIRST, gone=True), now=2)

    assert [ForgetWorker(W1), Release(((1, 1),)), Tell("bundles.lost", "silent", 1)] == effects
    assert core.workers == 0
    core.check()


def test_after_a_broker_restart_a_bundle_that_no_worker_has_goes_back() -> None:
    """What was queued in the broker died with it; what a worker has lives on."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1), a_bundle(FIRST + 1, 2)]), now=1)
    core.handle(Disconnected(), now=2)
    core.handle(welcome(b"t" * 16), now=3)

    # The broker has no worker yet: nobody can say what became of the bundles
    assert core.handle(census(), now=3) == []
    # The worker comes back with one of the two
    effects = core.handle(attached(W1, FIRST), now=4)

    assert [RememberWorker(W1, b"", "n1"), Release(((2, 1),))] == effects
    assert core.tasks_out == 1
    core.check()


def test_a_bundle_of_a_known_worker_waits_for_that_worker_only_for_the_grace() -> None:
    """A worker that does not come back within the grace has lost its bundles."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, W1), Held(FIRST + 1, 2, 1, b"")], {W1, W2})
    core.handle(welcome(), now=10)
    assert core.handle(attached(W2), now=10) == [RememberWorker(W2, b"", "n1")]
    assert core.handle(census(), now=10) == []

    assert core.deadline() == 15
    assert core.expire(now=14.9) == []
    gone = [ForgetWorker(W1), Release(((1, 1), (2, 1))), Tell("bundles.lost", NOT_BACK, 2)]
    assert gone == core.expire(now=15)
    core.check()


def test_the_broker_is_told_that_a_worker_is_remembered() -> None:
    """After the commit, and with nothing to acknowledge; before it a new broker and scheduler would not wait for that worker."""
    core = live(a_core())
    core.handle(attached(W2), now=1)
    assert core.settle(now=1) == []

    core.remembered(W2)

    assert core.settle(now=1) == [Send(Committed(session=SESSION, worker=W2, sequences=()))]


def test_a_worker_gets_tasks_while_those_of_a_dead_one_wait_for_the_grace() -> None:
    """The broker and a worker died together: what that one had is nothing that uses up the credit of the next."""
    core = live(a_core(), credit=2)
    core.handle(Claimed([a_bundle(FIRST, 1, 2)]), now=1)
    core.handle(Received(session=SESSION, worker=W1, bundles=(FIRST,)), now=1)
    assert core.room() == 0

    core.handle(Disconnected(), now=2)
    core.handle(welcome(b"t" * 16), now=3)
    core.handle(attached(W2), now=3)
    core.handle(census(), now=3)
    core.handle(Credit(session=b"t" * 16, tasks=2), now=3)

    assert core.room() == 2
    core.check()
    # The dead one was not dead: what it has counts again
    core.handle(attached(W1, FIRST), now=4)
    assert (core.room(), core.tasks_out) == (0, 2)
    core.check()


def test_a_successor_answers_for_the_worker_it_replaces() -> None:
    """The guardian's report settles at once what the dead worker had."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, W1), Held(FIRST + 1, 2, 1, W1)], {W1})
    core.handle(welcome(), now=0)
    core.handle(census(), now=0)

    effects = core.handle(attached(W2, FIRST, replaces=W1), now=1)

    assert [RememberWorker(W2, W1, "n1"), Release(((2, 1),))] == effects
    core.check()


def test_a_restored_bundle_in_the_census_of_the_queue_stays_out() -> None:
    """A scheduler's death alone never makes a task run again."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, b"")], set())
    core.handle(welcome(), now=0)
    assert core.handle(census(FIRST), now=0) == []
    assert core.tasks_out == 1
    core.check()


def test_a_worker_that_died_while_the_broker_was_away_is_not_waited_for() -> None:
    """The broker, which knows none of it, names it by its origin."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1)]), now=1)
    core.handle(Received(session=SESSION, worker=W1, bundles=(FIRST,)), now=1)
    core.handle(Disconnected(), now=2)
    core.handle(welcome(b"t" * 16), now=3)
    assert core.handle(census(), now=3) == []

    effects = core.handle(lost(all_of(W1[:ORIGIN_BYTES]), gone=True), now=4)

    assert effects == [ForgetWorker(W1), Release(((1, 1),))]
    core.check()


def test_a_cluster_that_drains_waits_for_no_bundle_that_nobody_will_take() -> None:
    """When the last worker has left, what waits in the broker is NEW again."""
    core = a_core()
    core.handle(welcome(), now=0)
    core.handle(attached(), now=0)
    core.handle(census(), now=0)
    core.handle(Claimed([ClaimedBundle(FIRST, [(1, 1)], NO_DEMAND, b"body")]), now=1)
    assert core.handle(DrainAsked(), now=1) == []

    assert core.handle(lost(W1, gone=True), now=2) == [ForgetWorker(W1), Release(((1, 1),))]
    assert core.tasks_out == 0
    core.check()
