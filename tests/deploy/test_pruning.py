"""Which runs are removed."""

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hs_common import site
from hs_deploy.runs import pruning
from hs_deploy.runs.folders import DATABASE_NAME
from hs_deploy.runs.pruning import KEPT_S, prune
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NewTask

NOW = 2_000_000_000.0
OLD = NOW - KEPT_S - 60


@pytest.fixture(autouse=True)
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path / "site"))
    monkeypatch.setattr(pruning, "KEPT_MIN", 2)


def a_run(name: str, changed_at: float = OLD, statement: str = "", *, closed: bool = True) -> str:
    folder = os.path.join(site.runs(), name)
    os.mkdir(folder)
    path = os.path.join(folder, DATABASE_NAME)
    store = SqliteStore(path)
    store.open_run(name.encode().ljust(16), {}, 1e9)
    with store.transaction():
        store.add([NewTask(b"true", None, 0, 0, "")], [0], b"/", 1e9)
    if closed:
        store.close_run(name.encode().ljust(16), 1e9, 0)
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE task SET state = 3, exit_status = 0")
        if statement:
            db.execute(statement)
    os.utime(path, (changed_at, changed_at))
    return folder


def test_old_runs_beyond_the_number_that_is_kept_are_removed() -> None:
    """The newest stay, however old."""
    folders = [a_run(str(number), OLD + number) for number in range(4)]

    assert sorted(prune(NOW, random.Random(1))) == folders[:2]
    assert sorted(os.listdir(site.runs())) == ["2", "3"]
    assert prune(NOW, random.Random(1)) == []


def test_what_was_left_of_a_removal_goes_with_the_next() -> None:
    """An hs-cluster may be killed over it: what has lost its database, or only its place, is no run any more."""
    os.makedirs(os.path.join(site.runs(), ".0", "outputs"))
    os.rename(a_run("1"), os.path.join(site.runs(), ".1"))
    a_run("2")

    assert prune(NOW, random.Random(1)) == []
    assert os.listdir(site.runs()) == ["2"]


def test_young_runs_stay_however_many_there_are() -> None:
    """Thirty days."""
    for number in range(4):
        a_run(str(number), NOW - KEPT_S + 60 + number)

    assert prune(NOW, random.Random(1)) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE task SET state = 0",
        "UPDATE task SET exit_status = 1",
        "UPDATE task SET reason = 'timeout'",
        "UPDATE task SET outpath = '/x.out'",
        "INSERT INTO meta VALUES ('archives', 1)",
    ],
)
def test_what_somebody_may_still_want_stays(statement: str) -> None:
    """Unfinished and failed tasks, captured output, and whatever is in archives."""
    a_run("0", OLD, statement)
    for number in (1, 2):
        a_run(str(number), OLD + number)

    assert prune(NOW, random.Random(1)) == []


def test_a_run_in_use_the_latest_one_and_databases_of_others_stay(tmp_path: Path) -> None:
    """Nothing is removed that is only linked to."""
    latest = a_run("0", OLD)
    site.set_latest(latest)
    a_run("1", OLD + 1, closed=False)
    (tmp_path / "mine.db").write_bytes(b"")
    os.mkdir(os.path.join(site.runs(), "2"))
    os.symlink(tmp_path / "mine.db", os.path.join(site.runs(), "2", DATABASE_NAME))
    owned = a_run("3", OLD + 3)
    owner = SqliteStore(os.path.join(owned, DATABASE_NAME))
    os.utime(os.path.join(owned, DATABASE_NAME), (OLD, OLD))
    for number in (4, 5):
        a_run(str(number), NOW)

    assert prune(NOW, random.Random(1)) == []
    owner.close()
