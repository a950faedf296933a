"""What only the store on a server does: it loses its session, and finds out what became of its work."""

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from tests.faults.processes import PATIENCE_S, until
from tests.postgres_server import PostgresServer

from hs_common.errors import RefusedError, StoppedError
from hs_common.tasks import Outcome, OutcomeKind, Task
from hs_scheduler.search.questions import Question, number_of
from hs_scheduler.stores import locations, postgres, postgres_schema, schema
from hs_scheduler.stores.changes import PIECE_ROWS, Action, Change, Piece
from hs_scheduler.stores.engines import open_reader, open_store, owner_of, was_lost
from hs_scheduler.stores.locations import shown
from hs_scheduler.stores.postgres_link import written
from hs_scheduler.stores.postgres_schema import written as step_of
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import Counts, NewTask, Retry, StoreBusyError
from hs_scheduler.tasks.filters import Filter

RUN = b"r" * 16
T0 = 1_700_000_000.0
TASK = NewTask(b"true", None, 0, 0, "")
SOCKET = ".s.PGSQL.5432"
TRIPS_MAX = 20
"""Of a piece; what is long goes in several."""
LOOKS = 200
"""With three statements instead of one some of them went wrong in each run."""
FAREWELL = b"X"
"""Source: PostgreSQL 15, section 55.7 (Terminate)."""


@pytest.fixture
def url(postgres_url: str) -> str:
    open_store(postgres_url, create=True).close()
    return postgres_url


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(open_store(url)) as one:
        one.open_run(RUN, {}, T0)
        yield one


def add(store: SqlStore, count: int = 1, bundle: int = 0) -> list[Task]:
    with store.transaction():
        return store.add([TASK] * count, [bundle] * count, b"/", T0)


def succeed(store: SqlStore, tasks: list[Task]) -> int:
    outcomes = [
        Outcome(task.row, task.dispatch, OutcomeKind.FINISHED, 0, "", T0, 0.5, 0.1, 0.1, 9, b"", b"", b"")
        for task in tasks
    ]
    with store.transaction():
        return len(store.record(b"w" * 16, "host", outcomes, Retry(0, eager=False), T0))


def count_of(url: str) -> int:
    with open_reader(url) as reader:
        return int(reader.execute("SELECT count(*) FROM task").fetchone()[0])


def end_sessions(url: str, program: str = "hs-scheduler") -> int:
    """End the schedulers' sessions, as an administrator may."""
    with psycopg.connect(url, autocommit=True) as session:
        found = session.execute(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE application_name LIKE %s",
            (f"{program}/%",),
        ).fetchone()
    assert found is not None
    return int(found[0])


class Wire:
    """A socket between us and the server, which counts what we send, and breaks when a COMMIT passes.

    Args:
        folder: Where its socket is made.
        server: The folder of the server's.

    """

    def __init__(self, folder: str, server: str) -> None:
        self.breaks_before = self.breaks_after = False
        self.sent = 0
        self._server = os.path.join(server, SOCKET)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.join(folder, SOCKET))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.socket(socket.AF_UNIX)
                with here, there, suppress(OSError):
                    there.connect(self._server)
                    self._pass_on(here, there)

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        """Pass bytes on until one side ends, or the wire breaks."""
        while True:
            ready, _, _ = select.select([here, there], [], [])
            for one in ready:
                given = one.recv(65536)
                if not given:
                    return
                self.sent += one is here and given[:1] != FAREWELL
                commits = one is here and b"COMMIT" in given
                if commits and self.breaks_before:
                    self.breaks_before = False
                    return
                (there if one is here else here).sendall(given)
                if commits and self.breaks_after:
                    self.breaks_after = False
                    there.recv(65536)  # the server has done it, and nobody hears
                    return


