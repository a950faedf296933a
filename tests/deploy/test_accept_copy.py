"""The black-box checks under tests/accept are a copy; where the original is at hand they must not drift apart."""

from pathlib import Path

import pytest

COPY = Path(__file__).parents[1] / "accept"
ORIGINAL = Path(__file__).parents[3] / "shared" / "accept"


@pytest.mark.skipif(not ORIGINAL.is_dir(), reason="the original is not on this machine")
def test_the_copy_of_the_acceptance_checks_is_the_original() -> None:
    """A check is changed where it was agreed on, not here."""
    original = {path.name: path.read_bytes() for path in ORIGINAL.iterdir() if path.suffix in (".py", ".md")}
    copy = {path.name: path.read_bytes() for path in COPY.iterdir() if path.name in original}

    assert copy == original
