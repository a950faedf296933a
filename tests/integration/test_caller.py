"""How the holder of workers elsewhere speaks to a real broker, turned by hand."""

import os
from collections.abc import Iterator

import pytest
from tests.integration.test_broker_socket import Stage, scheduler_hello, worker_hello

from hs_common import messages
from hs_common.incarnation import ORIGIN_BYTES, all_of
from hs_deploy.launchers.caller import Caller

ORIGIN, OTHER = b"origin-1", b"origin-2"


@pytest.fixture(name="stage")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(str(tmp_path_factory.mktemp("b")))
    yield stage
    stage.close()


@pytest.fixture(name="caller")
def _caller(stage: Stage) -> Iterator[Caller]:
    caller = Caller(stage.connections["control"])
    yield caller
    caller.close()


def until_heard(stage: Stage, caller: Caller) -> None:
    """Turn both until the broker has answered for all that it was told."""

    def is_heard() -> bool:
        caller.step()
        return not caller._dead

    stage.until(is_heard)


def test_the_dead_are_named_by_their_origin(stage: Stage, caller: Caller) -> None:
    """The broker takes leave of the one that it knows, and tells the scheduler of one that it does not know."""
    scheduler, worker = stage.peer("scheduler"), stage.peer("worker")
    scheduler.greets(scheduler_hello())
    worker.greets(worker_hello())
    known = scheduler.hears(messages.Attached).worker

    caller.bury(known[:ORIGIN_BYTES])
    caller.bury(OTHER)
    until_heard(stage, caller)

    assert [scheduler.hears(messages.Lost).worker for _ in range(2)] == [known, all_of(OTHER)]


def test_what_a_broker_may_not_have_heard_is_said_to_the_next_one(stage: Stage, caller: Caller) -> None:
    """Until one has answered; then no more."""
    # Given a caller in session with a broker that then dies
    caller.bury(ORIGIN)
    until_heard(stage, caller)
    stage.kill()
    caller.bury(OTHER)

    # When another one comes
    stage.start(stage.server)
    scheduler = stage.peer("scheduler")
    scheduler.greets(scheduler_hello())
    until_heard(stage, caller)

    # Then it hears of what is new
    assert scheduler.hears(messages.Lost).worker == all_of(OTHER)
    caller.bury(os.urandom(ORIGIN_BYTES))
    until_heard(stage, caller)
    assert scheduler.hears(messages.Lost).worker not in (all_of(ORIGIN), all_of(OTHER))
