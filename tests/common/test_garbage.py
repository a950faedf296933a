"""The search for circles of objects in a daemon."""

import gc
from collections.abc import Iterator

import pytest

from hs_common.garbage import search_seldom


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