@pytest.fixture
def wire(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    one = Wire(str(tmp_path_factory.mktemp("w")), postgres.folder)
    yield one
    one.close()


@pytest.fixture
def far(wire: Wire, url: str, postgres: PostgresServer) -> Iterator[SqlStore]:
    """A store at the other end of that wire."""
    folder = os.path.dirname(wire._listener.getsockname())
    with closing(open_store(url.replace(postgres.folder, folder))) as one:
        one.open_run(RUN, {}, T0)
        yield one


def test_a_commit_without_an_answer_that_was_done_is_not_done_again(wire: Wire, far: SqlStore, url: str) -> None:
    """It is looked up by the transaction's id; the caller notices nothing."""
    wire.breaks_after = True
    tasks = add(far, 3, bundle=1)

    assert not wire.breaks_after
    assert far.counts == Counts(assigned=3)
    wire.breaks_after = True
    assert succeed(far, tasks) == 3
    assert far.counts == Counts(succeeded=3)
    assert count_of(url) == 3


def test_a_commit_that_never_came_through_changed_nothing(wire: Wire, far: SqlStore, url: str) -> None:
    wire.breaks_before = True
    with pytest.raises(StoreBusyError):
        add(far, 3)

    assert (far.counts, count_of(url)) == (Counts(), 0)
    (task,) = add(far)
    assert (task.row, far.counts, count_of(url)) == (1, Counts(new=1), 1)


def test_a_count_takes_three_trips(wire: Wire, url: str, postgres: PostgresServer) -> None:
    """To be let in; to see that the tables are ours, in a transaction; to ask. Each one more is a wait on a busy host."""
    location = url.replace(postgres.folder, os.path.dirname(wire._listener.getsockname()))

    assert number_of(location, Question(filter=Filter(ended="failed"), fields=())) == 0

    assert wire.sent == 3


@pytest.mark.parametrize(
    "action", [Action.HOLD, Action.CANCEL, Action.RETRY, Action.REVERT, Action.DELETE, Action.NONE]
)
def test_a_change_of_a_piece_takes_a_few_trips(wire: Wire, far: SqlStore, action: Action) -> None:
    """Not one for each row: a scheduler that is asked for it would hear nobody meanwhile."""
    tasks = add(far, PIECE_ROWS, bundle=0 if action in (Action.HOLD, Action.CANCEL) else 1)
    if action not in (Action.HOLD, Action.CANCEL):
        outcomes = [
            Outcome(task.row, task.dispatch, OutcomeKind.FINISHED, 1 << 8, "", T0, 0.5, 0.1, 0.1, 9, b"", b"", b"")
            for task in tasks
        ]
        with far.transaction():
            far.record(b"w" * 16, "host", outcomes, Retry(0, eager=False), T0)
    change = Change(filter=Filter(), action=action, assignments=() if action is Action.DELETE else ("kind:x",))
    before = wire.sent

    with far.transaction():
        assert far.change(Piece(change, 1, PIECE_ROWS), T0).count == PIECE_ROWS

    assert wire.sent - before < TRIPS_MAX


def test_a_session_that_is_lost_between_transactions_is_replaced(store: SqlStore, url: str) -> None:
    add(store)
    assert end_sessions(url) == 1
    add(store)
    assert end_sessions(url) == 1
    assert len(store.ready(9)) == 2
    assert store.failed_group() is None


def test_a_session_that_is_lost_within_a_transaction_leaves_nothing_of_it(store: SqlStore, url: str) -> None:
    def lose() -> None:
        with store.transaction():
            store.add([TASK], [0], b"/", T0)
            end_sessions(url)
            store.release([(1, 1)])

    with pytest.raises(StoreBusyError):
        lose()
    assert (store.counts, count_of(url)) == (Counts(), 0)
    add(store)
    assert count_of(url) == 1


def test_a_long_answer_goes_on_after_a_lost_session(store: SqlStore, url: str) -> None:
    count = postgres.ROWS_AT_ONCE + 10
    add(store, count, bundle=1)
    held = store.held()

    rows = [next(held).row]
    assert end_sessions(url) == 1
    rows += [item.row for item in held]

    assert rows == list(range(1, count + 1))


def test_a_locked_table_is_busy_and_a_question_waits_with_whoever_has_to_beat(store: SqlStore, url: str) -> None:
    beats = []
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreBusyError, match="lock"):
            add(store)

        def beat() -> None:
            beats.append(1)
            other.rollback()

        store.wait_with(beat)
        assert store.ready(1) == []
    assert beats == [1]
    add(store)


