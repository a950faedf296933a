"""What a killed cluster left is taken up by the next one on the same database."""

import os
from pathlib import Path

import pytest

from hs_common import site
from hs_common.outcomes import pack_outcome
from hs_common.tasks import Outcome, OutcomeKind
from hs_deploy.runs import folders
from hs_deploy.runs.recovery import take_up, take_up_before
from hs_scheduler.stores.engines import open_reader
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NewTask, Retry
from hs_scheduler.tasks.state import State
from hs_worker.settings import AREA_BYTES
from hs_worker.shared_map import SharedMap

T0 = 1_700_000_000.0
TASK = NewTask(b"true", None, 0, 0, "")
NO_RETRY = Retry(0, eager=False)


@pytest.fixture(autouse=True)
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path / "site"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def a_killed_cluster(database: str, *, ended: bool = False) -> folders.Run:
    """One with two tasks that its worker had, the first of which had finished; `ended`: its end was recorded all the same."""
    run = folders.make_run(b"1" * 16, no_db=False, database=database, keep_folder=True)
    site.make_runtime(run.runtime)
    folders.record(run, {"database": database, "cwd": "/"})
    store = SqliteStore(database)
    store.open_run(run.uid, {}, T0, whole=True)
    with store.transaction():
        first, _ = store.add([TASK] * 2, [1] * 2, b"/", T0)
    if ended:
        store.close_run(run.uid, T0, 0)
    store.close()
    shared = SharedMap(1, AREA_BYTES, run.map)
    outcome = Outcome(first.row, 1, int(OutcomeKind.FINISHED), 0, "", T0, 0.1, 0.0, 0.0, 0, b"", b"", b"")
    shared.append(1, pack_outcome(outcome))
    return run


def states(database: str) -> list[int]:
    store = SqliteStore(database)
    found = [state for (state,) in store._engine.execute("SELECT state FROM task ORDER BY row")]
    store.close()
    return found


def test_what_had_ended_is_recorded_and_what_was_running_is_not() -> None:
    """Once; the sockets go too."""
    database = os.path.join(site.main(), folders.DATABASE_NAME)
    run = a_killed_cluster(database)

    assert take_up_before(database, NO_RETRY) == 1

    assert states(database) == [State.DONE, State.ASSIGNED]
    assert not os.path.exists(run.map)
    assert not os.path.exists(run.runtime)
    assert take_up_before(database, NO_RETRY) == 0


def test_what_a_worker_could_not_tell_any_more_is_recorded_when_a_cluster_has_been_stopped() -> None:
    """It died, and the stop came before its successor. The run stays ended."""
    database = os.path.join(site.main(), folders.DATABASE_NAME)
    run = a_killed_cluster(database, ended=True)

    assert take_up(run, None, NO_RETRY) == 1

    assert states(database) == [State.DONE, State.ASSIGNED]
    with open_reader(database) as reader:
        assert reader.execute("SELECT end_time FROM run").fetchall() == [(T0,)]
    assert not os.path.exists(run.map)


def test_a_killed_cluster_whose_scheduler_ended_in_order_is_taken_up_as_well() -> None:
    """The scheduler saw hs-cluster die and recorded the end; the worker had died before and could tell it nothing."""
    database = os.path.join(site.main(), folders.DATABASE_NAME)
    a_killed_cluster(database, ended=True)

    assert take_up_before(database, NO_RETRY) == 1
    assert states(database) == [State.DONE, State.ASSIGNED]


def test_a_cluster_that_ended_left_nothing() -> None:
    database = os.path.join(site.main(), folders.DATABASE_NAME)
    folders.forget_settings(a_killed_cluster(database, ended=True))

    assert take_up_before(database, NO_RETRY) == 0
    assert states(database) == [State.ASSIGNED, State.ASSIGNED]


def test_a_new_queue_has_nobody_before() -> None:
    """Its database is not there yet."""
    assert take_up_before(os.path.join(site.main(), folders.DATABASE_NAME), NO_RETRY) == 0
