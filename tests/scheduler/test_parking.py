"""Tasks that fit no worker: what is said of them, and when."""

from math import inf

from hs_common.messages import Demand
from hs_scheduler.events import ClaimedBundle, Tell
from hs_scheduler.out import Out
from hs_scheduler.parking import PARKED_TASKS_MAX, WAITING, Parking

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


def test_so_many_are_kept_that_nothing_more_is_claimed() -> None:
    """The whole queue may fit nobody, and has no place here."""
    parking = Parking(out_with(1, tasks=PARKED_TASKS_MAX))
    assert not parking.full

    parking.park([1], now=0)

    assert parking.full