def test_a_second_scheduler_is_refused_and_told_who_is_there(store: SqlStore, url: str) -> None:
    with pytest.raises(
        StoppedError, match=rf"is owned by hs-scheduler on host {os.uname().nodename}, pid {os.getpid()}"
    ):
        open_store(url)

    owner = owner_of(url)
    assert owner is not None
    assert (owner.program, owner.pid, owner.brief) == ("hs-scheduler", os.getpid(), False)
    store.close()
    assert owner_of(url) is None


def test_a_database_is_free_as_soon_as_it_is_closed(url: str) -> None:
    """The server ends a session some time after its client: until then it would look owned."""
    for _ in range(30):
        open_store(url).close()
        assert owner_of(url) is None


def test_an_owner_that_lost_its_session_is_told_from_one_that_has_ended(store: SqlStore, url: str) -> None:
    """It will be back in a moment: who wants to ask it waits for that."""
    assert not was_lost(url)
    store.announce("/run/control.json")
    end_sessions(url)
    assert until(lambda: owner_of(url) is None)
    assert was_lost(url)

    add(store)
    assert owner_of(url) is not None
    store.close()
    assert not was_lost(url)


def test_two_schemas_are_two_task_databases(store: SqlStore, postgres: PostgresServer) -> None:
    with closing(open_store(postgres.new_schema("beside"), create=True)) as other:
        other.open_run(RUN, {}, T0)
        add(other)
    assert store.ready(1) == []


def test_what_was_submitted_while_the_session_was_lost_is_noticed(store: SqlStore, url: str) -> None:
    add(store)
    store.take_epoch()
    store.announce("/run/control.json")
    end_sessions(url)
    with closing(open_store(url, program="hs submit", brief=True)) as other:
        other.open_run(RUN, {}, T0)
        add(other, 2)

    (task,) = add(store)

    assert (task.row, store.counts) == (4, Counts(new=4))
    owner = owner_of(url)
    assert owner is not None
    assert owner.control == "/run/control.json", "commands find us as before"


def test_a_scheduler_that_was_replaced_meanwhile_ends(store: SqlStore, url: str) -> None:
    """The other one may have ended by then: only its epoch tells."""
    store.take_epoch()
    end_sessions(url)
    with closing(open_store(url)) as other:
        other.take_epoch()

    with pytest.raises(StoppedError, match="taken over by another scheduler"):
        add(store)


def test_a_row_number_is_never_given_twice(store: SqlStore, url: str) -> None:
    add(store, 5)
    with store.transaction():
        store._engine.execute("DELETE FROM task WHERE row > 2")
        store._engine.execute("DELETE FROM task")
    store.close()

    with closing(open_store(url)) as again:
        assert [task.row for task in add(again)] == [6]


@pytest.mark.parametrize("run", [RUN, bytes(16)])
def test_a_claim_follows_an_index_and_sorts_nothing(store: SqlStore, run: bytes) -> None:
    """Else the claim rate falls with the length of the queue; the server has seen no statistics yet."""
    store.open_run(run, {}, T0)
    add(store, 20_000)
    # What the server really did, not what it might do.
    store._engine.execute("LOAD 'auto_explain'")
    store._engine.execute("SET auto_explain.log_min_duration = 0")
    store._engine.execute("SET auto_explain.log_analyze = on")
    store._engine.execute("SET client_min_messages = log")
    notices: list[str] = []
    engine = store._engine
    assert isinstance(engine, postgres.PostgresDatabase)
    engine._connected().add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))

    assert len(store.ready(100)) == 100

    (plan,) = [text for text in notices if "late" in text and "plan:" in text]
    assert "Index Scan using task_ready" in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan


def test_a_server_without_tables_gets_them_only_when_asked(postgres_url: str) -> None:
    with pytest.raises(StoppedError, match="has no task tables yet: --initdb makes them"):
        open_store(postgres_url)
    with pytest.raises(StoppedError, match="has no task tables yet: hs initdb"), open_reader(postgres_url):
        pass


