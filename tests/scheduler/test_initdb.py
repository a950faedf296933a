"""`hs initdb`: a database made, brought up to date, copied, compacted, rotated, emptied; and searches over its archives."""

import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.scheduler.building import T0, a_database, a_line, output, run

from hs_common import site
from hs_common.errors import RefusedError, StoppedError
from hs_scheduler.commands.info import info
from hs_scheduler.commands.initdb import initdb
from hs_scheduler.commands.search import search
from hs_scheduler.commands.submit import submit
from hs_scheduler.commands.update import update
from hs_scheduler.stores import archives, schema
from hs_scheduler.stores.archives import path_of
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.reader import Answering, reading
from hs_scheduler.stores.sqlite import SqliteStore


@pytest.fixture(autouse=True)
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path / "site"))


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Two that succeeded, one that failed and waits to be tried again, one that waits, one that failed."""
    a_database(tmp_path / "tasks.db", 0, 0)
    a_database(tmp_path / "tasks.db", 3, retries=1)
    return a_database(tmp_path / "tasks.db", None, 5)


def numbers(database: str, *options: str) -> list[Any]:
    return [row["exit_status"] for row in json.loads(output(search, "--json", "--database", database, *options))]


def count(database: str, *options: str) -> int:
    return int(output(search, "-c", "--database", database, *options))


# --- Made, migrated ---


def test_the_standing_queue_is_made_once() -> None:
    said = output(initdb)

    path = os.path.join(site.main(), "tasks.db")
    assert said == f"database {path} is at schema {len(schema.STEPS)}\n" == output(initdb)
    assert count(path) == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--database", ""], "--database ''"),
        (["--truncate", "-y", "--database", " "], "--database ' '"),
        (["--backup", ""], "--backup ''"),
    ],
)
def test_the_name_of_nothing_does_not_mean_the_standing_queue(options: list[str], named: str) -> None:
    """So it is typed with a variable that is not set: what follows must not happen to another database, nor be left undone."""
    result = run(initdb, *options)

    assert isinstance(result.exception, RefusedError)
    assert named in str(result.exception)
    assert not os.path.exists(os.path.join(site.main(), "tasks.db"))


@pytest.mark.parametrize("command", [initdb, search, update, submit, info])
@pytest.mark.parametrize("what", ["a text", "another program's", "a folder"])
def test_a_file_of_another_kind_is_a_misuse(tmp_path: Path, command: Any, what: str) -> None:
    path = tmp_path / "cats"
    match what:
        case "a text":
            path.write_text("Tom\nKitty\n")
        case "a folder":
            path.mkdir()
        case _:
            other = sqlite3.connect(path)
            other.execute("CREATE TABLE cat (name)")
            other.close()
    arguments = {update: ["--retry", "-F", "-y"], submit: ["--", "true"], info: ["0" * 32]}.get(command, [])

    result = run(command, "--database", str(path), *arguments)

    assert isinstance(result.exception, RefusedError)
    assert f"--database {path}: is a f" in str(result.exception)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cats"]


def test_a_database_whose_tables_are_still_in_the_log_is_one(tmp_path: Path) -> None:
    owner = SqliteStore(str(tmp_path / "young.db"))

    assert count(str(tmp_path / "young.db")) == 0
    owner.close()


def test_a_database_on_a_server_is_made_and_emptied(postgres_url: str) -> None:
    assert output(initdb, "--database", postgres_url).endswith(f" is at schema {len(schema.STEPS)}\n")
    store = open_store(postgres_url)
    with store.transaction():
        (task,) = store.add([a_line()], [0], b"/", T0)
    store.close()

    assert output(initdb, "--truncate", "-y", "--database", postgres_url).startswith("1 task removed from ")
    assert count(postgres_url) == 0
    store = open_store(postgres_url)
    with store.transaction():
        assert store.add([a_line()], [0], b"/", T0)[0].row > task.row, "no number is given twice"
    store.close()


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.executescript((Path(__file__).parent / "golden" / "schema-1.sql").read_text())
    connection.close()

    output(initdb, "--database", str(tmp_path / "old.db"))
    connection = sqlite3.connect(tmp_path / "old.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.STEPS),)
    connection.close()


def test_what_a_scheduler_works_on_is_left_alone(database: str) -> None:
    owner = SqliteStore(database)
    for options in ([], ["--vacuum"], ["--rotate", "-y"], ["--truncate", "-y"]):
        result = run(initdb, "--database", database, *options)
        assert isinstance(result.exception, StoppedError)
        assert f"pid {os.getpid()}" in str(result.exception)
    owner.close()
    assert count(database) == 6


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--vacuum", "--rotate"], RefusedError),
        (["--backup", "x", "--truncate"], RefusedError),
        (["--rotate"], RefusedError),  # nobody to ask
        (["--truncate"], RefusedError),
        (["--vacuum", "--database", "postgresql://nowhere/x"], RefusedError),
        (["--rotate", "-y", "--database", "postgresql://nowhere/x"], RefusedError),
        (["--backup", "x", "--database", "postgresql://nowhere/x"], RefusedError),
        (["--vacuum", "--database", "/nowhere/tasks.db"], StoppedError),
        (["--truncate", "-y", "--database", "/nowhere/tasks.db"], StoppedError),
    ],
)
def test_what_makes_no_sense_is_one_line(database: str, options: list[str], kind: type[Exception]) -> None:
    result = run(initdb, "--database", database, *options)
    assert isinstance(result.exception, kind)
    assert "\n" not in str(result.exception)
    assert count(database) == 6


# --- Copied, compacted, emptied ---


def test_a_copy_is_made_while_its_owner_writes(database: str, tmp_path: Path) -> None:
    owner = SqliteStore(database)
    with owner.transaction():
        owner.add([a_line()], [0], b"/", T0)
        output(initdb, "--backup", str(tmp_path / "half.db"), "--database", database)
    output(initdb, "--backup", str(tmp_path / "copy.db"), "--database", database)
    owner.close()

    assert [count(str(tmp_path / name)) for name in ("half.db", "copy.db")] == [6, 7]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.tmp"))


def test_a_copy_takes_the_archives_along(database: str, tmp_path: Path) -> None:
    output(initdb, "--rotate", "-y", "--database", database)
    (tmp_path / "folder").mkdir()

    said = output(initdb, "--backup", str(tmp_path / "folder" / "copy.db"), "--database", database)
    assert [line.rpartition("/")[2] for line in said.splitlines()] == ["copy.db", "copy.1.db"]
    shutil.rmtree(tmp_path / "site", ignore_errors=True)
    os.unlink(path_of(database, 1))
    assert count(str(tmp_path / "folder" / "copy.db")) == 6


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_copy_needs_no_hard_links(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """FAT has none, nor have some file systems in user space."""

    def refuse(_source: str, _target: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    copy = tmp_path / "copy.db"

    output(initdb, "--backup", str(copy), "--database", database)

    assert count(str(copy)) == count(database)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.tmp"))
    # What came meanwhile is left alone.
    other = tmp_path / "other"
    other.write_text("of somebody else")
    with reading(database) as reader, pytest.raises(StoppedError, match="File exists"):
        reader.back_up(str(other))
    assert other.read_text() == "of somebody else"
    assert not list(tmp_path.glob("*.tmp"))


def test_a_copy_removes_what_one_before_it_left_that_was_killed(database: str, tmp_path: Path) -> None:
    """Nobody else would; one that is being made, here or on another host, is let alone, and so is what is the user's."""
    here = os.uname().nodename
    no_process = 2**22 + 1  # the kernel gives no such number
    left = [f"copy.db.{here}.{no_process}.{end}" for end in ("tmp", "tmp-journal")]
    kept = [f"copy.db.{here}.{os.getppid()}.tmp", f"copy.db.elsewhere.{no_process}.tmp", f"copy.db.{here}.notes.tmp"]
    for name in (*left, *kept):
        (tmp_path / name).touch()

    output(initdb, "--backup", str(tmp_path / "copy.db"), "--database", database)

    assert {path.name for path in tmp_path.glob("copy.db*")} == {"copy.db", *kept}


