"""The SQLite file: who owns it, what is done when it is lost, full, damaged or of another version."""

import contextlib
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.processes import reaped

from hs_common.errors import StoppedError
from hs_common.filesystems import NETWORK_NAMES
from hs_common.tasks import Outcome, Task
from hs_scheduler.stores import ownership, schema
from hs_scheduler.stores.database import Database, failure
from hs_scheduler.stores.ownership import Owner, holder_of, this_process
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NO_RUN, Counts, NewTask, Retry, StoreBusyError

RUN, OTHER = b"r" * 16, b"o" * 16
T0 = 1_700_000_000.0
TASK = NewTask(b"true", None, 0, 0, "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    one = SqliteStore(str(path))
    yield one
    one.close()


def add(store: SqliteStore, count: int, bundle: int = 0, task: NewTask = TASK) -> list[Task]:
    with store.transaction():
        return store.add([task] * count, [bundle] * count, b"/work", T0)


def succeeded(task: Task) -> Outcome:
    return Outcome(task.row, task.dispatch, 0, 0, "", T0, 0.1, 0.0, 0.0, 0, b"", b"", b"")


# --- Another cluster ---


def test_what_workers_of_another_cluster_had_is_new_again(path: Path, store: SqliteStore) -> None:
    """Its keys are gone with it: nobody can bring a result any more. A scheduler of the same cluster keeps what is out."""
    store.open_run(RUN, {}, T0)
    assert store.take_epoch(b"1" * 16) == 1
    (task,) = add(store, 1, bundle=5)
    with store.transaction():
        store.worker_attached(b"w" * 16, b"", "n1", T0)
    store.close()

    same = SqliteStore(str(path))
    same.open_run(RUN, {}, T0)
    assert same.take_epoch(b"1" * 16) == 2
    assert ([item.row for item in same.held()], same.workers()) == ([task.row], {b"w" * 16})
    same.close()

    other = SqliteStore(str(path))
    other.open_run(RUN, {}, T0)
    assert other.take_epoch(b"2" * 16) == 3
    assert (list(other.held()), other.workers(), other.counts) == ([], set(), Counts(new=1))
    assert [item.task for item in other.ready(9)] == [task._replace(dispatch=2)]
    other.close()


def test_what_failed_can_be_tried_once_more(path: Path) -> None:
    """With everything it had; but a line that was refused as it was read is not whole in the store."""
    store = SqliteStore(str(path))
    store.open_run(RUN, {}, T0)
    (task,) = add(store, 1, bundle=5, task=TASK._replace(group=2, priority=3))
    add(store, 1, task=TASK._replace(rejected="NUL in the line"))
    with store.transaction():
        store.record(b"w" * 16, "n1", [succeeded(task)._replace(status=256)], Retry(0, eager=False), T0)
    assert store.counts == Counts(failed=2)

    assert store.retry_failed(T0) == 1
    assert store.counts == Counts(failed=1, retried=1, new=1)
    (again,) = store.ready(9)
    assert (again.task.attempt, again.group, again.task.args) == (2, 2, b"true")
    assert store.retry_failed(T0) == 0, "once"
    store.close()


def test_failures_of_before_an_instant_are_told_apart(store: SqliteStore) -> None:
    store.open_run(RUN, {}, T0)
    add(store, 1, task=TASK._replace(rejected="NUL in the line"))

    assert [store.failures_before(T0), store.failures_before(T0 + 1)] == [0, 1]


# --- One owner ---


def test_nothing_but_the_database_is_left_behind(path: Path, store: SqliteStore) -> None:
    add(store, 3)
    assert sorted(os.listdir(path.parent)) == ["tasks.db", "tasks.db-shm", "tasks.db-wal", "tasks.db.lock"]
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}

    store.close()
    store.close()

    assert os.listdir(path.parent) == ["tasks.db"]


def test_another_process_is_refused_and_told_who_owns_it(path: Path, store: SqliteStore) -> None:
    script = "import sys; from hs_scheduler.stores.sqlite import SqliteStore; SqliteStore(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"hs_common.errors.StoppedError: database {path} is owned by hs-scheduler"
        f" on host {os.uname().nodename}, pid {os.getpid()}"
    )
    add(store, 1)


