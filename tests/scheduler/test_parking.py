"""Tasks that fit no worker: what becomes of them, and what is said."""

from math import inf

from tests.scheduler.cores import FIRST, SESSION, W2, a_bundle, a_core, attached, census, live, outcome, welcome

from hs_common.messages import Demand, Heartbeat, Refused, Submit
from hs_scheduler.core import SchedulerCore
from hs_scheduler.events import (
    Claimed,
    ClaimedBundle,
    DrainAsked,
    Effect,
    Recorded,
    Release,
    RememberWorker,
    Send,
    Sought,
    Tell,
)
from hs_scheduler.out import Out
from hs_scheduler.parking import PARKED_TASKS_MAX, WAITING, Parking
from hs_scheduler.stores.store import Applied, Held
from hs_scheduler.tasks.state import State

LARGE = Demand(64, 0, 0.0)


def out_with(*bundles: int, tasks: int = 1) -> Out:
    """Bundles that demand much; the rows of each begin with its number times a hundred thousand."""
    out = Out()
    out.add(
        ClaimedBundle(bundle, [(100_000 * bundle + at, 1) for at in range(tasks)], LARGE, b"body", 0)
        for bundle in bundles
    )
    return out


def test_it_is_said_once_however_many_come_one_by_one() -> None:
    """Of a queue of large tasks each is refused by itself, and a terminal has few lines."""
    parking = Parking(out_with(1, 2, 3))

    assert [Tell("tasks.waiting", WAITING, 1)] == parking.park([1], now=0)
    assert parking.park([2, 3], now=1) == []

    assert [Tell("tasks.waiting", WAITING, 3)] == parking.remind(now=60)


def test_the_reminders_become_seldom() -> None:
    """A queue may wait for days for its one large worker."""
    parking = Parking(out_with(1))
    parking.park([1], now=0)
    pauses, now = [], 0.0
    for _ in range(9):
        pauses.append(parking.deadline() - now)
        now = parking.deadline()
        assert len(parking.remind(now)) == 1
        assert parking.remind(now) == []

    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_nothing_is_said_of_what_is_gone_and_the_next_is_said_at_once() -> None:
    """The pauses begin anew, too."""
    parking = Parking(out_with(1, 2))
    parking.park([1], now=0)
    again, bare = parking.clear()

    assert (len(again), bare) == (1, [])
    assert parking.remind(now=60) == []
    assert parking.deadline() == inf
    assert [Tell("tasks.waiting", WAITING, 1)] == parking.park([2], now=70)
    assert parking.deadline() == 130


def test_what_begins_to_wait_after_all_that_waited_is_said_within_a_minute() -> None:
    """What waited for hours is told of seldom; the next one is another story, but no line for each worker that comes."""
    parking = Parking(out_with(1, 2))
    parking.park([1], now=0)
    for now in (60, 180, 420, 900, 1860, 3780):
        assert len(parking.remind(now)) == 1
    parking.clear()

    assert parking.park([2], now=4000) == []
    parking.clear()
    assert parking.park([2], now=4010) == []

    assert parking.deadline() == 4060
    assert [Tell("tasks.waiting", WAITING, 1)] == parking.remind(now=4060)
    assert parking.deadline() == 4180


def test_so_many_are_kept_that_nothing_more_is_claimed() -> None:
    """The whole queue may fit nobody, and has no place here."""
    parking = Parking(out_with(1, tasks=PARKED_TASKS_MAX))
    assert not parking.full

    parking.park([1], now=0)

    assert parking.full


def test_a_task_that_fits_nobody_waits_and_does_not_hold_others_up() -> None:
    """It is parked, takes no room, and is submitted again when a worker comes."""
    core = live(a_core(), credit=1)
    big = a_bundle(FIRST, 1, demand=LARGE)
    core.handle(Claimed([big]), now=1)
    refused = Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,))

    effects = core.handle(refused, now=2)

    assert [Tell("tasks.waiting", WAITING, 1)] == effects
    assert core.room() == 1
    again = Send(Submit(session=SESSION, bundles=((FIRST, 1, 4, LARGE),), body=b"body"))  # type: ignore[arg-type]
    assert [RememberWorker(W2, b"", "n1"), again] == core.handle(attached(W2), now=3)
    core.check()


def test_what_demands_nothing_and_fits_nobody_is_claimed_anew_when_a_worker_comes() -> None:
    """All workers were about to end; what such a task looks like only the store knows, also that of an earlier scheduler."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, b"")], set())
    for event in (welcome(), attached(), census(FIRST), Claimed([a_bundle(FIRST + 1, 2)])):
        core.handle(event, now=1)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST, FIRST + 1)), now=2)

    assert core.handle(attached(W2), now=3) == [RememberWorker(W2, b"", "n1"), Release(((1, 1), (2, 1)))]
    assert core.tasks_out == 0
    core.check()


def test_what_has_succeeded_while_it_was_kept_is_not_submitted_again() -> None:
    """A worker that had been given up brings its success; the rest of the bundle is packed anew."""
    core = live(a_core(bundlesize=2))
    core.handle(Claimed([a_bundle(FIRST, 1, 2, demand=LARGE)]), now=1)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,)), now=2)

    core.handle(Recorded([Applied(1, outcome(1), State.DONE, failed=False, retried=False)]), now=3)

    assert core.handle(attached(W2), now=4) == [RememberWorker(W2, b"", "n1"), Release(((2, 1),))]
    core.check()


def test_a_task_that_fits_nobody_goes_back_to_the_store_before_it_is_changed() -> None:
    """With fewer cores it might fit; nobody has it, so it is not handed out. Those that are not meant stay."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST + at, at + 1, demand=LARGE) for at in range(3)]), now=1)
    bundles = (FIRST, FIRST + 1)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=bundles), now=2)

    assert core.handle(Sought([(2, 9)]), now=3) == [Release(((2, 1),))]
    assert (core.parked_tasks, core.tasks_out) == (1, 2)
    core.check()


def test_a_task_that_fits_nobody_is_not_waited_for_when_nothing_is_handed_out_any_more() -> None:
    """It was on its way when the scheduler was told to stop."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1, demand=LARGE)]), now=1)
    core.handle(DrainAsked(), now=2)

    refused = core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,)), now=3)

    assert refused == [Release(((1, 1),))]
    assert core.tasks_out == 0
    core.check()


def test_that_a_task_waits_is_said_again_and_less_often_each_time() -> None:
    """Who did not see it at first may wait for ever; until a worker comes that has room for it."""
    core = live(a_core(), credit=1)
    core.handle(Claimed([a_bundle(FIRST, 1, demand=LARGE)]), now=0)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,)), now=0)

    said = [now for now in range(500) if any(isinstance(effect, Tell) for effect in beaten(core, now))]
    assert said == [60, 180, 420]

    core.handle(attached(W2), now=500)
    assert not [now for now in range(500, 2000) if any(isinstance(effect, Tell) for effect in beaten(core, now))]
    core.check()


def beaten(core: SchedulerCore, now: int) -> list[Effect]:
    """Let the broker be heard, and time pass; return what comes of that."""
    core.handle(Heartbeat(session=SESSION), now)
    return core.expire(now)