def test_a_copy_is_of_one_moment(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rotated while the copy is made is in it all the same."""
    paths = archives.paths

    def then_rotated(reader: Answering, path: str) -> list[str]:
        found = paths(reader, path)
        monkeypatch.setattr(archives, "paths", paths)
        output(initdb, "--rotate", "-y", "--database", database)
        return found

    monkeypatch.setattr(archives, "paths", then_rotated)
    output(initdb, "--backup", str(tmp_path / "copy.db"), "--database", database)

    assert os.path.exists(path_of(database, 1))
    assert count(str(tmp_path / "copy.db")) == count(database) == 6


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("there", "--backup there: is a folder, expected"),
        ("nowhere/copy.db", "--backup nowhere/copy.db: there is no folder "),
        ("tasks.db", "--backup tasks.db: there is a file already: choose another name"),
        ("copy.db", "--backup copy.db: an archive goes to copy.1.db, which is there already: choose another name"),
    ],
)
def test_a_copy_overwrites_nothing(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, why: str
) -> None:
    """Nor is half of it made before that is seen."""
    output(initdb, "--rotate", "-y", "--database", database)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "copy.1.db").touch()

    refused = run(initdb, "--backup", target, "--database", database)

    assert isinstance(refused.exception, RefusedError)
    assert str(refused.exception).startswith(why)
    assert [path.name for path in tmp_path.rglob("*copy*")] == ["copy.1.db"]


def test_the_space_of_removed_tasks_comes_back(tmp_path: Path) -> None:
    database = a_database(tmp_path / "tasks.db", *[0] * 3000)
    output(update, "--delete", "-w", "exit_status == 0", "-y", "--database", database)
    before = os.path.getsize(database)

    output(initdb, "--vacuum", "--database", database)
    assert os.path.getsize(database) < before / 2


def test_an_emptied_database_gives_no_number_twice(database: str) -> None:
    output(initdb, "--rotate", "-y", "--database", database)
    output(initdb, "--truncate", "-y", "--database", database)

    assert (count(database), os.path.exists(path_of(database, 1))) == (0, False)
    store = SqliteStore(database)
    with store.transaction():
        (task,) = store.add([a_line()], [0], b"/", T0)
    assert task.row == 7
    store.close()


# --- Rotated ---


def test_what_is_over_moves_and_searches_still_see_it(database: str) -> None:
    before = json.loads(output(search, "--json", "--database", database))

    said = output(initdb, "--rotate", "-y", "--database", database)

    assert said == f"3 tasks moved to {path_of(database, 1)}\n"
    assert os.stat(path_of(database, 1)).st_mode & 0o777 == 0o600
    # Not the failed one: it is to be tried again.
    assert numbers(path_of(database, 1)) == [0, 0, 5]
    assert sorted(json.loads(output(search, "--json", "--database", database)), key=lambda row: row["id"]) == sorted(
        before, key=lambda row: row["id"]
    )


def test_searches_over_archives_are_in_one_order(tmp_path: Path) -> None:
    database = str(tmp_path / "tasks.db")
    for statuses in ((5, 1), (3, 0, 1), (None, 4)):
        a_database(tmp_path / "tasks.db", *statuses)
        output(initdb, "--rotate", "-y", "--database", database)

    assert (os.path.exists(path_of(database, 3)), count(database)) == (True, 7)
    assert numbers(database) == [5, 1, 3, 0, 1, None, 4]
    assert numbers(database, "--desc") == [4, None, 1, 0, 3, 1, 5]
    assert numbers(database, "-s", "exit_status") == [None, 0, 1, 1, 3, 4, 5]
    assert numbers(database, "-s", "exit_status", "--desc") == [5, 4, 3, 1, 1, 0, None]
    assert numbers(database, "-s", "exit_status", "--desc", "-l", "2") == [5, 4]
    assert numbers(database, "-F", "-w", "args ~ exit.[35]") == [5, 3]
    assert (count(database, "-F"), count(database, "-l", "3"), count(database, "-R")) == (5, 3, 1)


def test_a_task_in_an_archive_is_found_by_its_id(database: str) -> None:
    (uid,) = (
        row["id"] for row in json.loads(output(search, "--json", "-w", "exit_status == 5", "--database", database))
    )
    output(initdb, "--rotate", "-y", "--database", database)

    assert output(info, uid, "-x", "exit_status", "--database", database) == "5\n"


def test_what_is_in_an_archive_is_not_added_again(database: str) -> None:
    """`--once` goes by what was submitted."""
    store = SqliteStore(database)
    before = list(store.submitted())
    store.close()
    output(initdb, "--rotate", "-y", "--database", database)

    store = SqliteStore(database)
    assert sorted(map(str, store.submitted())) == sorted(map(str, before))
    store.close()


def test_where_nothing_is_over_nothing_is_made(tmp_path: Path) -> None:
    database = a_database(tmp_path / "tasks.db", None)

    assert output(initdb, "--rotate", "-y", "--database", database) == "no task is over: nothing was moved\n"
    assert sorted(os.listdir(tmp_path)) == ["tasks.db"]
