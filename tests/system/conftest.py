"""What the tests of whole runs share."""

from collections.abc import Iterator

import pytest
from tests.faults.home import Home


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home; at the end nothing that was started in it is alive."""
    with Home() as one:
        yield one
