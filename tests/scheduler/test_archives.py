"""Archives: a rotation that is killed anywhere loses nothing and doubles nothing, and what is in an archive is not changed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.scheduler.building import T0, a_database, a_line, output, run

from hs_common.errors import RefusedError, StoppedError
from hs_scheduler.commands.initdb import initdb
from hs_scheduler.commands.search import search
from hs_scheduler.commands.submit import submit
from hs_scheduler.commands.update import update
from hs_scheduler.stores.archives import path_of
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NO_RUN

POINTS = (
    "before_make",
    "made_file",
    "made_tables",
    "after_make",
    "before_copied",
    "after_copied",
    "before_removed",
    "after_removed",
)


@pytest.fixture(autouse=True)
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path / "site"))


@pytest.fixture
def database(tmp_path: Path) -> str:
    """One that failed is in an archive already; then one that succeeded, one that failed, one that waits."""
    (tmp_path / "queue").mkdir()
    path = a_database(tmp_path / "queue" / "tasks.db", 3)
    output(initdb, "--rotate", "-y", "--database", path)
    return a_database(tmp_path / "queue" / "tasks.db", 0, 5, None)


def tasks(database: str) -> list[Any]:
    return sorted(json.loads(output(search, "--json", "--database", database)), key=lambda task: task["id"])


def die(database: str, option: str, point: str) -> None:
    """Let `hs initdb` with this option be killed at a point of it."""
    hs = os.path.join(os.path.dirname(sys.executable), "hs")
    done = subprocess.run(
        [hs, "initdb", option, "-y", "--database", database],
        env=os.environ | {"HYPERSHELL_CRASH_AT": point},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done


@pytest.mark.parametrize("point", POINTS)
def test_a_rotation_that_is_killed_loses_nothing_and_the_next_one_settles_it(database: str, point: str) -> None:
    """At each step every task is found once; a scheduler that starts then counts what is its own; the next rotation is whole."""
    before = tasks(database)

    die(database, "--rotate", f"rotate.{point}")

    assert tasks(database) == before
    moved = point == "after_removed"
    store = SqliteStore(database)
    store.open_run(NO_RUN, {}, T0)
    counts = store.counts
    assert (counts.new, counts.succeeded, counts.failed) == ((1, 0, 0) if moved else (1, 1, 1))
    assert len(list(store.submitted())) == len(before)
    store.close()
    output(initdb, "--rotate", "-y", "--database", database)
    assert sorted(os.listdir(os.path.dirname(database))) == ["tasks.1.db", "tasks.2.db", "tasks.db"]
    assert tasks(database) == before
    assert len(tasks(path_of(database, 2))) == 2


@pytest.mark.parametrize("point", ["truncate.cleared", "truncate.removed_one"])
@pytest.mark.parametrize("then", ["--rotate", "--truncate"])
def test_the_archives_of_an_emptied_database_go_although_it_was_killed(database: str, point: str, then: str) -> None:
    """Else they would stand where the next archive is to be, with tasks that nobody has."""
    output(initdb, "--rotate", "-y", "--database", database)
    die(database, "--truncate", point)
    assert tasks(database) == []
    a_database(Path(database), 0)

    output(initdb, then, "-y", "--database", database)

    rotated = then == "--rotate"
    assert sorted(os.listdir(os.path.dirname(database))) == ["tasks.1.db", "tasks.db"][not rotated :]
    assert len(tasks(database)) == rotated


def test_what_the_user_has_put_in_the_place_of_such_an_archive_stays(database: str) -> None:
    """A copy of the emptied database forgets the same ones, and what lies beside it is of somebody else."""
    output(initdb, "--rotate", "-y", "--database", database)
    die(database, "--truncate", "truncate.cleared")
    copy = str(Path(database).with_name("copy.db"))
    output(initdb, "--backup", copy, "--database", database)
    beside = a_database(Path(path_of(copy, 1)), 0, None)

    output(initdb, "--truncate", "-y", "--database", copy)

    assert len(tasks(beside)) == 2
    assert Path(path_of(database, 1)).exists()


@pytest.mark.parametrize("what", ["a copy", "a text", "a link", "another queue"])
def test_what_stands_where_the_next_archive_is_to_be_is_not_removed(database: str, tmp_path: Path, what: str) -> None:
    place = Path(path_of(database, 2))
    match what:
        case "a copy":
            output(initdb, "--backup", str(tmp_path / "copy.db"), "--database", database)
            shutil.copy(tmp_path / "copy.db", place)
        case "a text":
            place.write_text("notes about this queue\n" * 100)
        case "a link":
            place.symlink_to(tmp_path / "nowhere")
        case _:
            a_database(place, 0, 0)
    before = tasks(database), place.read_bytes() if place.exists() else None

    refused = run(initdb, "--rotate", "-y", "--database", database)

    assert isinstance(refused.exception, StoppedError)
    assert f"{place} is to be the next archive" in str(refused.exception)
    assert (tasks(database), place.read_bytes() if place.exists() else None) == before


def test_remains_with_a_task_that_the_database_does_not_have_are_kept(database: str) -> None:
    """So it is when an older copy of the database was put in its place: the archive has what nobody else has."""
    shutil.copy(database, f"{database}.old")
    store = SqliteStore(database)
    with store.transaction():
        store.add([a_line()], [0], b"/", T0)
    store.close()
    output(update, "--cancel", "-R", "-y", "--database", database)
    output(initdb, "--rotate", "-y", "--database", database)
    shutil.move(f"{database}.old", database)

    refused = run(initdb, "--rotate", "-y", "--database", database)

    assert isinstance(refused.exception, StoppedError)
    assert len(tasks(path_of(database, 2))) == 4


def test_an_archive_is_not_written_to(database: str) -> None:
    """A task in it would be of no queue."""
    archive = path_of(database, 1)
    before = tasks(archive)
    for command, *options in (
        (submit, "--", "true"),
        (update, "--retry", "-F", "-y"),
        (initdb, "--rotate", "-y"),
    ):
        refused = run(command, "--database", archive, *options)
        assert isinstance(refused.exception, RefusedError)
        assert "is an archive" in str(refused.exception)
    assert tasks(archive) == before


def test_an_update_says_what_it_left_in_archives(database: str) -> None:
    said = output(update, "--retry", "-F", "-y", "--database", database)

    assert said == (f"1 task changed in {database}\n1 task left as it is: in an archive, which is only read\n")
    assert "archive" not in output(update, "--hold", "-R", "-y", "--database", database)
