"""The store in memory (`--no-db`): the twin of `sql.py`, as fast as a dictionary.

What has ended is forgotten, except for the args of failures and what the last transaction ended (for the job log): so memory
holds what is under way. A transaction keeps what it replaced, and puts it back when it fails.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from hs_common.errors import InvalidTransitionError
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task
from hs_scheduler import verdict
from hs_scheduler.memory_rows import Ended, Failure, Row, entry_of, last_dispatch, public
from hs_scheduler.store import Applied, Counts, Held, InputState, NewTask, Ready, Retry, Settled, State
from hs_scheduler.uids import Uids
from hs_scheduler.waiting import Entry, Waiting

_applied = Applied._make
"""Costs a third less than its constructor."""


class MemoryStore:
    """Keeps tasks as long as this process lives.

    Args:
        keeps_order: Whether `settled` will be asked. Then it remembers what ended until that was told.

    """

    def __init__(self, *, keeps_order: bool = False) -> None:
        self._lasts: dict[int, int] | None = {} if keeps_order else None
        """Row of a first attempt -> row of the last, once that ended; minus row of the present one; row of a retry -> 0."""
        self._told_up_to = 0
        self.counts = Counts()
        self._rows: dict[int, Row] = {}
        self._waiting = Waiting(self._waits)
        self._failures: list[Failure] = []
        self._ended: dict[int, tuple[Any, ...]] = {}
        """Row -> an `Ended`, but for the cost of making one for nobody who asks."""
        self._last_row = 0
        self._uids = Uids()
        self._epoch = 0
        self._workers: set[bytes] = set()
        self._input: InputState | None = None
        self._settings: dict[bytes, dict[str, Any]] = {}
        self._undo: list[tuple[int, Row | None]] | None = None

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Do nothing: there is nobody to wait for."""

    def transaction(self) -> AbstractContextManager[None]:
        """Begin; everything is put back if the block fails."""
        return _Transaction(self)

    def take_epoch(self, cluster: bytes = b"") -> int:  # noqa: ARG002 - it lives no longer than its cluster
        """Return the next epoch."""
        self._epoch += 1
        return self._epoch

    def open_run(
        self,
        run_id: bytes,
        settings: dict[str, Any],
        now: float,  # noqa: ARG002
        *,
        whole: bool = False,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Return the settings in force."""
        return self._settings.setdefault(run_id, settings)

    def others(self) -> int:
        """Return 0: there is one run only."""
        return 0

    def close_run(self, run_id: bytes, now: float, status: int) -> None:
        """Do nothing: nobody can ask later."""

    @property
    def fd(self) -> int | None:
        """None: there is nobody else."""
        return None

    def renew_owner(self, now: float) -> None:
        """Do nothing: nobody else can own it."""

    def checkpoint(self) -> None:
        """Do nothing: there is no file to tidy."""

    def input_state(self) -> InputState | None:
        """Return how far the input was read."""
        return self._input

    def save_input(self, state: InputState) -> None:
        """Note how far the input was read."""
        self._input = state

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
        undo = self._writing()
        rows, counts = self._rows, self.counts
        added = []
        row = self._last_row
        for (args, detail, group, priority, rejected), bundle, uid in zip(
            tasks, bundles, self._uids.take(len(tasks), now), strict=True
        ):
            row += 1
            task = Task(row, uid, 1, 1, args, detail)
            added.append(task)
            if rejected:
                counts.failed += 1
                self._failures.append(Failure(row, args, detail, group, priority))
                if self._lasts is not None:
                    self._lasts[row] = row
                continue
            state = State.ASSIGNED if bundle else State.NEW
            undo.append((row, None))
            rows[row] = Row(task, state, bundle, cwd, group, priority, 0, 0, b"", row, now)
            if bundle:
                counts.assigned += 1
            else:
                counts.new += 1
                self._waiting.push((group, 0, -priority, row))
        self._last_row = row
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

    def record(self, worker: bytes, host: str, outcomes: Sequence[Outcome], retry: Retry, now: float) -> list[Applied]:
        """Apply outcomes, each at most once; insert retry rows; return what was applied."""
        undo, rows, ended, lasts = self._writing(), self._rows, self._ended, self._lasts
        applied = []
        usual = 0
        for outcome in outcomes:
            number = outcome.row
            row = rows.get(number)
            if row is None:
                continue
            task = row.task
            if (
                row.state
                and task.dispatch == outcome.dispatch
                and not (outcome.status or outcome.reason or outcome.kind != OutcomeKind.FINISHED)
            ):
                # The usual case, spelled out: a success of the present dispatch.
                undo.append((number, row))
                del rows[number]
                ended[number] = (task, row.submitted, outcome, State.DONE, worker, host, now)
                usual += 1
                if lasts is not None:
                    lasts[row.origin] = number
                applied.append(_applied((number, outcome, State.DONE, False, False)))
            elif verdict.counts(outcome, row.state, last_dispatch(row)):
                applied.append(self._apply(worker, host, outcome, row, retry, now))
        self.counts.assigned -= usual
        self.counts.succeeded += usual
        return applied

    def settled(self, after: int, count: int) -> list[Settled]:
        """Return up to `count` tasks of the input behind this row, in its order; forget those up to it."""
        lasts = self._lasts
        assert lasts is not None
        for row in range(self._told_up_to + 1, after + 1):
            lasts.pop(row, None)
        self._told_up_to = after
        found: list[Settled] = []
        for row in range(after + 1, self._last_row + 1):
            last = lasts.get(row, -row)
            if last:
                found.append(Settled(row, abs(last), last > 0))
            if len(found) == count:
                break
        return found

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

    def workers(self) -> set[bytes]:
        """Return the incarnations that are attached."""
        return set(self._workers)

    def worker_attached(self, worker: bytes, replaces: bytes, host: str, now: float) -> None:  # noqa: ARG002
        """Remember it, instead of `replaces`."""
        self._workers.discard(replaces)
        self._workers.add(worker)

    def worker_gone(self, worker: bytes) -> None:
        """Forget it."""
        self._workers.discard(worker)

    def failures(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each finally failed task, in the order of input."""
        for failure in sorted(self._failures, key=lambda failure: failure.origin):
            yield failure[1:]

    def failures_before(self, instant: float) -> int:  # noqa: ARG002
        """Return 0: the first failure came after this process was started."""
        return 0

    def submitted(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield nothing: nothing was here before."""
        return iter(())

    def finished(self, rows: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """Yield the public fields of these rows, if the last transaction ended them; None: nothing, all is forgotten."""
        for row in rows or ():
            if row in self._ended:
                yield public(Ended._make(self._ended[row]))

    # --- What the transaction uses ---

    def _begin(self) -> None:
        if self._undo is not None:
            raise InvalidTransitionError("a transaction is open already")
        self._undo = []
        self._ended = {}
        self._before = (self.counts.copy(), self._last_row, len(self._failures), set(self._workers), self._input)

    def _end(self, *, undo: bool) -> None:
        changes, self._undo = self._undo or [], None
        if not undo:
            return
        counts, self._last_row, failures, self._workers, self._input = self._before
        self.counts.take(counts)
        del self._failures[failures:]
        self._ended = {}
        for number, row in reversed(changes):
            if self._lasts is not None:
                self._lasts.pop(number, None)
                if row is not None and row.origin != number:
                    self._lasts[number], self._lasts[row.origin] = 0, -number
            if row is None:
                self._rows.pop(number, None)
            else:
                self._rows[number] = row
                if row.state == State.NEW:
                    self._waiting.push(entry_of(row))

    # --- Private ---

    def _writing(self) -> list[tuple[int, Row | None]]:
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

    def _apply(self, worker: bytes, host: str, outcome: Outcome, row: Row, retry: Retry, now: float) -> Applied:
        state = verdict.state_after(outcome, row.crashes)
        if state == State.NEW:
            self._back_to_new(row, crashed=outcome.kind == OutcomeKind.CRASHED)
            return Applied(outcome.row, outcome, state, failed=False, retried=False)
        self._forget(row)
        task = row.task._replace(dispatch=last_dispatch(row))
        self._ended[outcome.row] = Ended(task, row.submitted, outcome, state, worker, host, now)
        failed = verdict.failed(outcome, state)
        retried = verdict.retries(outcome, row.task.attempt, retry.retries_max)
        if self._lasts is not None:
            self._lasts[row.origin] = outcome.row
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
        self._writing().append((task.row, None))
        self._rows[task.row] = again
        if self._lasts is not None:
            self._lasts[task.row] = 0
            self._lasts[row.origin] = -task.row
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
