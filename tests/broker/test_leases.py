"""Who gets which bundle, and how a bundle ends. Without sockets and without time passing."""

import pytest
from tests.broker.building import Broker, Scheduler, Worker, a_bundle, a_cluster

from hs_broker.dispatch import RECALL_PERIOD_S
from hs_common import limits, messages
from hs_common.messages import Demand


def test_a_bundle_waits_for_a_worker() -> None:
    """A bundle is leased when a worker gives credit, not before, and the scheduler learns how much there is."""
    # Given a bundle and no worker
    broker = Broker()
    scheduler = Scheduler(broker)
    scheduler.hello()
    assert scheduler.submit(a_bundle(1)) == []

    # When a worker comes
    worker = Worker(broker, 1)
    effects = worker.hello()

    # Then it gets the bundle, and the scheduler twice its credit
    assert effects[0] == worker.is_welcome(epoch=1)
    assert effects[2:] == [scheduler.sees(worker), worker.gets(a_bundle(1)), scheduler.has_credit(8)]


def test_a_worker_that_the_store_does_not_know_is_given_nothing() -> None:
    """Where broker and scheduler die at once, nobody would wait for it to come back with what it has."""
    # Given work that waits, and a worker that comes
    broker = Broker()
    broker.remembers = False
    scheduler = Scheduler(broker)
    scheduler.hello()
    scheduler.submit(a_bundle(1))
    worker = Worker(broker, 1)
    assert worker.hello()[2:] == [scheduler.sees(worker), scheduler.has_credit(8)]

    # When it is remembered, then it gets the bundle; that alone is no word to it
    assert scheduler.commits(worker) == [worker.gets(a_bundle(1))]


def test_another_scheduler_remembers_its_workers_for_itself() -> None:
    """It may have another store; the same one knows them when its link was lost."""
    broker, _, (worker,) = a_cluster()
    broker.remembers = False
    again = Scheduler(broker, connection=2)
    again.hello()
    assert again.submit(a_bundle(1)) == [worker.gets(a_bundle(1))]

    other = Scheduler(broker, 2)
    other.hello(epoch=2)

    assert other.submit(a_bundle(2)) == []
    assert other.commits(worker) == [worker.gets(a_bundle(2))]


def test_a_few_bundles_spread_over_workers() -> None:
    """Free slots of all workers come first, credit beyond the slots comes last; each worker gets one message."""
    _, scheduler, (first, second) = a_cluster(workers=2)

    effects = scheduler.submit(*(a_bundle(i) for i in range(1, 7)))

    assert effects == [
        first.gets(a_bundle(1), a_bundle(3), a_bundle(5)),
        second.gets(a_bundle(2), a_bundle(4), a_bundle(6)),
    ]


def test_a_worker_of_short_tasks_gets_many_at_a_time() -> None:
    """Credit far beyond the slots says that it finishes so many in 100 ms: half of that is one turn."""
    _, scheduler, (first, second) = a_cluster(workers=2, slots=2, credit=24)

    effects = scheduler.submit(*(a_bundle(i) for i in range(1, 23)))

    assert effects == [
        first.gets(*(a_bundle(i) for i in [*range(1, 11), 21, 22])),
        second.gets(*(a_bundle(i) for i in range(11, 21))),
    ]


def test_a_busy_worker_is_not_served_in_crumbs() -> None:
    """Less than half a turn is not worth a message while its slots are full."""
    # Given a worker that has all that it takes, and more waiting
    _, scheduler, (worker,) = a_cluster(slots=2, credit=20)
    scheduler.submit(*(a_bundle(i) for i in range(1, 31)))

    # When it has finished less than half of its turn of eight, it gets nothing; then all that is free
    assert worker.result(1, 2, 3)[1:] == []
    assert worker.result(4)[1:] == [worker.gets(*(a_bundle(i) for i in range(21, 25)))]


def test_a_free_slot_goes_before_prefetching() -> None:
    """A worker that is busy gets nothing while another one idles."""
    # Given a worker that came first and has its slots full, and one that is free
    broker, scheduler, (busy,) = a_cluster()
    scheduler.submit(a_bundle(1), a_bundle(2))
    free = Worker(broker, 2)
    free.hello()

    assert scheduler.submit(a_bundle(3), a_bundle(4)) == [free.gets(a_bundle(3), a_bundle(4))]
    assert scheduler.submit(a_bundle(5)) == [busy.gets(a_bundle(5))]


