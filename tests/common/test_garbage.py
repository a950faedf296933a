"""The search for circles of objects in a daemon."""

import gc
from collections.abc import Iterator

import pytest

from hs_common.garbage import no_search, search_seldom


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_ten_thousand_tuples_make_no_search() -> None:
    """Nor is what a daemon consists of ever visited again."""
    search_seldom()
    searches = sum(generation["collections"] for generation in gc.get_stats())

    tasks = [(number, b"") for number in range(10_000)]

    assert len(tasks) == 10_000
    assert sum(generation["collections"] for generation in gc.get_stats()) == searches
    assert gc.get_freeze_count() > 0


def test_nothing_is_searched_meanwhile_and_afterwards_it_is_as_before() -> None:
    gc.set_threshold(1)

    with no_search():
        searches = sum(generation["collections"] for generation in gc.get_stats())
        made = [[number] for number in range(1_000)]
        assert sum(generation["collections"] for generation in gc.get_stats()) == searches

    assert gc.isenabled()
    assert len(made) == 1_000
