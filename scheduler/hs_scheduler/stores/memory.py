"""The store in memory (`--no-db`): the twin of `sql.py`, as fast as a dictionary.

What has ended is forgotten, except for the args of failures and what the last transaction ended (for the job log): so memory
holds what is under way. A transaction keeps what it replaced, and puts it back when it fails.

Its parts: `memory_run` what is known once per run, `memory_order` what `-k` asks, `memory_ended` what the job log asks.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import repeat
from types import TracebackType
from typing import Any, cast

from hs_common.errors import InvalidTransitionError
from hs_common.outcomes import Successes
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task
from hs_common.tuples import table
from hs_scheduler.stores import verdict
from hs_scheduler.stores.memory_ended import Ended, JustEnded
from hs_scheduler.stores.memory_order import InputOrder
from hs_scheduler.stores.memory_rows import Failure, Row, entry_of, last_dispatch
from hs_scheduler.stores.memory_run import MemoryRun
from hs_scheduler.stores.store import Applied, Counts, Held, NewTask, Ready, Retry, Settled
from hs_scheduler.stores.succeeded import Succeeded
from hs_scheduler.stores.waiting import Entry, Waiting
from hs_scheduler.tasks.state import State
from hs_scheduler.tasks.uids import Uids


class MemoryStore(MemoryRun):
    """Keeps tasks as long as this process lives.

    Args:
        keeps_order: Whether `settled` will be asked. Then it remembers what ended until that was told.

    """

    def __init__(self, *, keeps_order: bool = False) -> None:
        super().__init__()
        self.counts = Counts()
        self._rows: dict[int, Row] = {}
        self._waiting = Waiting(self._waits)
        self._failures: list[Failure] = []
        self._just_ended = JustEnded()
        self._order = InputOrder() if keeps_order else None
        self._last_row = 0
        self._uids = Uids()
        self._undo: list[tuple[int, Row]] | None = None
        """What the open transaction replaced; what it added has higher numbers than any row before."""

    def transaction(self) -> AbstractContextManager[None]:
        """Begin; everything is put back if the block fails."""
        return _Transaction(self)

    def add(
        self,
        tasks: Sequence[NewTask],
        bundles: Sequence[int],
        cwd: bytes,
        now: float,
        *,
        submitter: str = "",  # noqa: ARG002 - nobody can submit to it
    ) -> list[Task]:
        """Insert tasks; those with a bundle are ASSIGNED to it at once, with dispatch 1."""
        self._writing()
        first = self._last_row + 1
        self._last_row += len(tasks)
        numbers = range(first, first + len(tasks))
        args, details, groups, priorities, rejections = zip(*tasks, strict=True) if tasks else ((),) * 5
        added = table(Task, numbers, self._uids.take(len(tasks), now), repeat(1), repeat(1), args, details)
        states = [State.ASSIGNED if bundle else State.NEW for bundle in bundles]
        none = repeat(0)
        made = table(
            Row, added, states, bundles, repeat(cwd), groups, priorities, none, none, repeat(b""), numbers, repeat(now)
        )
        self._rows.update(zip(numbers, made, strict=True))
        if all(bundles) and not any(rejections):
            self.counts.assigned += len(tasks)
            return added
        for row, rejected in zip(made, rejections, strict=True):
            if rejected:
                self._reject(row)
                self._just_ended.reject(row.task, rejected, now)
            elif row.bundle:
                self.counts.assigned += 1
            else:
                self.counts.new += 1
                self._waiting.push(entry_of(row))
        return added

    def ready(self, count: int) -> list[Ready]:
        """Return up to `count` NEW rows of the lowest group that has one, in the order of dispatch."""
        rows = self._rows
        return [Ready(rows[row].task, rows[row].cwd, rows[row].group) for row in self._waiting.first(count)]

    def left_of_group(self, group: int) -> int:
        """Return how many tasks of a group wait or are out."""
        return sum(row.group == group for row in self._rows.values())

    def failed_group(self) -> int | None:
        """Return the lowest group with a finally failed task, or None."""
        return min((failure.group for failure in self._failures), default=None)

    def assign(self, bundles: Iterable[tuple[int, Sequence[Task]]], now: float) -> None:  # noqa: ARG002
        """NEW -> ASSIGNED."""
        for bundle, tasks in bundles:
            for task in tasks:
                row = self._rows.get(task.row)
                if row is None or row.state != State.NEW or row.task.dispatch != task.dispatch:
                    raise InvalidTransitionError(f"row {task.row} is not NEW for dispatch {task.dispatch}")
                self._replace(row._replace(state=State.ASSIGNED, bundle=bundle))
            self.counts.new -= len(tasks)
            self.counts.assigned += len(tasks)

    def started(self, worker: bytes, host: str, started: Sequence[Started]) -> None:  # noqa: ARG002
        """ASSIGNED -> RUNNING where row and dispatch match."""
        for item in started:
            row = self._rows.get(item.row)
            if row is not None and row.state == State.ASSIGNED and row.task.dispatch == item.dispatch:
                self._replace(row._replace(state=State.RUNNING, worker=worker))

    def record(
        self, worker: bytes, host: str, outcomes: Sequence[Outcome], retry: Retry, now: float
    ) -> Sequence[Applied]:
        """Apply outcomes, each at most once; insert retry rows; return what was applied."""
        if isinstance(outcomes, Successes) and (rows := self._of_present_dispatch(outcomes)):
            # No row twice: they end as one.
            self._writing().extend(zip(outcomes.rows, rows, strict=True))
            for number in outcomes.rows:
                del self._rows[number]
            self._just_ended.add_all(outcomes, rows, worker, host, now)
            self.counts.assigned -= len(rows)
            self.counts.succeeded += len(rows)
            if self._order is not None:
                self._order.end_all(rows)
            return Succeeded(outcomes)
        return [applied for one in outcomes for applied in self._record_one(worker, host, one, retry, now)]

    def settled(self, after: int, count: int) -> list[Settled]:
        """Return up to `count` tasks of the input behind this row, in its order; forget those up to it."""
        assert self._order is not None, "the store was made without an order"
        return self._order.settled(after, count, self._last_row)

    def passed(self, rows: Collection[int], after: int) -> list[int]:
        """Return []: nobody can retry or revert what ended in memory, and no run goes on here that left something out."""
        del rows, after
        return []

    def release(self, rows: Sequence[tuple[int, int]]) -> int:
        """ASSIGNED or RUNNING -> NEW where row and dispatch match."""
        released = 0
        for number, dispatch in rows:
            row = self._rows.get(number)
            if row is not None and row.state != State.NEW and row.task.dispatch == dispatch:
                self._back_to_new(row)
                released += 1
        return released

    def held(self) -> Iterator[Held]:
        """Yield every ASSIGNED or RUNNING row."""
        for row in self._rows.values():
            if row.state != State.NEW:
                yield Held(row.bundle, row.task.row, row.task.dispatch, row.worker, row.group)

    def failures(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each finally failed task, in the order of input."""
        for failure in sorted(self._failures, key=lambda failure: failure.origin):
            yield failure[1:]

    def finished(self, rows: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """Yield the public fields of these rows, if the last transaction ended them; None: nothing, all is forgotten."""
        return self._just_ended.fields(rows or ())

    # --- What the transaction uses ---

    def _begin(self) -> None:
        if self._undo is not None:
            raise InvalidTransitionError("a transaction is open already")
        self._undo = []
        self._just_ended.clear()
        self._before = (self.counts.copy(), self._last_row, len(self._failures), set(self._workers), self._input)

    def _end(self, *, undo: bool) -> None:
        changes, self._undo = self._undo or [], None
        if not undo:
            return
        last_row = self._last_row
        counts, self._last_row, failures, self._workers, self._input = self._before
        self.counts.take(counts)
        del self._failures[failures:]
        self._just_ended.clear()
        for number, row in reversed(changes):
            if self._order is not None:
                self._order.put_back(row)
            self._rows[number] = row
            if row.state == State.NEW:
                self._waiting.push(entry_of(row))
        for number in range(self._last_row + 1, last_row + 1):
            self._rows.pop(number, None)
            if self._order is not None:
                self._order.remove(number)

    # --- Private ---

    def _writing(self) -> list[tuple[int, Row]]:
        if self._undo is None:
            raise InvalidTransitionError("writing outside a transaction")
        return self._undo

    def _waits(self, entry: Entry) -> bool:
        row = self._rows.get(entry[3])
        # Numbers of rows are given again after a rollback: so the whole entry must be that row's.
        return row is not None and row.state == State.NEW and entry_of(row) == entry

    def _replace(self, row: Row) -> None:
        number = row.task.row
        self._writing().append((number, self._rows[number]))
        self._rows[number] = row

    def _reject(self, row: Row) -> None:
        """Take out a row that can never run, as soon as it is there."""
        number = row.origin
        del self._rows[number]
        self.counts.failed += 1
        self._failures.append(Failure(number, row.task.args, row.task.detail, row.group, row.priority))
        if self._order is not None:
            self._order.end(row)

    def _of_present_dispatch(self, outcomes: Successes) -> list[Row]:
        """Return the rows of these, if each is out for that very dispatch, and none is there twice; else nothing."""
        found = list(map(self._rows.get, outcomes.rows))
        if None in found or len(set(outcomes.rows)) < len(found):
            return []
        rows = cast(list[Row], found)
        dispatches = tuple([row.task.dispatch for row in rows])
        return rows if dispatches == outcomes.dispatches and all(row.state for row in rows) else []

    def _record_one(self, worker: bytes, host: str, outcome: Outcome, retry: Retry, now: float) -> Iterator[Applied]:
        row = self._rows.get(outcome.row)
        if row is not None and verdict.counts(outcome, row.state, last_dispatch(row)):
            yield self._apply(worker, host, outcome, row, retry, now)

    def _apply(self, worker: bytes, host: str, outcome: Outcome, row: Row, retry: Retry, now: float) -> Applied:
        state = verdict.state_after(outcome, row.crashes)
        if state == State.NEW:
            self._back_to_new(row, crashed=outcome.kind == OutcomeKind.CRASHED)
            return Applied(outcome.row, outcome, state, failed=False, retried=False)
        self._forget(row)
        task = row.task._replace(dispatch=last_dispatch(row))
        self._just_ended.add(Ended(task, row.submitted, outcome, state, worker, host, now))
        failed = verdict.failed(outcome, state)
        retried = verdict.retries(outcome, row.task.attempt, retry.retries_max)
        if self._order is not None:
            self._order.end(row)
        if retried:
            self._retry(row, now, eager=retry.eager)
        elif failed:
            self._failures.append(Failure(row.origin, row.task.args, row.task.detail, row.group, row.priority))
        self.counts.end(state, failed=failed, retried=retried)
        return Applied(outcome.row, outcome, state, failed, retried)

    def _forget(self, row: Row) -> None:
        self._writing().append((row.task.row, row))
        del self._rows[row.task.row]
        if row.state == State.NEW:
            self.counts.new -= 1
        else:
            self.counts.assigned -= 1

    def _retry(self, row: Row, now: float, *, eager: bool) -> None:
        self._last_row += 1
        uid = self._uids.take(1, now)[0]
        task = row.task._replace(row=self._last_row, uid=uid, dispatch=1, attempt=row.task.attempt + 1)
        again = row._replace(
            task=task, state=State.NEW, bundle=0, late=-1 if eager else 1, crashes=0, worker=b"", submitted=now
        )
        self._rows[task.row] = again
        if self._order is not None:
            self._order.retry(row.origin, task.row)
        self._waiting.push(entry_of(again))

    def _back_to_new(self, row: Row, *, crashed: bool = False) -> None:
        task = row.task._replace(dispatch=row.task.dispatch + 1)
        again = row._replace(task=task, state=State.NEW, bundle=0, crashes=row.crashes + crashed, worker=b"")
        self._replace(again)
        self._waiting.push(entry_of(again))
        self.counts.assigned -= 1
        self.counts.new += 1


class _Transaction:
    """The block between begin and commit."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        self._store._begin()  # noqa: SLF001 - a part of the store

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store._end(undo=kind is not None)  # noqa: SLF001