def test_no_worker_gets_more_than_its_credit() -> None:
    """What is beyond waits until a Result returns tasks."""
    _, scheduler, (worker,) = a_cluster()

    effects = scheduler.submit(*(a_bundle(i) for i in range(1, 7)))
    assert effects == [worker.gets(*(a_bundle(i) for i in range(1, 5)))]

    effects = worker.result(1)
    assert effects == [scheduler.hears_result(worker, 1), worker.gets(a_bundle(5))]


def test_credit_is_what_may_be_held_not_what_is_added() -> None:
    """The same Ready twice is the same credit."""
    _, scheduler, (worker,) = a_cluster()
    worker.ready(credit=2)
    worker.ready(credit=2)

    effects = scheduler.submit(a_bundle(1), a_bundle(2), a_bundle(3))

    assert effects == [worker.gets(a_bundle(1), a_bundle(2))]


def test_the_scheduler_is_told_its_credit_when_it_changes() -> None:
    """Twice the sum of what the workers take, said once per change."""
    _, scheduler, (first, second) = a_cluster(workers=2)

    assert first.ready(credit=10) == [scheduler.has_credit(28)]
    assert first.ready(credit=10) == []
    assert second.ready(credit=0) == [scheduler.has_credit(20)]


def test_credit_has_an_upper_bound() -> None:
    """However many workers there are, the broker never asks for more tasks than it would queue."""
    _, scheduler, _ = a_cluster(workers=11, credit=limits.CREDIT_MAX)

    effects = scheduler.hello()
    assert effects[-1] == scheduler.has_credit(limits.QUEUE_TASKS_MAX)


def test_a_bundle_beyond_the_credit_goes_to_a_worker_that_holds_nothing() -> None:
    """Credit may shrink below the size of what was made for it: that must not park a bundle for ever."""
    _, scheduler, (worker,) = a_cluster(credit=4)

    assert scheduler.submit(a_bundle(1), a_bundle(2, tasks=5)) == [worker.gets(a_bundle(1))]
    assert worker.result(1) == [scheduler.hears_result(worker, 1), worker.gets(a_bundle(2, tasks=5))]


def test_a_large_bundle_is_not_overtaken_by_smaller_ones() -> None:
    """First come, first served: or it would wait for as long as small ones come."""
    _, scheduler, (worker,) = a_cluster(credit=4)
    scheduler.submit(a_bundle(1), a_bundle(2))

    assert scheduler.submit(a_bundle(3, tasks=3), a_bundle(4)) == []
    assert worker.result(1)[1:] == [worker.gets(a_bundle(3, tasks=3))]


def test_a_partly_finished_bundle_frees_credit() -> None:
    """Credit counts tasks, not bundles."""
    _, scheduler, (worker,) = a_cluster(credit=4)
    scheduler.submit(a_bundle(1, tasks=4), a_bundle(2, tasks=3))

    assert worker.result(tasks=2)[1:] == []
    assert worker.result(tasks=1)[1:] == [worker.gets(a_bundle(2, tasks=3))]


def test_a_result_that_comes_again_frees_no_credit_again() -> None:
    """After NewEpoch every uncommitted Result comes a second time; it is passed on, nothing else."""
    _, scheduler, (worker,) = a_cluster(credit=4)
    scheduler.submit(a_bundle(1, tasks=4), a_bundle(2, tasks=2))
    worker.result(tasks=1)

    effects = worker.result(tasks=1, sequence=1)

    assert effects == [scheduler.hears_result(worker, tasks=1, sequence=1)]


def test_a_result_for_an_unknown_bundle_is_passed_on() -> None:
    """Late results are normal; the scheduler's fence judges them."""
    _, scheduler, (worker,) = a_cluster()

    assert worker.result(77) == [scheduler.hears_result(worker, 77)]


def test_a_finished_bundle_is_its_workers_until_it_is_committed() -> None:
    """The death of a scheduler alone must not run it again: the next one is told who has the result."""
    # Given a bundle whose Result was passed on to a scheduler that died before it committed
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    worker.result(1)

    # When the next scheduler comes, then the worker still has it
    second = Scheduler(broker, 2)
    effects = second.hello(epoch=2)
    assert second.sees(worker, 1) in effects

    # And when that one commits, nobody has it
    assert second.commits(worker, 1) == [worker.is_told(messages.Committed, worker=worker.id, sequences=(1,))]
    effects = second.hello(epoch=2)
    assert second.sees(worker) in effects


def test_a_result_without_a_scheduler_is_not_kept() -> None:
    """The worker keeps it, and sends it again when there is a new epoch."""
    broker = Broker()
    worker = Worker(broker, 1)
    worker.hello(inventory=(1,))

    assert worker.result(1) == []

    scheduler = Scheduler(broker)
    effects = scheduler.hello()
    assert scheduler.sees(worker, 1) in effects
    assert worker.is_told(messages.NewEpoch, epoch=1) in effects