def test_by_whatever_name_it_is_opened_there_is_one_owner(path: Path, store: SqliteStore) -> None:
    """The folder of a run may hold a link to a database that was named."""
    (path.parent / "link.db").symlink_to(path)

    with pytest.raises(StoppedError, match=f"owned by .* pid {os.getpid()}"):
        SqliteStore(str(path.parent / "link.db"))


def test_an_owner_that_was_killed_leaves_no_lock(path: Path) -> None:
    """The file stays, but the kernel has dropped the lock; what was committed is there."""
    script = """
import os, sys
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NewTask
store = SqliteStore(sys.argv[1])
with store.transaction():
    store.add([NewTask(b"true", None, 0, 0, "")] * 5, [0, 0, 0, 7, 7], b"/", 1.0)
store._begin()
store.add([NewTask(b"lost", None, 0, 0, "")], [0], b"/", 1.0)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script, path], check=False)
    assert done.returncode == -9
    assert holder_of(f"{path}.lock") is None

    store = SqliteStore(str(path))
    store.open_run(NO_RUN, {}, T0)

    assert store.counts == Counts(new=3, assigned=2)
    assert len(list(store.held())) == 2
    store.close()
    assert os.listdir(path.parent) == ["tasks.db"]


def test_a_brief_owner_is_waited_for(path: Path) -> None:
    """`hs submit` is gone in a moment: two of them at once both succeed."""
    script = """
