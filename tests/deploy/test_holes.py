"""Ranges of a file that are done with."""

from hypothesis import given
from hypothesis import strategies as st

from hs_deploy.holes import Ranges


@given(st.permutations(list(range(30))), st.integers(0, 30))
def test_ranges_that_touch_are_one(order: list[int], count: int) -> None:
    """In whatever order they come: what is remembered is what was added, in as few ranges as can be."""
    ranges = Ranges(count_max=1000)
    for number in order[:count]:
        ranges.add(10 * number, 10 * number + 10)

    added = sorted(order[:count])
    begins = [number for number in added if number - 1 not in added]
    ends = [number for number in added if number + 1 not in added]
    assert [(10 * begin, ranges.end_of(10 * begin)) for begin in begins] == [
        (10 * begin, 10 * end + 10) for begin, end in zip(begins, ends, strict=True)
    ]
    assert len(ranges) == len(begins)


def test_memory_for_ranges_has_a_limit() -> None:
    """One more is not remembered; one that touches another still is."""
    ranges = Ranges(count_max=2)
    assert ranges.add(0, 10) == (0, 10)
    assert ranges.add(20, 30) == (20, 30)

    assert ranges.add(40, 50) is None
    assert ranges.add(30, 40) == (20, 40)
    assert ranges.add(10, 20) == (0, 40)
    assert ranges.add(60, 70) == (60, 70)
