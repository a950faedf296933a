"""The store in an SQL database: the only truth about the tasks of a run, or of a standing queue.

Per task one INSERT and one UPDATE; a claim of a row that waited is another UPDATE. What differs between databases is behind
`engine.Engine`; the rules for outcomes are in `verdict.py`.

    Session (transactions, scope, counts) ◀── Runs (epochs, input) ◀── Listings (questions) ◀── SqlStore (changes of tasks)
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

from hs_common.errors import InvalidTransitionError
from hs_common.outcomes import Successes
from hs_common.tasks import Outcome, OutcomeKind, Started, Task
from hs_scheduler.stores import statements, verdict
from hs_scheduler.stores.listings import Listings
from hs_scheduler.stores.store import Applied, Counts, NewTask, Retry
from hs_scheduler.stores.succeeded import Succeeded
from hs_scheduler.tasks.state import State

if TYPE_CHECKING:
    from hs_scheduler.stores.changes import Changed, Piece


_ROWS_AT_ONCE = 1_000
"""That one statement goes over."""


class SqlStore(Listings):
    """Keeps tasks in a database that this process owns until `close`."""

    def add(
        self,
        tasks: Sequence[NewTask],
        bundles: Sequence[int],
        cwd: bytes,
        now: float,
        *,
        submitter: str = "",
    ) -> list[Task]:
        """Insert tasks; those with a bundle are ASSIGNED to it at once, with dispatch 1."""
        self._writing()
        run, place = None if submitter else self._run, self._place(cwd, submitter)
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
            self._engine.execute_many(statements.INSERT_PLAIN, plain)
        if full:
            self._engine.execute_many(statements.INSERT_FULL, full)
        self._last_row = row
        if submitter and not self._whole:
            return added  # of no run, so none of ours
        self.counts.assigned += assigned
        self.counts.failed += rejected
        self.counts.new += len(tasks) - assigned - rejected
        return added

    def assign(self, bundles: Iterable[tuple[int, Sequence[Task]]], now: float) -> None:
        """NEW -> ASSIGNED."""
        self._writing()
        values = [(task.dispatch, bundle, now, task.row, task.dispatch) for bundle, tasks in bundles for task in tasks]
        changed = self._engine.execute_many(statements.ASSIGN, values)
        if changed != len(values):
            raise InvalidTransitionError(f"{len(values) - changed} of {len(values)} rows to assign are not NEW")
        self.counts.new -= changed
        self.counts.assigned += changed

    def started(self, worker: bytes, host: str, started: Sequence[Started]) -> None:
        """ASSIGNED -> RUNNING where row and dispatch match."""
        self._writing()
        number = self._worker_number(worker, host)
        self._engine.execute_many(
            statements.STARTED, [(number, item.start, item.row, item.dispatch) for item in started]
        )

    def record(
        self, worker: bytes, host: str, outcomes: Sequence[Outcome], retry: Retry, now: float
    ) -> Sequence[Applied]:
        """Apply outcomes, each at most once; insert retry rows; return what was applied."""
        self._writing()
        number = self._worker_number(worker, host)
        if not isinstance(outcomes, Successes) and any(one.kind != OutcomeKind.FINISHED for one in outcomes):
            return self._record_each(number, outcomes, retry, now)
        # The usual case: every outcome is the first one of a present dispatch. That shows only afterwards; if it was not so,
        # it is undone and looked at one by one.
        self._engine.execute("SAVEPOINT record")
        if self._engine.execute_many(statements.FINISH, _finished(number, outcomes, now)) != len(outcomes):
            self._engine.execute("ROLLBACK TO record")
            self._engine.execute("RELEASE record")
            return self._record_each(number, outcomes, retry, now)
        self._engine.execute("RELEASE record")
        self.counts.assigned -= len(outcomes)
        if isinstance(outcomes, Successes):
            self.counts.succeeded += len(outcomes)
            return Succeeded(outcomes)
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
        changed = self._engine.execute_many(statements.RELEASE, rows)
        if changed < len(rows):
            self._engine.execute_many(statements.SETTLE, rows)
        self.counts.assigned -= changed
        self.counts.new += changed
        return changed

    def retry_failed(self, now: float) -> int:
        """Insert another attempt of each finally failed task, and return how many.

        Not of lines that were REJECTED before anybody ran them: they are not whole in the store, and never will run.
        """
        with self._engine.translated():
            rows = [row for (row,) in self._engine.execute(self._scoped(statements.FAILED_ROWS), {"run": self._run})]
        with self.transaction():
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                self._retry_anew(rows[start : start + _ROWS_AT_ONCE], now)
        self._count()
        return len(rows)

    def change(self, piece: "Piece", now: float) -> "Changed":
        """Do what the user wants of the tasks of a piece."""
        from hs_scheduler.stores.sql_changes import Changer  # noqa: PLC0415 - a run that nobody changes need not load it

        self._writing()
        changer = Changer(
            self._engine,
            self.counts,
            counted=lambda run: self._whole or run == self._run,
            retry=lambda rows: self._retry_anew(rows, now),
        )
        return changer.change(piece.change.plan(self._engine.dialect), piece, now)

    def clear(self) -> None:
        """Remove every task and run; numbers and epochs go on from where they are. A transaction of its own."""
        with self.transaction():
            for table in ("task", "input", "run", "place", "worker"):
                self._engine.execute(f"DELETE FROM {table}")  # noqa: S608 - one of five
            # Their files go after this, whoever removes them: we may be killed here (`archives.remove_forgotten`).
            self._engine.execute("UPDATE meta SET name = 'forgotten' WHERE name = 'archives'")
        self.counts.take(Counts())
        self._places.clear()
        self._folders.clear()
        self._worker_numbers.clear()

    def worker_attached(self, worker: bytes, replaces: bytes, host: str, now: float) -> None:
        """Remember it, instead of `replaces`."""
        self._writing()
        self._engine.execute("UPDATE worker SET attached = 0 WHERE uid = ?", (replaces,))
        number = self._worker_number(worker, host)
        self._engine.execute(
            "UPDATE worker SET attached = 1, attached_at = ?, host = ? WHERE worker = ?", (now, host, number)
        )

    def worker_gone(self, worker: bytes) -> None:
        """Forget it."""
        self._writing()
        self._engine.execute("UPDATE worker SET attached = 0 WHERE uid = ?", (worker,))

    def _record_each(self, worker: int, outcomes: Sequence[Outcome], retry: Retry, now: float) -> list[Applied]:
        applied = []
        for outcome in outcomes:
            found = self._engine.execute(statements.LOOK, (outcome.row,)).fetchone()
            if found is None or not verdict.counts(outcome, *found[:3]):
                self._engine.execute_many(statements.SETTLE, [(outcome.row, outcome.dispatch)])
                continue
            before, _, _, attempt, crashes = found
            state = verdict.state_after(outcome, crashes)
            crashes += outcome.kind == OutcomeKind.CRASHED
            if before == State.ON_HOLD:
                self.counts.on_hold -= 1
            elif before == State.NEW:
                self.counts.new -= 1
            else:
                self.counts.assigned -= 1
            if state == State.NEW:
                self._engine.execute(statements.TO_NEW, (crashes, outcome.row))
                self.counts.new += 1
                applied.append(Applied(outcome.row, outcome, state, failed=False, retried=False))
            else:
                self._engine.execute(
                    statements.END, (state, crashes, worker, *verdict.ending(outcome, now), outcome.row)
                )
                if state == State.CANCELLED:
                    self._engine.execute_many(statements.SETTLE, [(outcome.row, outcome.dispatch)])
                applied.append(self._ended(outcome, attempt, state, retry, now))
        return applied

    def _ended(self, outcome: Outcome, attempt: int, state: State, retry: Retry, now: float) -> Applied:
        """Count a row that has just ended, and insert its retry; attempt: at most the row's own."""
        failed = verdict.failed(outcome, state)
        retried = verdict.retries(outcome, attempt, retry.retries_max) and self._retry(outcome.row, retry, now)
        self.counts.end(state, failed=failed, retried=retried)
        return Applied(outcome.row, outcome, state, failed, retried)

    def _retry(self, row: int, retry: Retry, now: float) -> bool:
        """Insert the next attempt of a row, if it has one left."""
        uid = self._uids.take(1, now)[0]
        values = (self._last_row + 1, now, -1 if retry.eager else 1, uid, row, retry.retries_max)
        if not self._engine.execute_many(statements.INSERT_RETRY, [values]):
            return False
        self._last_row += 1
        self._engine.execute_many(statements.LINK_RETRY, [(self._last_row, row)])
        return True

    def _retry_anew(self, rows: Sequence[int], now: float) -> Sequence[int]:
        """Insert the next attempt of each row, whatever the policy is, and return their numbers."""
        numbers = range(self._last_row + 1, self._last_row + 1 + len(rows))
        uids = self._uids.take(len(rows), now)
        values = [
            (number, now, 1, uid, row, statements.ATTEMPTS_MAX)
            for number, uid, row in zip(numbers, uids, rows, strict=True)
        ]
        added = self._engine.execute_many(statements.INSERT_RETRY, values)
        if added != len(rows):
            raise InvalidTransitionError(f"{len(rows) - added} of {len(rows)} rows cannot be tried again")
        self._last_row += added
        self._engine.execute_many(statements.LINK_RETRY, list(zip(numbers, rows, strict=True)))
        return numbers


def _finished(worker: int, outcomes: Sequence[Outcome], now: float) -> list[tuple[Any, ...]]:
    """Return the values of `statements.FINISH` for each of these outcomes."""
    if isinstance(outcomes, Successes) and all(outcomes.starts):
        columns = (repeat(worker), *verdict.endings(outcomes), outcomes.rows, outcomes.dispatches)
        return list(zip(*columns, strict=False))  # what is repeated has no end
    return [(worker, *verdict.ending(outcome, now), outcome.row, outcome.dispatch) for outcome in outcomes]
