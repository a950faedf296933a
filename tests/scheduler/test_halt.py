"""When too much has failed."""

import pytest

from hs_common.errors import RefusedError
from hs_scheduler.halt import parse_halt
from hs_scheduler.stores.store import Counts


@pytest.mark.parametrize(
    ("text", "counts", "before", "known", "reached"),
    [
        ("2", Counts(failed=1, new=9), 0, True, False),
        ("2", Counts(failed=2, new=9), 0, False, True),
        ("now,2", Counts(failed=3), 0, True, True),
        ("2", Counts(failed=3), 2, True, False),  # two had failed before this hs-cluster
        ("10%", Counts(failed=1, new=9), 0, True, True),
        ("10%", Counts(failed=1, new=10), 0, True, False),
        ("10%", Counts(failed=1, new=1), 0, False, False),  # nobody knows of how many
        ("1%", Counts(), 0, True, False),
        ("100%", Counts(failed=2, cancelled=1), 0, True, False),
    ],
)
def test_a_limit_is_reached(text: str, counts: Counts, before: int, known: bool, reached: bool) -> None:
    """By number, or as a share of all tasks once the input is read."""
    assert parse_halt(text).reached(counts, before, total_known=known) == reached


@pytest.mark.parametrize("text", ["", "0", "-1", "now", "now,", "later,3", "3 %", "101%", "0%", "1.5", "99999999999"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    """With what was typed."""
    with pytest.raises(RefusedError, match="--halt"):
        parse_halt(text)
