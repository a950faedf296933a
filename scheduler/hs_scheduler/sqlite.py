"""The store in a SQLite file: the only truth about the tasks of a run, or of a standing queue.

Per task one INSERT and one UPDATE; a claim of a row that waited is another UPDATE. The counts are kept beside the file's content
and are counted once, when the run is opened. Scope: with a run id the store shows and dispatches that run's tasks only; with the
zero id (a standing queue, --restart of a whole database) every task in the file.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from types import TracebackType
from typing import Any, NamedTuple

from hs_common.clock import wall
from hs_common.errors import InvalidTransitionError
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task
from hs_scheduler import statements, verdict
from hs_scheduler.database import Database
from hs_scheduler.fields import FIELDS, shown
from hs_scheduler.ownership import this_process
from hs_scheduler.store import Applied, Counts, Held, InputState, NewTask, Ready, Retry, Settled, State
from hs_scheduler.uids import Uids

NO_RUN = bytes(16)
"""The run id of a scheduler whose database is not of one run."""

_ROWS_MAX = 500
"""Parameters in one statement."""


class RunRecord(NamedTuple):
    """A run as the database remembers it."""

    uid: bytes
    settings: dict[str, Any]
    start_time: float
    end_time: float | None
    status: int | None


class SqliteStore:
    """Keeps tasks in a file that this process owns until `close`.

    Args:
        path: The database; made if it is missing.
        program: Who we are, for those who are refused meanwhile.
        brief: Whether we own it for a moment only, so that others wait.

    Raises:
        StoppedError: Owned by another process, damaged, of a newer schema, or out of reach.

    """

    def __init__(self, path: str, *, program: str = "hs-scheduler", brief: bool = False) -> None:
        self.counts = Counts()
        self._database = Database(path, this_process(program, brief=brief), wall())
        self._host = os.uname().nodename
        self._uids = Uids()
        self._run: int | None = None
        self._whole = True
        self._open = False
        self._places: dict[bytes, int] = {}
        self._folders: dict[int, bytes] = {}
        self._worker_numbers: dict[bytes, int] = {}
        with self._database.translated():
            (self._last_row,) = self._execute(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'task'"
            ).fetchone()

    @property
    def path(self) -> str:
        """The file."""
        return self._database.path

    @property
    def network(self) -> str:
        """The network file system that it is on, or ""."""
        return self._database.network

    def close(self) -> None:
        """Write the log back and give up ownership; may be called twice."""
        self._database.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Begin now and commit at the end."""
        return _Transaction(self)

    def renew_owner(self, now: float) -> None:
        """Say that we are alive, where a row says who owns the database; call it every `ownership.RENEW_S`."""
        self._database.renew_owner(now)

    def checkpoint(self) -> None:
        """Write the log back, when there is nothing else to do."""
        self._database.checkpoint()

    # --- Runs ---

    def take_epoch(self, cluster: bytes = b"") -> int:
        """Commit and return the next epoch; what workers of another cluster had is NEW again."""
        with self.transaction():
            self._enter_cluster(cluster)
            (epoch,) = self._execute(
                "UPDATE meta SET value = value + 1 WHERE name = 'epoch' RETURNING value"
            ).fetchone()
        return int(epoch)

    def open_run(self, run_id: bytes, settings: dict[str, Any], now: float, *, whole: bool = False) -> dict[str, Any]:
        """Record the run once, count what is there, return the settings in force; the zero id means the whole database."""
        if run_id != NO_RUN:
            with self.transaction():
                self._execute(
                    "INSERT INTO run (uid, settings, host, start_time) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (uid) DO UPDATE SET end_time = NULL, status = NULL",
                    (run_id, json.dumps(settings), self._host, now),
                )
                self._run, recorded = self._execute("SELECT run, settings FROM run WHERE uid = ?", (run_id,)).fetchone()
                settings = json.loads(recorded)
            self._whole = whole
        self._count()
        return settings

    def close_run(self, run_id: bytes, now: float, status: int) -> None:
        """Note how the run ended."""
        with self.transaction():
            self._execute("UPDATE run SET end_time = ?, status = ? WHERE uid = ?", (now, status, run_id))

    def last_run(self) -> RunRecord | None:
        """Return the run that was started last, or None."""
        with self._database.translated():
            row = self._execute(
                "SELECT uid, settings, start_time, end_time, status FROM run ORDER BY run DESC"
            ).fetchone()
        return None if row is None else RunRecord(row[0], json.loads(row[1]), *row[2:])

    def others(self) -> int:
        """Return how many unfinished tasks of other runs the database holds."""
        if self._whole:
            return 0
        with self._database.translated():
            (count,) = self._execute(
                "SELECT count(*) FROM task WHERE state < 3 AND run IS NOT ?", (self._run,)
            ).fetchone()
        return int(count)

    def input_state(self) -> InputState | None:
        """Return how far the input of this run was read, or None."""
        with self._database.translated():
            row = self._execute("SELECT * FROM input WHERE run = ?", (self._run or 0,)).fetchone()
        if row is None:
            return None
        _, path, device, inode, size, modified_ns, offset, line, tags, ended = row
        return InputState(
            path=os.fsdecode(path),
            device=int(device),
            inode=int(inode),
            size=size,
            modified_ns=modified_ns,
            offset=offset,
            line=line,
            tags=statements.tags_of(tags),
            ended=bool(ended),
        )

    def save_input(self, state: InputState) -> None:
        """Note how far the input was read."""
        self._writing()
        self._execute(
            statements.SAVE_INPUT,
            (
                self._run or 0,
                os.fsencode(state.path),
                # As text: both are unsigned, and SQLite has signed integers only.
                str(state.device),
                str(state.inode),
                state.size,
                state.modified_ns,
                state.offset,
                state.line,
                json.dumps(state.tags),
                state.ended,
            ),
        )

    # --- Tasks ---

    def add(self, tasks: Sequence[NewTask], bundles: Sequence[int], cwd: bytes, now: float) -> list[Task]:
        """Insert tasks; those with a bundle are ASSIGNED to it at once, with dispatch 1."""
        self._writing()
        run, place = self._run, self._place(cwd)
        plain: list[tuple[Any, ...]] = []
        full: list[tuple[Any, ...]] = []
        added = []
        row, assigned, rejected = self._last_row, 0, 0
        uids = self._uids.take(len(tasks), now)
        for (args, detail, group, priority, reason), bundle, uid in zip(tasks, bundles, uids, strict=True):
            row += 1
            head: tuple[Any, ...]
            if reason:
                rejected += 1
                head = (row, State.REJECTED, 0, None, now, None, run, place, uid, args)
            elif bundle:
                assigned += 1
                head = (row, 1, 1, bundle, now, now, run, place, uid, args)
            else:
                head = (row, 0, 0, None, now, None, run, place, uid, args)
            if detail is None and not (reason or group or priority):
                plain.append(head)
            else:
                end = (reason, now) if reason else (None, None)
                full.append((*head, group, priority, *end, *statements.detail_values(detail)))
            added.append(Task(row, uid, 1, 1, args, detail))
        if plain:
            self._executemany(statements.INSERT_PLAIN, plain)
        if full:
            self._executemany(statements.INSERT_FULL, full)
        self._last_row = row
        self.counts.assigned += assigned
        self.counts.failed += rejected
        self.counts.new += len(tasks) - assigned - rejected
        return added

    def ready(self, count: int) -> list[Ready]:
        """Return up to `count` NEW rows of the lowest group that has one, in the order of dispatch."""
        index = "task_ready" if self._whole else "task_ready_in_run"
        statement = self._scoped(statements.READY).replace("{index}", index)
        with self._database.translated():
            rows = self._execute(statement, {"count": count, "run": self._run}).fetchall()
            folders = self._folders
            found = []
            for row, uid, dispatch, attempt, args, timeout, cores, memory, tag, template, place, group in rows:
                detail = statements.detail_of(timeout, cores, memory, tag, template)
                cwd = folders.get(place)
                if cwd is None:
                    (cwd,) = self._execute("SELECT cwd FROM place WHERE place = ?", (place,)).fetchone()
                    folders[place] = cwd
                found.append(Ready(Task(row, uid, dispatch + 1, attempt, args, detail), cwd, group))
        return found

    def failed_group(self) -> int | None:
        """Return the lowest group with a finally failed task, or None."""
        if not self.counts.failed:
            return None
        group: int | None = next(self._read(self._scoped(statements.FAILED_GROUP)))[0]
        return group

    def assign(self, bundles: Iterable[tuple[int, Sequence[Task]]], now: float) -> None:
        """NEW -> ASSIGNED."""
        self._writing()
        values = [(task.dispatch, bundle, now, task.row, task.dispatch) for bundle, tasks in bundles for task in tasks]
        changed = self._executemany(statements.ASSIGN, values)
        if changed != len(values):
            raise InvalidTransitionError(f"{len(values) - changed} of {len(values)} rows to assign are not NEW")
        self.counts.new -= changed
        self.counts.assigned += changed

    def started(self, worker: bytes, host: str, started: Sequence[Started]) -> None:
        """ASSIGNED -> RUNNING where row and dispatch match."""
        self._writing()
        number = self._worker_number(worker, host)
        self._executemany(statements.STARTED, [(number, item.start, item.row, item.dispatch) for item in started])

    def record(self, worker: bytes, host: str, outcomes: Sequence[Outcome], retry: Retry, now: float) -> list[Applied]:
        """Apply outcomes, each at most once; insert retry rows; return what was applied."""
        self._writing()
        number = self._worker_number(worker, host)
        if any(outcome.kind != OutcomeKind.FINISHED for outcome in outcomes):
            return self._record_each(number, outcomes, retry, now)
        # The usual case: every outcome is the first one of a present dispatch. That shows only afterwards; if it was not so,
        # it is undone and looked at one by one.
        self._execute("SAVEPOINT record")
        values = [(number, *verdict.ending(outcome, now), outcome.row, outcome.dispatch) for outcome in outcomes]
        if self._executemany(statements.FINISH, values) != len(values):
            self._execute("ROLLBACK TO record")
            self._execute("RELEASE record")
            return self._record_each(number, outcomes, retry, now)
        self._execute("RELEASE record")
        self.counts.assigned -= len(outcomes)
        applied = []
        succeeded = 0
        for outcome in outcomes:
            if outcome.status or outcome.reason:
                applied.append(self._ended(outcome, 1, State.DONE, retry, now))
            else:
                succeeded += 1
                applied.append(Applied(outcome.row, outcome, State.DONE, False, False))  # noqa: FBT003 - by name costs here
        self.counts.succeeded += succeeded
        return applied

    def release(self, rows: Sequence[tuple[int, int]]) -> int:
        """ASSIGNED or RUNNING -> NEW where row and dispatch match."""
        self._writing()
        changed = self._executemany(statements.RELEASE, rows)
        self.counts.assigned -= changed
        self.counts.new += changed
        return changed

    def held(self) -> Iterator[Held]:
        """Yield every ASSIGNED or RUNNING row."""
        # Without an index, for it would cost each task something; the counts say when there is nothing to look for.
        if self.counts.assigned:
            for bundle, row, dispatch, worker, group in self._read(self._scoped(statements.HELD)):
                yield Held(bundle, row, dispatch, worker or b"", group)

    def failures(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each finally failed task, in the order of input."""
        for args, *detail, group, priority in self._read(self._scoped(statements.FAILURES)):
            yield args, statements.detail_of(*detail), group, priority

    def failures_before(self, instant: float) -> int:
        """Return how many of the finally failed tasks ended before `instant` (seconds since the epoch)."""
        if not self.counts.failed:
            return 0
        with self._database.translated():
            values = {"run": self._run, "instant": instant}
            (count,) = self._execute(self._scoped(statements.FAILURES_BEFORE), values).fetchone()
        return int(count)

    def submitted(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each task, its retries left out, whatever run it is of."""
        for args, *detail, group, priority in self._read(statements.SUBMITTED):
            yield args, statements.detail_of(*detail), group, priority

    def retry_failed(self, now: float) -> int:
        """Insert another attempt of each finally failed task, and return how many.

        Not of lines that were REJECTED before anybody ran them: they are not whole in the store, and never will run.
        """
        with self._database.translated():
            rows = [row for (row,) in self._execute(self._scoped(statements.FAILED_ROWS), {"run": self._run})]
        anew = Retry(statements.ATTEMPTS_MAX, eager=False)
        with self.transaction():
            for row in rows:
                self._retry(row, anew, now)
        self._count()
        return len(rows)

    def finished(self, rows: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """Yield the public fields of ended attempts: of these rows, or of all in the order of completion."""
        if rows is None:
            for row in self._read(self._scoped(statements.ENDED)):
                yield _public(row)
            return
        for start in range(0, len(rows), _ROWS_MAX):
            some = rows[start : start + _ROWS_MAX]
            marks = ", ".join("?" * len(some))
            with self._database.translated():
                found = self._execute(
                    f"{statements.PUBLIC} WHERE task.state >= 3 AND task.row IN ({marks})", some
                ).fetchall()
            ended = {row[0]: row for row in found}
            for number in some:
                if number in ended:
                    yield _public(ended[number])

    def settled(self, after: int, count: int) -> list[Settled]:
        """Return up to `count` tasks of the input behind this row, in its order."""
        values = {"after": after, "count": count, "run": self._run}
        with self._database.translated():
            found = []
            for row, state, following in self._execute(self._scoped(statements.INPUT_ORDER), values).fetchall():
                last = row
                while following is not None:
                    last = following
                    state, following = self._execute("SELECT state, next FROM task WHERE row = ?", (last,)).fetchone()  # noqa: PLW2901 - of the last
                found.append(Settled(row, last, state >= State.DONE))
            return found

    # --- Workers ---

    def workers(self) -> set[bytes]:
        """Return the incarnations that were attached when the store was last written."""
        return {uid for (uid,) in self._read("SELECT uid FROM worker WHERE attached")}

    def worker_attached(self, worker: bytes, replaces: bytes, host: str, now: float) -> None:
        """Remember it, instead of `replaces`."""
        self._writing()
        self._execute("UPDATE worker SET attached = 0 WHERE uid = ?", (replaces,))
        number = self._worker_number(worker, host)
        self._execute("UPDATE worker SET attached = 1, attached_at = ?, host = ? WHERE worker = ?", (now, host, number))

    def worker_gone(self, worker: bytes) -> None:
        """Forget it."""
        self._writing()
        self._execute("UPDATE worker SET attached = 0 WHERE uid = ?", (worker,))

    # --- What the transaction uses ---

    def _begin(self) -> None:
        if self._open:
            raise InvalidTransitionError("a transaction is open already")
        with self._database.translated():
            self._execute("BEGIN IMMEDIATE")
        self._open = True
        self._before = (replace(self.counts), self._last_row)

    def _commit(self) -> None:
        self._database.check_file()
        with self._database.translated():
            self._execute("COMMIT")
        self._open = False

    def _roll_back(self) -> None:
        self._open = False
        self._database.roll_back()
        counts, self._last_row = self._before
        for field in fields(counts):
            setattr(self.counts, field.name, getattr(counts, field.name))
        # They may name rows that are gone now.
        self._places.clear()
        self._folders.clear()
        self._worker_numbers.clear()

    # --- Private ---

    def _execute(self, statement: str, values: Sequence[Any] | dict[str, Any] = ()) -> Any:  # noqa: ANN401 - a cursor
        return self._database.connection.execute(statement, values)

    def _executemany(self, statement: str, values: Sequence[Sequence[Any]]) -> int:
        """Run it for each and return how many rows changed in all."""
        return self._database.connection.executemany(statement, values).rowcount if values else 0

    def _read(self, statement: str) -> Iterator[Any]:
        with self._database.translated():
            yield from self._execute(statement, {"run": self._run} if ":run" in statement else ())

    def _scoped(self, statement: str) -> str:
        return statement.replace("{scope}", "" if self._whole else "AND task.run = :run")

    def _writing(self) -> None:
        if not self._open:
            raise InvalidTransitionError("writing outside a transaction")

    def _count(self) -> None:
        statement = self._scoped(statements.COUNTS)
        counts = dict.fromkeys((field.name for field in fields(Counts)), 0)
        for state, failed, retried, count in self._read(statement):
            match state:
                case State.NEW:
                    name = "new"
                case State.ASSIGNED | State.RUNNING:
                    name = "assigned"
                case State.CANCELLED:
                    name = "cancelled"
                case _:
                    name = "retried" if retried else "failed" if failed else "succeeded"
            counts[name] += count
        for name, count in counts.items():
            setattr(self.counts, name, count)

    def _enter_cluster(self, cluster: bytes) -> None:
        number = int.from_bytes(cluster[:8]) >> 1  # an integer of SQLite is signed
        (before,) = self._execute("SELECT max(value) FROM meta WHERE name = 'cluster'").fetchone()
        if not cluster or before == number:
            return
        self._execute("INSERT OR REPLACE INTO meta VALUES ('cluster', ?)", (number,))
        if before is None:
            return
        self._execute("UPDATE worker SET attached = 0 WHERE attached")
        if self.counts.assigned:
            changed = self._execute(self._scoped(statements.RELEASE_ALL), {"run": self._run}).rowcount
            self.counts.assigned -= changed
            self.counts.new += changed

    def _place(self, cwd: bytes) -> int:
        place = self._places.get(cwd)
        if place is None:
            values = (self._host, cwd)
            self._execute("INSERT OR IGNORE INTO place (host, cwd) VALUES (?, ?)", values)
            (place,) = self._execute("SELECT place FROM place WHERE host = ? AND cwd = ?", values).fetchone()
            self._places[cwd] = place
        return place

    def _worker_number(self, worker: bytes, host: str) -> int:
        number = self._worker_numbers.get(worker)
        if number is None:
            self._execute("INSERT OR IGNORE INTO worker (uid, host, attached) VALUES (?, ?, 0)", (worker, host))
            (number,) = self._execute("SELECT worker FROM worker WHERE uid = ?", (worker,)).fetchone()
            self._worker_numbers[worker] = number
        return number

    def _record_each(self, worker: int, outcomes: Sequence[Outcome], retry: Retry, now: float) -> list[Applied]:
        applied = []
        for outcome in outcomes:
            found = self._execute(statements.LOOK, (outcome.row,)).fetchone()
            if found is None or not verdict.counts(outcome, found[0], found[1]):
                continue
            before, _, attempt, crashes = found
            state = verdict.state_after(outcome, crashes)
            crashes += outcome.kind == OutcomeKind.CRASHED
            if before == State.NEW:
                self.counts.new -= 1
            else:
                self.counts.assigned -= 1
            if state == State.NEW:
                self._execute(statements.TO_NEW, (crashes, outcome.row))
                self.counts.new += 1
                applied.append(Applied(outcome.row, outcome, state, failed=False, retried=False))
            else:
                self._execute(statements.END, (state, crashes, worker, *verdict.ending(outcome, now), outcome.row))
                applied.append(self._ended(outcome, attempt, state, retry, now))
        return applied

    def _ended(self, outcome: Outcome, attempt: int, state: State, retry: Retry, now: float) -> Applied:
        """Count a row that has just ended, and insert its retry; attempt: at most the row's own."""
        failed = verdict.failed(outcome, state)
        retried = verdict.retries(outcome, attempt, retry.retries_max) and self._retry(outcome.row, retry, now)
        if retried:
            self.counts.retried += 1
            self.counts.new += 1
        elif failed:
            self.counts.failed += 1
        elif state == State.CANCELLED:
            self.counts.cancelled += 1
        else:
            self.counts.succeeded += 1
        return Applied(outcome.row, outcome, state, failed, retried)

    def _retry(self, row: int, retry: Retry, now: float) -> bool:
        """Insert the next attempt of a row, if it has one left."""
        values = {
            "row": self._last_row + 1,
            "uid": self._uids.take(1, now)[0],
            "late": -1 if retry.eager else 1,
            "now": now,
            "previous": row,
            "retries_max": retry.retries_max,
        }
        if not self._execute(statements.INSERT_RETRY, values).rowcount:
            return False
        self._last_row += 1
        self._execute(statements.LINK_RETRY, (self._last_row, row))
        return True


class _Transaction:
    """The block between BEGIN IMMEDIATE and COMMIT."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store._begin()  # noqa: SLF001 - a part of the store

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        store = self._store
        if error is None:
            try:
                store._commit()  # noqa: SLF001
            except BaseException:
                store._roll_back()  # noqa: SLF001
                raise
            return
        store._roll_back()  # noqa: SLF001
        if isinstance(error, sqlite3.Error):
            raise store._database.failure(error) from error  # noqa: SLF001


def _public(row: Sequence[Any]) -> dict[str, Any]:
    return {field.name: shown(field, raw) for field, raw in zip(FIELDS, row[1:], strict=True)}