import sys
from hs_scheduler.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], program="hs submit", brief=True)
print("open", flush=True)
sys.stdin.read()
store.close()
"""
    with reaped(
        subprocess.Popen([sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        holder = holder_of(f"{path}.lock")
        assert holder is not None
        assert (holder.program, holder.brief, holder.pid) == ("hs submit", True, other.pid)
        other.stdin.close()

        SqliteStore(str(path)).close()


# --- The run and its scope ---


def test_counts_are_counted_when_a_run_is_opened(path: Path, store: SqliteStore) -> None:
    store.open_run(RUN, {}, T0)
    tasks = add(store, 6, bundle=1)
    add(store, 1, task=TASK._replace(rejected="NUL"))
    outcomes = [succeeded(task) for task in tasks[:4]]
    outcomes[1] = outcomes[1]._replace(status=256)
    outcomes[2] = outcomes[2]._replace(reason="timeout")
    outcomes[3] = outcomes[3]._replace(kind=4)
    with store.transaction():
        store.record(b"w" * 16, "host", outcomes[:2], Retry(1, eager=False), T0)
        store.record(b"w" * 16, "host", outcomes[2:], Retry(0, eager=False), T0)
    before = store.counts
    store.close()

    again = SqliteStore(str(path))
    again.open_run(RUN, {}, T0)

    assert again.counts == before == Counts(new=1, assigned=2, succeeded=1, failed=2, cancelled=1, retried=1)
    again.close()


def test_a_run_sees_its_own_tasks_only_and_the_zero_run_all(path: Path, store: SqliteStore) -> None:
    store.open_run(OTHER, {}, T0)
    (old,) = add(store, 1, bundle=5, task=TASK._replace(args=b"old", group=-1))
    (waits,) = add(store, 1, task=TASK._replace(args=b"waits", group=-1))
    store.close()
    mine = SqliteStore(str(path))
    mine.open_run(RUN, {"a": 1}, T0 + 1)
    (own,) = add(mine, 1, task=TASK._replace(args=b"own"))

    assert (mine.counts, mine.others()) == (Counts(new=1), 2)
    assert [item.task for item in mine.ready(10)] == [own]
    assert [*mine.held(), *mine.failures()] == []
    assert mine.last_run() == (RUN, {"a": 1}, T0 + 1, None, None)
    mine.close_run(RUN, T0 + 2, 1)
    assert mine.last_run() == (RUN, {"a": 1}, T0 + 1, T0 + 2, 1)
    mine.close()

    everything = SqliteStore(str(path))
    assert everything.open_run(NO_RUN, {"x": 1}, T0) == {"x": 1}
    assert (everything.counts, everything.others()) == (Counts(new=2, assigned=1), 0)
    assert [item.task.args for item in everything.ready(10)] == [b"waits"], "of the lowest group"
    assert [item.row for item in everything.held()] == [old.row]
    assert waits.row < own.row
    everything.close()


def test_a_row_number_is_never_given_twice(path: Path, store: SqliteStore) -> None:
    (first,) = add(store, 1)
    with store.transaction():
        store._engine.execute("DELETE FROM task")
    store.close()
    again = SqliteStore(str(path))

    assert add(again, 1)[0].row == first.row + 1
    again.close()


def test_finished_attempts_come_in_the_order_of_completion(store: SqliteStore) -> None:
    store.open_run(RUN, {}, T0)
    tasks = add(store, 3, bundle=1)
    late = succeeded(tasks[0])._replace(duration=9.0)
    with store.transaction():
        store.record(b"w" * 16, "host", [late, succeeded(tasks[1])], Retry(0, eager=False), T0)

    assert [row["attempt"] for row in store.finished(None)] == [1, 1]
    assert [row["duration"] for row in store.finished(None)] == [0.1, 9.0]
    assert list(store.finished([])) == []
    assert len(list(store.finished([task.row for task in tasks] * 400))) == 800


@pytest.mark.parametrize(("index", "run"), [("task_ready", NO_RUN), ("task_ready_in_run", RUN)])
def test_a_claim_follows_an_index_and_sorts_nothing(store: SqliteStore, index: str, run: bytes) -> None:
    """Else the claim rate falls with the length of the queue."""
    seen: list[str] = []
    store.open_run(run, {}, T0)
    add(store, 10)
    database = store._engine
    assert isinstance(database, Database)
    database.connection.set_trace_callback(seen.append)
    store.ready(5)
    database.connection.set_trace_callback(None)

    plan = " ".join(row[3] for row in store._engine.execute(f"EXPLAIN QUERY PLAN {seen[0]}"))

    assert f"USING INDEX {index}" in plan
    assert "B-TREE" not in plan


# --- The file is lost, busy, full, damaged, foreign ---


@pytest.mark.parametrize("loss", ["gone", "replaced"])
def test_a_file_that_is_not_there_any_more_is_not_written(path: Path, store: SqliteStore, loss: str) -> None:
    """SQLite itself would go on writing into the unlinked file."""
    add(store, 1)
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    path.unlink()
    if loss == "replaced":
        copy.rename(path)

    with pytest.raises(StoppedError, match=str(path)):
        add(store, 1)

    assert store.counts == Counts(new=1)


def test_a_locked_database_is_busy_and_nothing_is_changed(path: Path, store: SqliteStore) -> None:
    add(store, 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreBusyError, match="locked"):
        add(store, 1)
    assert store.counts == Counts(new=1)

    other.execute("ROLLBACK")
    other.close()
    add(store, 1)
    assert store.counts == Counts(new=2)


def test_a_full_disk_is_waited_for(store: SqliteStore) -> None:
    """SQLITE_FULL by a limit of pages; the same code as for ENOSPC."""
    add(store, 1)
    pages = store._engine.execute("PRAGMA page_count").fetchone()[0]
    store._engine.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    with pytest.raises(StoreBusyError, match="full"):
        add(store, 1000)
    assert store.counts == Counts(new=1)

    store._engine.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert [task.row for task in add(store, 2)] == [2, 3]


def an_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, StoreBusyError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusyError),
        (sqlite3.SQLITE_FULL, StoreBusyError),
        (sqlite3.SQLITE_IOERR_WRITE, StoreBusyError),
        (sqlite3.SQLITE_IOERR_READ, StoreBusyError),
        (sqlite3.SQLITE_NOMEM, StoreBusyError),
        (sqlite3.SQLITE_IOERR_FSYNC, StoppedError),  # the kernel has dropped the pages: no second try tells the truth
        (sqlite3.SQLITE_CORRUPT, StoppedError),
        (sqlite3.SQLITE_CORRUPT_INDEX, StoppedError),
        (sqlite3.SQLITE_NOTADB, StoppedError),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoppedError),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.OperationalError),  # our own fault: loudly
        (sqlite3.SQLITE_ERROR, sqlite3.OperationalError),
    ],
)
def test_an_error_of_sqlite_is_passing_final_or_ours(code: int, kind: type[Exception]) -> None:
    assert type(failure(an_error(code), "/x")) is kind


def test_a_database_whose_owner_was_killed_is_checked(path: Path, store: SqliteStore) -> None:
    add(store, 2000)
    store.checkpoint()
    add(store, 1)
    crashed = path.parent / "crashed"
    crashed.mkdir()
    for name in ("tasks.db", "tasks.db-wal"):
        shutil.copy(path.parent / name, crashed / name)
    with (crashed / "tasks.db").open("r+b") as file:
        file.seek(4096 * 12)
        file.write(b"\xff" * 4096 * 4)

    with pytest.raises(StoppedError, match=r"damaged|malformed"):
        SqliteStore(str(crashed / "tasks.db"))

    assert "tasks.db.lock" not in os.listdir(crashed)


def test_what_is_no_database_of_ours_is_refused(path: Path) -> None:
    path.write_bytes(b"this is a text file, not a database" * 100)
    with pytest.raises(StoppedError, match="not a database"):
        SqliteStore(str(path))

    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE cat (name)")
    other.close()
    with pytest.raises(StoppedError, match="no task database of ours"):
        SqliteStore(str(path))
    assert [name for name in os.listdir(path.parent) if name.endswith(".lock")] == []


@pytest.mark.parametrize("where", ["/no/such/folder/tasks.db", "/proc/version", "/tmp"])
def test_a_database_out_of_reach_is_one_clear_error(where: str) -> None:
    with pytest.raises(StoppedError, match=where):
        SqliteStore(where)


# --- Schema ---


@pytest.mark.parametrize("statement", ["BEGIN", "PRAGMA user_version", "PRAGMA application_id", "SELECT 1"])
def test_who_looks_while_the_tables_are_made_sees_a_database_of_ours_or_an_empty_one(
    path: Path, statement: str
) -> None:
    """Its tables are there, and its mark as well, at whatever statement of the look they appear."""
    # Given an empty file, as its owner has made it
    with contextlib.closing(sqlite3.connect(path)) as owner:
        owner.execute("PRAGMA journal_mode = WAL")

    class Looking(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql.startswith(statement):
                SqliteStore(str(path)).close()
            return super().execute(sql, *values)

    # When the tables come while somebody looks
    with contextlib.closing(sqlite3.connect(path, factory=Looking, isolation_level=None)) as connection:
        version = schema._version(connection, str(path))

    assert version == (len(schema.STEPS) if statement in ("BEGIN", "PRAGMA user_version") else 0)


def test_a_newer_schema_is_refused(path: Path, store: SqliteStore) -> None:
    store._engine.execute("PRAGMA user_version = 99")
    store.close()

    with pytest.raises(StoppedError, match="schema 99"):
        SqliteStore(str(path))


def test_an_older_schema_is_brought_forward_and_a_copy_is_kept(path: Path, store: SqliteStore) -> None:
    add(store, 3)
    store.close()
    steps = (*schema.STEPS, "ALTER TABLE task ADD COLUMN colour TEXT; UPDATE task SET colour = 'red'")
    connection = sqlite3.connect(path, isolation_level=None)

    schema.migrate(connection, str(path), T0, steps)
    schema.migrate(connection, str(path), T0, steps)

    assert connection.execute("SELECT DISTINCT colour FROM task").fetchall() == [("red",)]
    latest = len(steps)
    assert connection.execute("SELECT version FROM migration").fetchall() == [(n + 1,) for n in range(latest)]
    connection.close()
    kept = sqlite3.connect(f"{path}.before-schema-{latest}")
    assert kept.execute("SELECT count(*) FROM task").fetchone() == (3,)
    assert kept.execute("PRAGMA user_version").fetchone() == (latest - 1,)
    kept.close()


def test_a_migration_that_fails_changes_nothing_and_can_be_tried_again(path: Path, store: SqliteStore) -> None:
    store.close()
    connection = sqlite3.connect(path, isolation_level=None)
    bad = (*schema.STEPS, "CREATE TABLE a (x); CREATE TABLE a (x)")

    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        schema.migrate(connection, str(path), T0, bad)
    schema.migrate(connection, str(path), T0, (*schema.STEPS, "CREATE TABLE a (x)"))

    assert connection.execute("PRAGMA user_version").fetchone() == (len(bad),)
    connection.close()


# --- Network file systems ---


def on_nfs(folder: str) -> str:
    return NETWORK_NAMES[0x6969] if folder else ""


def elsewhere(host: str = "other", pid: int = 77) -> Owner:
    return Owner("hs-scheduler", brief=False, host=host, boot=f"boot-of-{host}", pid=pid, uuid=f"uuid-of-{host}-{pid}")


def here() -> Owner:
    return this_process("hs-scheduler", brief=False)


def left_by(path: Path, owner: Owner, now: float, statfs: Callable[[str], str] = on_nfs) -> None:
    """Leave the database as an owner that was killed does."""
    kill(Database(str(path), owner, now, statfs))


def kill(database: Database) -> None:
    """Leave everything as it is; the kernel closes what is open."""
    database.connection.close()
    if database._lock is not None:
        os.close(database._lock._fd)


def test_on_a_network_file_system_there_is_no_shared_memory_file(path: Path) -> None:
    """WAL works without one when the lock is exclusive; others are shut out."""
    database = Database(str(path), here(), T0, on_nfs)

    assert database.network == "NFS"
    assert database.connection.execute("PRAGMA locking_mode").fetchone() == ("exclusive",)
    assert database.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert f"{path.name}-shm" not in os.listdir(path.parent)
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("SELECT count(*) FROM task")
    other.close()
    database.close()


def test_a_local_database_has_no_owner_row(path: Path) -> None:
    database = Database(str(path), here(), T0, lambda _: "")

    assert database.connection.execute("SELECT count(*) FROM owner").fetchone() == (0,)
    database.renew_owner(T0 + 30)
    database.close()


def test_an_owner_on_another_host_keeps_us_out_until_it_is_three_renewals_silent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "WATCH_S", 0.5)
    left_by(path, elsewhere(), T0)

    with pytest.raises(StoppedError, match="owned by hs-scheduler on host other, pid 77"):
        Database(str(path), here(), T0 + ownership.STALE_S - 1, on_nfs)
    with pytest.raises(StoppedError, match="owned by hs-scheduler on host other"):
        Database(str(path), here(), T0 - 1000, on_nfs)

    database = Database(str(path), here(), T0 + ownership.STALE_S, on_nfs)
    assert database.connection.execute("SELECT pid FROM owner").fetchone() == (os.getpid(),)
    database.close()


def test_our_own_host_is_let_in_at_once(path: Path) -> None:
    """There the lock file has told already that the owner is dead."""
    left_by(path, here()._replace(pid=1, uuid="old"), T0)

    Database(str(path), here(), T0 + 1, on_nfs).close()


def test_a_clean_end_takes_the_row_away(path: Path) -> None:
    Database(str(path), elsewhere(), T0, on_nfs).close()

    Database(str(path), here(), T0 + 1, on_nfs).close()


def test_a_renewal_keeps_others_out_longer(path: Path) -> None:
    database = Database(str(path), elsewhere(), T0, on_nfs)
    database.renew_owner(T0 + 80)
    kill(database)

    with pytest.raises(StoppedError, match="owned by hs-scheduler on host other"):
        Database(str(path), here(), T0 + 100, on_nfs)


def test_who_lost_the_row_stops(path: Path) -> None:
    database = Database(str(path), here(), T0, on_nfs)
    database.connection.execute("UPDATE owner SET uuid = 'taken'")

    with pytest.raises(StoppedError, match="taken over"):
        database.renew_owner(T0 + 30)

    database.close()


def test_without_locks_on_a_network_file_system_the_row_decides(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)

    with pytest.raises(StoppedError, match="cannot lock"):
        Database(str(path), here(), T0, lambda _: "")
    left_by(path, elsewhere(), T0)
    with pytest.raises(StoppedError, match="owned by host other"):
        Database(str(path), here(), T0 + 1, on_nfs)


def test_the_lock_file_names_its_owner(path: Path, store: SqliteStore) -> None:
    content = json.loads(Path(f"{path}.lock").read_text())

    assert content.keys() == {"program", "brief", "host", "boot", "pid", "uuid", "control", "renewed_at"}
    assert (content["pid"], content["host"]) == (os.getpid(), os.uname().nodename)
    assert len(content["boot"]) == 36
