"""What the user's word changes in an SQL store: `changes.py` says what becomes of each row, this module does it."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from hs_scheduler import statements
from hs_scheduler.changes import FOLLOWING, Change, Changed, Effect, Plan, Standing, effect, pieces, standing
from hs_scheduler.listings import Listings
from hs_scheduler.store import Counts, Retry, State
from hs_scheduler.tags import TAGS_MAX

_ANEW = Retry(statements.ATTEMPTS_MAX, eager=False)

TOO_MANY_TAGS = f"they would have over {TAGS_MAX} tags"


class _Row(NamedTuple):
    """A row that is meant, as `statements.MEANT` selects it."""

    row: int
    state: int
    dispatch: int
    failed: bool
    previous: int | None
    next: int | None
    run: int | None
    tag: str | None

    @property
    def standing(self) -> Standing:
        return standing(self.state, self.dispatch, failed=bool(self.failed), superseded=self.next is not None)

    @property
    def counted(self) -> str:
        """Where `Counts` has it."""
        match self.standing:
            case Standing.ON_HOLD | Standing.NEW | Standing.SUCCEEDED | Standing.FAILED | Standing.CANCELLED as simple:
                return simple.name.lower()
            case Standing.OUT:
                return "assigned"
            case Standing.NEVER_RUN:
                return "failed"
        return "retried"


class Changes(Listings):
    """Changes of tasks that are there already."""

    def plan(self, change: Change) -> Plan:
        """Return what a change means here.

        Raises:
            RefusedError: A part of it makes no sense, or nothing would change.

        """
        return change.plan(self._engine.dialect)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Yield (first row, last row) of each piece in which a change is to be made; what is added later is not meant."""
        return pieces(self._last_row)

    def change(self, plan: Plan, first: int, last: int, now: float) -> Changed:
        """Change the tasks that are meant among these rows; inside a transaction, `last - first` bounds its length.

        Args:
            plan: What is to be done, and to which tasks: see `plan`.
            first: Row.
            last: Row, included.
            now: Wall clock, seconds since the epoch.

        """
        self._writing()
        with self._engine.defined(plan.where.functions):
            statement = f"{statements.MEANT} WHERE task.row BETWEEN ? AND ? AND {plan.where.sql} ORDER BY task.row"
            found = self._engine.execute(statement, (first, last, *plan.where.values)).fetchall()
        seen: set[int] = set()
        left: dict[str, int] = {}
        cancelled: list[tuple[int, int]] = []
        deleted: list[int] = []
        count = 0
        for values in found:
            row = self._meant(_Row._make(values), plan)
            if row.row in seen:
                continue
            seen.add(row.row)
            why = self._change(row, plan, now)
            if isinstance(why, str):
                left[why] = left.get(why, 0) + 1
                continue
            count += 1
            if why is Effect.CANCELLED:
                cancelled.append((row.row, row.dispatch))
            elif why is Effect.DELETED:
                deleted.append(row.row)
        return Changed(count=count, left=left, cancelled=tuple(cancelled), deleted=tuple(deleted))

    def clear(self) -> None:
        """Remove every task and run; numbers and epochs go on from where they are. A transaction of its own."""
        with self.transaction():
            for table in ("task", "input", "run", "place", "worker"):
                self._engine.execute(f"DELETE FROM {table}")  # noqa: S608 - one of five
            self._engine.execute("DELETE FROM meta WHERE name = 'archives'")
        self.counts.take(Counts())
        self._places.clear()
        self._folders.clear()
        self._worker_numbers.clear()

    def _meant(self, row: _Row, plan: Plan) -> _Row:
        """Return the row itself, or the last attempt where that is what one wants to change."""
        while row.next is not None and plan.action in FOLLOWING:
            row = self._look(row.next)
        return row

    def _look(self, row: int) -> _Row:
        return _Row._make(self._engine.execute(f"{statements.MEANT} WHERE task.row = ?", (row,)).fetchone())

    def _change(self, row: _Row, plan: Plan, now: float) -> Effect | str:
        """Change one row, and return what became of it, or why it is left."""
        what = effect(plan.action, row.standing, sets_values=bool(plan.values))
        if what is Effect.LEFT:
            return row.standing.value
        tag = _tagged(row.tag, plan)
        if tag is not None and len(json.loads(tag)) > TAGS_MAX:
            return TOO_MANY_TAGS
        at = row.row
        match what:
            case Effect.CANCELLED:
                self._engine.execute(statements.CANCEL, (now, row.row))
            case Effect.ON_HOLD:
                self._engine.execute(statements.SET_STATE, (State.ON_HOLD, row.row))
            case Effect.RELEASED:
                self._engine.execute(statements.SET_STATE, (State.NEW, row.row))
            case Effect.REVERTED:
                self._engine.execute(statements.REVERT, (row.row,))
            case Effect.RETRIED:
                self._retry(row.row, _ANEW, now)
                at = self._last_row
            case Effect.DELETED:
                self._delete(row.row)
        self._recount(row, what)
        self._set(at, plan.values if tag is None else {**plan.values, "tag": tag})
        return what

    def _set(self, row: int, values: dict[str, Any]) -> None:
        if values:
            # The names are columns of ours: `changes.SETTABLE`, and the tags.
            columns = ", ".join(f'"{name}" = ?' for name in values)
            self._engine.execute(f"UPDATE task SET {columns} WHERE row = ?", (*values.values(), row))  # noqa: S608

    def _delete(self, row: int) -> None:
        """Remove a row; the attempts before and after it become neighbours."""
        # Read now: the row before it may have been deleted a moment ago.
        now = self._look(row)
        if now.next is not None:
            self._engine.execute(statements.LINK_PREVIOUS, (now.previous, now.next))
        if now.previous is not None:
            before = self._look(now.previous)
            self._engine.execute(statements.LINK_RETRY, (now.next, now.previous))
            if now.next is None:
                self._move(before, before._replace(next=None))
        self._engine.execute("DELETE FROM task WHERE row = ?", (row,))

    def _recount(self, row: _Row, what: Effect) -> None:
        after = {
            Effect.CANCELLED: row._replace(state=State.CANCELLED),
            Effect.ON_HOLD: row._replace(state=State.ON_HOLD),
            Effect.RELEASED: row._replace(state=State.NEW),
            Effect.REVERTED: row._replace(state=State.NEW),
            Effect.RETRIED: row._replace(next=self._last_row),
            Effect.DELETED: None,
        }
        if what in after:
            self._move(row, after[what])
        if what is Effect.RETRIED:
            self._move(None, row._replace(state=State.NEW, next=None))

    def _move(self, before: _Row | None, after: _Row | None) -> None:
        """Count a row where it is now, if it is one of those that are counted."""
        for row, change in ((before, -1), (after, 1)):
            if row is not None and (self._whole or row.run == self._run):
                setattr(self.counts, row.counted, getattr(self.counts, row.counted) + change)

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
        if not self._engine.execute(statements.INSERT_RETRY, values).rowcount:
            return False
        self._last_row += 1
        self._engine.execute(statements.LINK_RETRY, (self._last_row, row))
        return True


def _tagged(text: str | None, plan: Plan) -> str | None:
    """Return the tags of a row as they are to be, or None: as they are."""
    if not plan.tags and not plan.removed:
        return None
    tags = dict(statements.tags_of(text or "{}"))
    tags.update(plan.tags)
    for key in plan.removed:
        tags.pop(key, None)
    return json.dumps(tags, ensure_ascii=False)