@pytest.mark.parametrize("table", ["migration (version BIGINT)", "task (row BIGINT)"])
def test_tables_of_others_are_left_alone(postgres_url: str, table: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute(f"CREATE TABLE {table}".encode())

    with pytest.raises(StoppedError, match="tables of other programs"):
        open_store(postgres_url, create=True)


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_who_looks_while_another_makes_the_tables_sees_all_of_them_or_none(postgres_url: str, level: str) -> None:
    """A look is of one moment: half of what one transaction made is never taken for the tables of somebody else."""
    migration = step_of(schema.STEPS[0])[0]
    made = f"BEGIN; CREATE TABLE task (); {migration}; INSERT INTO migration VALUES (3, 0, ''); COMMIT"
    begun, over = threading.Event(), threading.Event()

    def make_and_remove() -> None:
        with psycopg.connect(postgres_url, autocommit=True) as another:
            while not over.is_set():
                another.execute(made.encode())
                begun.set()
                another.execute("BEGIN; DROP TABLE task, migration; COMMIT")

    found = set()
    other = threading.Thread(target=make_and_remove)
    other.start()
    try:
        assert begun.wait(PATIENCE_S)
        with psycopg.connect(postgres_url, autocommit=True) as session:
            for _ in range(LOOKS):
                with session.transaction():
                    session.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
                    found.add(postgres_schema._looked_up(session, "it"))
                found.add(postgres_schema.version_of(session, "it"))
    finally:
        over.set()
        other.join()

    assert found <= {0, 3}


def test_a_newer_schema_is_refused(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("INSERT INTO migration VALUES (99, 0, 'a later one')")

    for use in (open_store, lambda location: open_reader(location).__enter__()):
        with pytest.raises(StoppedError, match="is at schema 99, this program knows"):
            use(url)


def test_an_older_schema_is_brought_forward(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr("hs_scheduler.stores.postgres_schema.STEPS", schema.STEPS[:1])
        with psycopg.connect(postgres_url, autocommit=True) as session:
            postgres_schema.migrate(session, "it", T0, create=True)

    open_store(postgres_url).close()

    with open_reader(postgres_url) as reader:
        assert reader.execute("SELECT max(version) FROM migration").fetchone() == (len(schema.STEPS),)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("a = ? AND b = :b", "a = %s AND b = %(b)s"),
        ("a::text = '?:b' AND \"c?\" = ?", "a::text = '?:b' AND \"c?\" = %s"),
        ("a LIKE '%' AND b % 2 = ?", "a LIKE '%%' AND b %% 2 = %s"),
    ],
)
def test_statements_are_written_as_the_driver_wants_them(statement: str, expected: str) -> None:
    assert written(statement) == expected


def test_a_step_of_the_schema_is_written_for_the_server() -> None:
    (table, index) = step_of(
        "CREATE TABLE t (one INTEGER PRIMARY KEY, a TEXT, b BLOB, c REAL, offset INTEGER) WITHOUT ROWID;\n"
        "CREATE INDEX i ON task (a, b DESC)\nWHERE (a = 1)"
    )
    assert table == (
        'CREATE TABLE t (one BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a TEXT COLLATE "C", b BYTEA,'
        ' c DOUBLE PRECISION, "offset" BIGINT)'
    )
    assert index == "CREATE INDEX i ON task (a, b DESC, row)\nWHERE (a = 1)"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/a/b.db", "/a/b.db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me:p@w@host/db", "postgresql://me@host/db"),
        ("postgres://:x@host:5/db?a=b", "postgres://@host:5/db?a=b"),
        ("postgresql://host/db?password=x&a=b", "postgresql://host/db?a=b"),
        ("postgresql://host/db?a=b&sslpassword=x", "postgresql://host/db?a=b"),
    ],
)
def test_a_location_is_shown_without_any_password(location: str, expected: str) -> None:
    assert shown(location) == expected


def test_without_the_driver_one_line_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('no such driver')")
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "hs"), "task", "search", "--database", "postgresql:///x"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "pip install 'hs-cluster[postgres]'" in done.stderr


def test_a_location_of_another_kind_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"mysql://\.\.\.: is neither a path nor a postgresql:// URL"):
        locations.is_url("mysql://me:secret@host/db")
