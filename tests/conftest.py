"""What concerns every part of the tests."""

import signal
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from tests.postgres_server import PostgresServer

# How long an example takes, and to make one, is up to the machine and what else it does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# What ignores a signal when it begins goes on doing so, and so would all programs that we start: whoever runs us under nohup, or
# as a background job of a script, would wait for ever for a run that was told to stop. A handler ends with exec.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


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
