"""What concerns every part of the tests."""

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from tests.postgres_server import PostgresServer

# How long an example takes, and to make one, is up to the machine and what else it does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server of our own, started for the first test that asks for it."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of a task database that has no tables yet."""
    return postgres.new_schema(f"s{next(_schemas)}")


_schemas = count()
