"""What the tests of whole runs share."""

from collections.abc import Iterator

import pytest
from tests.faults.home import Home
from tests.system.standing import Queue


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home; at the end nothing that was started in it is alive."""
    with Home() as one:
        yield one


@pytest.fixture
def queue(home: Home) -> Queue:
    """A cluster that waits for tasks."""
    return Queue(home)
