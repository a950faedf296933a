"""Which tasks share a bundle, and its number."""

from dataclasses import replace

import pytest
from tests.scheduler.cores import FIRST, IDENTITY, a_core, live

from hs_common import limits
from hs_common.messages import Demand
from hs_scheduler.core import SchedulerCore
from hs_scheduler.out import NO_DEMAND


@pytest.mark.parametrize(
    ("bundlesize", "credit", "expected"),
    [
        (1, 8, [1, 2, 3, 4]),  # each task its own
        (3, 8, [1, 1, 1, 2]),  # up to the bundle size
        (9, 4, [1, 1, 2, 2]),  # but no more than half the credit: what one worker may hold
    ],
)
def test_place(bundlesize: int, credit: int, expected: list[int]) -> None:
    """Neighbours alike share a bundle."""
    core = live(a_core(bundlesize), credit)
    assert [3 << 40 | n for n in expected] == core.place([(b"/", NO_DEMAND)] * 4, [1] * 4)


@pytest.mark.parametrize(
    ("kibibytes", "expected"),
    [
        ([100, 100, 56, 1, 1], [1, 1, 1, 2, 2]),  # up to the bound
        ([1, 600, 1, 1], [1, 2, 3, 3]),  # a long one alone
        ([100] * 6, [1, 1, 2, 2, 3, 3]),
    ],
)
def test_place_puts_no_more_bytes_into_a_bundle_than_are_sent_in_one_piece(
    kibibytes: list[int], expected: list[int]
) -> None:
    """A frame over the limit would end our connection, each time again; and on a slow line a long one is taken for silence."""
    core = live(a_core(bundlesize=9), 99)
    sizes = [limits.KIB * size for size in kibibytes]

    assert [3 << 40 | n for n in expected] == core.place([(b"/", NO_DEMAND)] * len(sizes), sizes)
    assert core.place([(b"/", NO_DEMAND)], [1]) == [3 << 40 | expected[-1] + 1]


def test_the_scheduler_of_another_store_has_other_bundles() -> None:
    """Also at the same epoch: a worker remembers what it had, and would take the new for the old."""
    other = replace(IDENTITY, scheduler=b"\xff" * 16)
    core = SchedulerCore(identity=other, bundlesize=1, grace_s=5, now=0)
    assert core.place([(b"/", NO_DEMAND)], [1]) == [3 << 40 | 1 << 38]


def test_place_keeps_folders_and_demands_apart() -> None:
    """A bundle has one working folder and one demand."""
    core = live(a_core(bundlesize=9))
    big = Demand(4, 0, 0.0)
    ids = core.place([(b"/a", NO_DEMAND), (b"/a", big), (b"/b", big), (b"/b", big)], [1] * 4)
    assert [n - FIRST for n in ids] == [0, 1, 2, 2]