@pytest.mark.parametrize(
    "demand",
    [
        Demand(9, 0, 0.0),  # more cores than any worker has
        Demand(0, (1 << 30) + 1, 0.0),  # more memory
        Demand(0, 0, 1000.5),  # longer than any worker lives
    ],
)
def test_a_bundle_that_fits_nobody_is_refused(demand: Demand) -> None:
    """Refused instead of queued; what fits goes its way."""
    _, scheduler, (worker,) = a_cluster(seconds=1000.0)

    effects = scheduler.submit(a_bundle(1, demand=demand), a_bundle(2))

    refusal = scheduler.is_told(messages.Refused, reason="fits nobody", fatal=False, bundles=(1,))
    assert effects == [refusal, worker.gets(a_bundle(2))]


@pytest.mark.parametrize(
    "demand",
    [
        Demand(8, 1 << 30, 1000.0),  # exactly what it has
        Demand(0, 0, 0.0),  # no limit of its own, and the end is far
    ],
)
def test_a_bundle_that_just_fits_is_leased(demand: Demand) -> None:
    """The bounds are inclusive."""
    _, scheduler, (worker,) = a_cluster(seconds=1000.0)

    assert scheduler.submit(a_bundle(1, demand=demand)) == [worker.gets(a_bundle(1, demand=demand))]


def test_nothing_without_a_limit_goes_to_a_worker_near_its_end() -> None:
    """In the last 60 s a worker gets only tasks that say how long they take."""
    broker, scheduler, (worker,) = a_cluster(seconds=70.0)
    broker.passes(9)
    short = a_bundle(2, demand=Demand(0, 0, 5.0))
    assert scheduler.submit(a_bundle(1)) == [worker.gets(a_bundle(1))]
    broker.passes(1)

    effects = scheduler.submit(a_bundle(3), short)

    refusal = scheduler.is_told(messages.Refused, reason="fits nobody", fatal=False, bundles=(3,))
    assert effects == [refusal, worker.gets(short)]


def test_a_bundle_goes_to_the_worker_that_it_fits() -> None:
    """A worker without room for it is passed over, and may take a younger one."""
    broker, scheduler, (small,) = a_cluster(cores=1, slots=1, credit=1)
    large = Worker(broker, 2)
    large.hello(cores=4, slots=1, credit=1)
    wide = Demand(4, 0, 0.0)

    effects = scheduler.submit(a_bundle(1, demand=wide), a_bundle(2, demand=wide), a_bundle(3))

    assert effects == [small.gets(a_bundle(3)), large.gets(a_bundle(1, demand=wide))]


def test_a_worker_that_was_passed_over_is_asked_again_when_something_fits_it() -> None:
    """Passing over is no judgement for ever."""
    broker, scheduler, (small,) = a_cluster(cores=1, slots=1, credit=2)
    large = Worker(broker, 2)
    large.hello(cores=4, slots=1, credit=1)
    wide = Demand(4, 0, 0.0)
    scheduler.submit(a_bundle(1, demand=wide), a_bundle(2, demand=wide))

    assert scheduler.submit(a_bundle(3)) == [small.gets(a_bundle(3))]


def test_a_worker_that_had_no_room_is_asked_again_when_others_took_what_was_too_large() -> None:
    """Within a tick: nobody is looked at for nothing, nobody is forgotten."""
    broker, scheduler, (little, large) = a_cluster(workers=2, credit=0)
    little.ready(credit=3)
    scheduler.submit(a_bundle(1))
    assert scheduler.submit(a_bundle(2, tasks=3), a_bundle(3)) == []

    assert large.ready(credit=3) == [large.gets(a_bundle(2, tasks=3)), scheduler.has_credit(12)]
    assert broker.passes(0.25) == [little.gets(a_bundle(3))]


def test_waiting_bundles_are_given_back_when_the_last_that_could_run_them_leaves() -> None:
    """Refused late is better than never."""
    broker, scheduler, (small,) = a_cluster(cores=1, slots=1, credit=1)
    large = Worker(broker, 2)
    large.hello(cores=4, slots=1, credit=1)
    wide = Demand(4, 0, 0.0)
    scheduler.submit(a_bundle(1, demand=wide), a_bundle(2, demand=wide))
    large.says(messages.Bye, reason="done")

    refusal = scheduler.is_told(messages.Refused, reason="fits nobody", fatal=False, bundles=(2,))
    assert broker.passes(1) == [refusal]
    assert small.result() != []


