"""What `--restart` finds, in databases as a run may leave them."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hs_common import site
from hs_common.errors import StoppedError
from hs_common.tasks import Outcome
from hs_deploy.runs import folders, past
from hs_deploy.runs.past import find, look, older, whole_bytes
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NO_RUN, InputState, NewTask, Retry
from hs_scheduler.tasks.state import State

T0 = 1_700_000_000.0
TASK = NewTask(b"true", None, 0, 0, "")


@pytest.fixture(autouse=True)
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path / "site"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def a_run(name: bytes, *, database: str | None = None, **settings: Any) -> folders.Run:
    run = folders.make_run(name * 16, no_db=False, database=database, keep_folder=False)
    folders.record(run, {"database": run.database, "cwd": "/", **settings})
    return run


def left_by(
    run: folders.Run, *, left: int = 0, failed: int = 0, closed: bool = True, offset: int | None = None
) -> None:
    """Write what a scheduler would have."""
    assert run.folder is not None
    assert run.database is not None
    store = SqliteStore(run.database)
    store.open_run(run.uid, folders.read_settings(run.folder) or {}, T0)
    with store.transaction():
        bad = store.add([TASK] * failed, [1] * failed, b"/", T0)
        store.add([TASK] * left, [0] * left, b"/", T0)
        ends = [Outcome(t.row, 1, 0, 256, "", T0, 0.1, 0.0, 0.0, 0, b"", b"", b"") for t in bad]
        store.record(b"w" * 16, "n1", ends, Retry(0, eager=False), T0)
        if offset is not None:
            store.save_input(
                InputState(
                    path="/x", device=1, inode=1, size=100, modified_ns=1, offset=offset, line=1, tags=(), ended=False
                )
            )
    if closed:
        store.close_run(run.uid, T0 + 1, 1)
    store.close()


def submitted(database: str) -> None:
    store = SqliteStore(database)
    store.open_run(NO_RUN, {}, T0)
    with store.transaction():
        store.add([TASK], [0], b"/", T0)
    store.close()


def test_an_unfinished_latest_run_is_continued() -> None:
    """Not an older one, though that has something left too: it is only named."""
    one, two = a_run(b"1"), a_run(b"2", template="echo {}")
    left_by(one, left=3)
    left_by(two, left=1)

    found = find(None, failed_too=False)

    assert found is not None
    assert (found.database, found.uid, found.left, found.settings["template"]) == (two.database, two.uid, 1, "echo {}")
    assert not found.whole
    assert older(but=found.database) == [one.database]


@pytest.mark.parametrize(("takes_all", "settings"), [(False, {}), (True, {"template": "echo {}"})])
def test_what_was_submitted_is_continued_with_the_settings_of_who_took_care_of_it(
    tmp_path: Path, *, takes_all: bool, settings: dict[str, Any]
) -> None:
    """The template of a run is for its own lines; that of --forever is for whatever comes."""
    database = str(tmp_path / "tasks.db")
    left_by(a_run(b"1", database=database, template="echo {}", whole=takes_all))
    submitted(database)

    found = look(database, failed_too=False)

    assert found is not None
    assert (found.uid, found.left, found.whole) == (b"1" * 16 if takes_all else b"", 1, True)
    assert {name: value for name, value in found.settings.items() if name == "template"} == settings


def test_a_finished_latest_run_leaves_the_standing_queue() -> None:
    """Whatever was submitted there."""
    left_by(a_run(b"1"))
    queue = os.path.join(site.main(), folders.DATABASE_NAME)
    assert find(None, failed_too=False) is None
    submitted(queue)

    found = find(None, failed_too=False)

    assert found is not None
    assert (found.database, found.uid, found.left, found.whole) == (queue, b"", 1, True)


def test_nothing_is_over_where_there_was_no_run() -> None:
    """Not a run, not a database."""
    assert past.over(None) is None
    submitted(os.path.join(site.main(), folders.DATABASE_NAME))
    found = past.over(None)
    assert found is not None
    assert (found.failed, found.cancelled) == (0, 0)


def test_what_is_over_tells_what_did_not_succeed() -> None:
    """`--restart` says so again, with the status of the run."""
    run = a_run(b"1")
    left_by(run, failed=2, left=3)
    assert run.database is not None
    with sqlite3.connect(run.database) as database:
        database.execute("UPDATE task SET state = ? WHERE state = ?", (State.CANCELLED, State.NEW))

    found = past.over(None)

    assert found is not None
    assert (found.left, found.failed, found.cancelled) == (0, 2, 3)


def test_failed_tasks_are_left_only_for_who_asks_for_them() -> None:
    """`--restart` does not run them again."""
    left_by(a_run(b"1"), failed=2)

    assert find(None, failed_too=False) is None
    found = find(None, failed_too=True)
    assert found is not None
    assert found.failed == 2


def test_a_run_whose_end_was_not_recorded_is_not_finished() -> None:
    """Its file of failures may be missing."""
    left_by(a_run(b"1"), closed=False)

    assert find(None, failed_too=False) is not None


@pytest.mark.parametrize(("offset", "left"), [(None, True), (40, True), (100, False)])
def test_an_input_that_was_not_read_to_its_end_is_left(offset: int | None, left: bool) -> None:
    """Also where no task of it waits."""
    left_by(a_run(b"1", input="/tasks.txt"), offset=offset)

    found = find(None, failed_too=False)

    assert (found is not None) == left
    assert found is None or found.file == "/tasks.txt"


def test_a_run_that_was_killed_before_there_was_a_database_is_continued() -> None:
    """Its settings were written down before anything was started."""
    run = a_run(b"1", input="/tasks.txt", template="echo {}")

    found = find(None, failed_too=False)

    assert found is not None
    assert (found.database, found.uid, found.file) == (run.database, run.uid, "/tasks.txt")
    assert found.settings["template"] == "echo {}"


def test_so_is_one_that_its_scheduler_had_not_recorded_yet(tmp_path: Path) -> None:
    """In a database that others used before."""
    database = str(tmp_path / "shared.db")
    left_by(a_run(b"1", database=database))
    two = a_run(b"2", database=database, input="/tasks.txt")

    for found in (find(None, failed_too=False), look(database, failed_too=False)):
        assert found is not None
        assert (found.uid, found.file) == (two.uid, "/tasks.txt")


def test_in_a_shared_database_the_last_run_with_something_left_goes_first(tmp_path: Path) -> None:
    """Each with its own settings, and its own tasks only."""
    database = str(tmp_path / "shared.db")
    for name, left in ((b"1", 2), (b"2", 5), (b"3", 0)):
        left_by(a_run(name, database=database), left=left)

    found = look(database, failed_too=False)

    assert found is not None
    assert (found.uid, found.left, found.whole) == (b"2" * 16, 5, False)


def test_a_database_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(StoppedError, match="no database"):
        look(str(tmp_path / "none.db"), failed_too=False)


def test_a_database_with_a_live_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that one without its hs-cluster would need."""
    run = a_run(b"1")
    assert run.database is not None
    owner = SqliteStore(run.database)
    monkeypatch.setattr(past, "HOLDER_S", 0.1)

    with pytest.raises(StoppedError, match="is being worked on"):
        look(run.database, failed_too=False)
    owner.close()


@pytest.mark.parametrize(
    ("text", "complete", "size"),
    [
        (b"a\nrm -rf /data/old", True, 18),
        (b"a\nrm -rf /dat", False, 2),  # who knows how that line went on
        (b"a\nb\n", False, 4),
        (b"no newline", False, 0),
        (b"a\n" + b"x" * 200_000, False, 2),
        (b"", False, 0),
    ],
)
def test_of_a_copy_that_was_cut_off_only_whole_lines_count(
    tmp_path: Path, text: bytes, complete: bool, size: int
) -> None:
    """Half a line may be a command that nobody meant."""
    spool = tmp_path / "input"
    spool.write_bytes(text)
    with spool.open("rb") as file:
        if complete:
            folders.mark_complete(file.fileno())

    assert whole_bytes(str(spool)) == size


def test_the_run_of_a_file_is_always_the_same() -> None:
    """That is how `--once` finds it again."""
    assert folders.uid_of("/a/tasks") == folders.uid_of("/a/tasks") != folders.uid_of("/b/tasks")
    assert folders.uid_of("/a/tasks")[6] >> 4 == 8
