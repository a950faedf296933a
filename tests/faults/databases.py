"""Where a trial keeps its tasks, and what can befall such a place: a file, or a server of the trial's own."""

import signal
import sqlite3
import time
from contextlib import closing
from typing import Any, Protocol

import psycopg
from tests.faults.home import Home
from tests.faults.lines import Line
from tests.faults.oracle import Row
from tests.faults.processes import until
from tests.postgres_server import PostgresServer

from hs_scheduler.stores import schema
from hs_scheduler.stores.engines import open_store, owner_of
from hs_scheduler.tasks.state import State

TERMINATE_EACH_S = 1.0
LOOK_S = 0.05

APPEAR_S = 10.0
"""Until the scheduler has opened its database, or will not any more."""

REFUSED = 3
"""Exit status of a second scheduler."""

_SCHEMA = "trial"
_AUDIT = f"WHEN (NEW.state >= {State.DONE:d})"


class Database(Protocol):
    """A place for tasks, with a trigger in it that counts each time a row reaches an end: a primary key hides overwrites."""

    location: str
    line: Line | None
    """By which a run reaches it."""

    def ask(self, query: str) -> list[Any]:
        """Return the rows of a query: no code of ours between them and the judge."""

    def befall(self, what: str, seconds: float, home: Home) -> int:
        """Let it happen; return how often it did."""

    def close(self) -> None:
        """Remove what is not in the home."""


class SqliteFile:
    """A file in the home."""

    line: Line | None = None

    def __init__(self, home: Home) -> None:
        self.location = home.path("tasks.db")

    def install_audit(self) -> None:
        """Make the database with the trigger."""
        with closing(sqlite3.connect(self.location, isolation_level=None)) as db:
            schema.migrate(db, self.location, time.time())
            db.execute("CREATE TABLE audit (row INTEGER NOT NULL)")
            db.execute(
                f"CREATE TRIGGER audit AFTER UPDATE OF state ON task {_AUDIT} BEGIN INSERT INTO audit VALUES (NEW.row); END"
            )

    def ask(self, query: str) -> list[Any]:
        """Return the rows."""
        with closing(sqlite3.connect(f"file:{self.location}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    def befall(self, what: str, seconds: float, home: Home) -> int:
        """Lock it, as another program does that writes."""
        assert what == "lock", what
        with closing(sqlite3.connect(self.location, isolation_level=None, timeout=10)) as db:
            db.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            db.execute("ROLLBACK")
        return 1

    def close(self) -> None:
        """Do nothing: the home is removed."""


class Server:
    """A schema on a server that nobody else uses. `lined`: whether the run reaches it by a line that may be disturbed."""

    def __init__(self, *, lined: bool = False) -> None:
        self._server = PostgresServer()
        self._server.start()
        self._here = self.location = self._server.new_schema(_SCHEMA)
        self.line = Line(self._server.socket) if lined else None
        if self.line:
            self.location = self._server.url(_SCHEMA, port=self.line.port)

    def install_audit(self) -> None:
        """Make the tables with the trigger."""
        open_store(self._here, create=True).close()
        with psycopg.connect(self._here, autocommit=True) as session:
            session.execute("CREATE TABLE audit (row BIGINT NOT NULL)")
            session.execute(
                "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN INSERT INTO audit VALUES (NEW.row); RETURN NULL; END $$"
            )
            trigger = (
                f"CREATE TRIGGER audit AFTER UPDATE OF state ON task FOR EACH ROW {_AUDIT} EXECUTE FUNCTION audit()"
            )
            session.execute(trigger.encode())

    def ask(self, query: str) -> list[Any]:
        """Return the rows; bytes as SQLite's are."""
        with psycopg.connect(self._here, autocommit=True) as session:
            return session.execute(query.encode()).fetchall()

    def befall(self, what: str, seconds: float, home: Home) -> int:
        """Crash or stop the server, end its sessions, lock its table, or start a second scheduler."""
        # A run that has not begun yet ends where its server is out of reach: nothing is promised of it.
        if what in ("crash", "pause") and not until(self._is_served, APPEAR_S):
            return 0
        match what:
            case "crash":
                self._server.stop(signal.SIGQUIT)
                time.sleep(seconds)
                self._server.start()
                return 1
            case "pause":
                with self._server.paused():
                    time.sleep(seconds)
                return 1
            case "terminate":
                return self._terminate(seconds)
            case "lock":
                with psycopg.connect(self.location) as session:
                    session.execute("LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
                    time.sleep(seconds)
                return 1
            case "second":
                return self._second(home)
        raise AssertionError(what)

    def close(self) -> None:
        """Remove the server."""
        self._server.remove()

    def _is_served(self) -> bool:
        """Whether a scheduler has opened it, and says how it is reached."""
        owner = owner_of(self.location)
        return owner is not None and bool(owner.control)

    def _second(self, home: Home) -> int:
        """Start another run without a task, which is refused while the first one has the database."""
        if not until(lambda: owner_of(self.location) is not None, APPEAR_S):
            return 0
        done = home.run("hs-cluster", "--database", self.location)
        if done.returncode == 0 and owner_of(self.location) is None:
            return 0  # the first one was over by then
        assert done.returncode == REFUSED, done
        assert b" is owned by hs-scheduler on host " in done.stderr, done
        return 1

    def _terminate(self, seconds: float) -> int:
        """End the schedulers' sessions each second."""
        count, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            (ended,) = self.ask(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'hs-scheduler%'"
            )[0]
            count += ended
            time.sleep(TERMINATE_EACH_S if ended else LOOK_S)
        return count


def applied(database: Database) -> dict[int, int]:
    """Return how often the row of each task reached an end."""
    rows = database.ask("SELECT task.args, count(*) FROM audit JOIN task ON task.row = audit.row GROUP BY 1")
    return {int(args): count for args, count in rows}


def rows(database: Database) -> list[Row]:
    """Return the rows as they stand in the database."""
    found = database.ask("SELECT args, state, exit_status, dispatch FROM task")
    return [Row(int(args), State(state).name, status, dispatch) for args, state, status, dispatch in found]
