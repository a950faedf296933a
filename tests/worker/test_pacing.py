"""How much a worker takes: the measure of short tasks, and the rest after faults of the host."""

from math import inf

import pytest
from tests.worker.building import a_detail, a_task

from hs_common import limits
from hs_worker.tasks.prefetch import Prefetch
from hs_worker.tasks.rest import Rest


@pytest.mark.parametrize(
    ("duration_s", "ahead"),
    [
        (0.001, 400),  # four slots, a tenth of a second
        (0.1, 4),
        (0.3, 2),
        (10.0, 0),  # nothing ends soon: what waited would wait for long
        (0.0, limits.CREDIT_MAX),
    ],
)
def test_as_many_are_held_as_end_in_a_tenth_of_a_second(duration_s: float, ahead: int) -> None:
    """DESIGN section 4, Prefetch."""
    prefetch = Prefetch(4)
    prefetch.see(a_task(1))
    prefetch.finish(duration_s, now=5.0)

    assert prefetch.tasks(now=5.0) == ahead


def test_a_kind_is_its_template_and_the_names_of_its_tags() -> None:
    """Values may number the tasks: they make no new kind."""
    prefetch = Prefetch(2)
    prefetch.see(a_task(1, detail=a_detail(tags=(("n", "1"),))))
    prefetch.finish(0.001, now=0.0)
    prefetch.see(a_task(2, detail=a_detail(tags=(("n", "2"),))))
    assert prefetch.tasks(now=0.0) == 200

    prefetch.see(a_task(3, detail=a_detail(tags=(("m", "2"),))))
    assert prefetch.tasks(now=0.0) == 2
    prefetch.finish(0.001, now=0.0)
    prefetch.see(a_task(4, detail=a_detail(tags=(("m", "2"),), template=b"x {}")))
    assert prefetch.tasks(now=0.0) == 2


def test_when_none_ends_for_a_second_there_is_one_per_slot_at_most() -> None:
    """The tasks that run now are not like those that were measured."""
    prefetch = Prefetch(2)
    prefetch.see(a_task(1))
    prefetch.finish(0.001, now=0.0)

    assert prefetch.tasks(now=1.0) == 200
    assert prefetch.tasks(now=1.1) == 2


def test_pauses_double_up_to_ten_seconds_and_end_with_the_faults() -> None:
    """Faults of one burst count once."""
    rest = Rest(8)
    now = 0.0
    pauses = []
    for _ in range(9):
        rest.fault(now, running=3)
        rest.fault(now, running=2)
        pauses.append(rest.until - now)
        now = rest.until

    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])
    assert rest.usable == 2
    assert not rest.recover(now + 9)
    assert rest.recover(now + 10)
    assert rest.usable == 4
    assert rest.recover(now + 20)
    assert rest.usable == 8
    assert rest.deadline() == inf


def test_one_slot_has_nothing_to_give_back() -> None:
    """Who looks again when something changes does not look for ever."""
    rest = Rest(1)
    rest.fault(0.0, running=0)

    assert (rest.usable, rest.until, rest.deadline()) == (1, 0.1, 0.2)
    assert rest.recover(0.2)
    assert rest.deadline() == inf
    assert not rest.recover(0.3)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_pauses_double_with_few_slots_too(slots: int) -> None:
    """All of these may be back when the host is asked again."""
    rest = Rest(slots)
    now = 0.0
    pauses = []
    for _ in range(9):
        rest.recover(now)
        rest.fault(now, running=0)
        pauses.append(rest.until - now)
        now = rest.deadline()

    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0])


def test_a_fault_long_after_the_last_is_another_one() -> None:
    """It costs a tenth of a second, as the first did."""
    rest = Rest(1)
    rest.fault(0.0, running=0)
    rest.recover(0.2)
    rest.fault(60.0, running=0)

    assert rest.until == pytest.approx(60.1)


def test_what_may_have_killed_the_worker_before_goes_one_by_one_at_first() -> None:
    """Then so many side by side that a worker of long tasks is full again within a minute."""
    rest = Rest(8)
    rest.doubt(3, now=100.0)

    assert (rest.usable, rest.until, rest.deadline()) == (1, 100.0, 110.0)
    assert not rest.recover(109.0)
    assert [rest.recover(at) and rest.usable for at in (110.0, 120.0, 130.0)] == [2, 4, 8]
    assert (rest.doubted, rest.deadline()) == (0, inf)


def test_when_all_that_were_in_doubt_have_ended_every_slot_is_back() -> None:
    """Short ones are through in no time."""
    rest = Rest(8)
    rest.doubt(2, now=100.0)

    rest.acquit()
    assert (rest.usable, rest.doubted) == (1, 1)
    rest.acquit()
    assert (rest.usable, rest.doubted, rest.deadline()) == (8, 0, inf)


def test_a_fault_of_the_host_overrules_a_doubt() -> None:
    """It knows how many slots there can be."""
    rest = Rest(8)
    rest.doubt(1, now=100.0)
    rest.fault(100.5, running=1)

    assert (rest.usable, rest.doubted) == (1, 0)


def test_a_lost_slot_is_never_given_back() -> None:
    """What an unkillable task took stays taken."""
    rest = Rest(4)
    rest.lose_slot()
    assert rest.usable == 3
    rest.fault(0.0, running=1)
    rest.recover(1.0)
    rest.recover(2.0)

    assert rest.usable == 3