def test_without_any_worker_everything_is_queued() -> None:
    """Who comes may fit: the census will tell."""
    broker = Broker()
    scheduler = Scheduler(broker)
    scheduler.hello()
    assert scheduler.submit(a_bundle(1, demand=Demand(99, 0, 0.0))) == []
    effects = scheduler.hello()
    assert scheduler.is_told(messages.Census, queued=(1,), more=False) in effects


def test_a_full_queue_refuses() -> None:
    """The broker never buffers without bound."""
    broker = Broker()
    scheduler = Scheduler(broker)
    scheduler.hello()
    many = [a_bundle(i, tasks=limits.BUNDLE_TASKS_MAX) for i in range(1, 22)]

    effects = scheduler.submit(*many)

    assert effects == [scheduler.is_told(messages.Refused, reason="queue full", fatal=False, bundles=(21,))]


def test_a_queue_full_of_bytes_refuses() -> None:
    """Bodies are bounded too."""
    broker = Broker()
    scheduler = Scheduler(broker)
    scheduler.hello()
    for i in range(1, 65):
        assert scheduler.submit(a_bundle(i, size=limits.BODY_BYTES_MAX)) == []

    effects = scheduler.submit(a_bundle(65, size=limits.BODY_BYTES_MAX))

    assert effects == [scheduler.is_told(messages.Refused, reason="queue full", fatal=False, bundles=(65,))]


def test_too_many_different_demands_are_refused() -> None:
    """Each demand has a line of its own, and lines are bounded."""
    broker = Broker()
    scheduler = Scheduler(broker)
    scheduler.hello()
    lines = limits.CLASSES_MAX
    scheduler.submit(*(a_bundle(i, demand=Demand(i, 0, 0.0)) for i in range(1, lines + 1)))

    effects = scheduler.submit(a_bundle(lines + 1), a_bundle(lines + 2, demand=Demand(1, 0, 0.0)))

    refusal = scheduler.is_told(
        messages.Refused, reason="too many different demands", fatal=False, bundles=(lines + 1,)
    )
    assert effects == [refusal]


@pytest.mark.parametrize("step", ["queued", "leased", "uncommitted"])
def test_a_bundle_that_is_here_is_not_taken_twice(step: str) -> None:
    """It is not named as refused: those are dispatched anew, and this one must run once."""
    _, scheduler, (worker,) = a_cluster(credit=0 if step == "queued" else 4)
    scheduler.submit(a_bundle(1))
    if step == "uncommitted":
        worker.result(1)

    effects = scheduler.submit(a_bundle(1))

    reason = "1 bundles are here already, 1 is one"
    assert effects[0] == scheduler.is_told(messages.Refused, reason=reason, fatal=False, bundles=())
    assert len(effects) == 2


def test_a_long_assign_is_split() -> None:
    """On a slow line the worker hears each part as it comes, and not half a minute of silence."""
    _, scheduler, (worker,) = a_cluster(credit=0)
    size = limits.PARCEL_BYTES_MAX // 2
    scheduler.submit(a_bundle(1, size=size), a_bundle(2, size=size))
    scheduler.submit(a_bundle(3, size=size))

    effects = worker.ready(credit=4)

    assert effects == [
        worker.gets(a_bundle(1, size=size), a_bundle(2, size=size)),
        worker.gets(a_bundle(3, size=size)),
        scheduler.has_credit(8),
    ]


def test_a_worker_that_idles_gets_what_another_has_not_started() -> None:
    """Held beyond the slots for over a second while another one idles: recalled, once a second, no more than fits."""
    broker, scheduler, (full,) = a_cluster(credit=9)
    scheduler.submit(*(a_bundle(i) for i in range(1, 10)))
    idle = Worker(broker, 2)
    idle.hello()

    assert broker.passes(1.0) == []
    recall = full.is_told(messages.Recall, tasks=2)
    assert broker.passes(0.5) == [recall]
    assert broker.passes(RECALL_PERIOD_S) == [recall]


def test_nothing_is_recalled_for_a_worker_that_cannot_run_it() -> None:
    """It would come back in a circle."""
    broker, scheduler, (full,) = a_cluster(credit=9)
    wide = Demand(4, 0, 0.0)
    scheduler.submit(*(a_bundle(i, demand=wide) for i in range(1, 5)))
    Worker(broker, 2).hello(cores=1)

    assert broker.passes(5) == []
    assert full.result() != []


def test_nothing_is_recalled_from_a_worker_that_runs_all_it_holds() -> None:
    """Running tasks stay where they are."""
    broker, scheduler, _ = a_cluster(credit=9)
    scheduler.submit(a_bundle(1), a_bundle(2))
    Worker(broker, 2).hello()

    assert broker.passes(5) == []
