"""What the user's word changes in an SQL store: `changes.py` says what becomes of each row, this module does it."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from hs_scheduler import statements
from hs_scheduler.changes import FOLLOWING, Changed, Effect, Plan, Standing, effect, standing
from hs_scheduler.engine import Engine
from hs_scheduler.store import Counts, State
from hs_scheduler.tags import TAGS_MAX

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


class Changer:
    """Changes tasks in a transaction that is open.

    Args:
        engine: The database.
        counts: Are kept up to date.
        counted: Whether a row of this run is one of those that are counted.
        retry: Inserts another attempt of a row and returns its number.

    """

    def __init__(
        self, engine: Engine, counts: Counts, *, counted: Callable[[int | None], bool], retry: Callable[[int], int]
    ) -> None:
        self._engine = engine
        self._counts = counts
        self._counted = counted
        self._retry = retry

    def change(self, plan: Plan, first: int, last: int, now: float) -> Changed:
        """Change the tasks that are meant among the rows from `first` to `last`; now: wall clock, seconds since the epoch."""
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
                at = self._retry(row.row)
            case Effect.DELETED:
                self._delete(row.row)
        self._recount(row, what, at)
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

    def _recount(self, row: _Row, what: Effect, at: int) -> None:
        match what:
            case Effect.CANCELLED:
                self._move(row, row._replace(state=State.CANCELLED))
            case Effect.ON_HOLD:
                self._move(row, row._replace(state=State.ON_HOLD))
            case Effect.RELEASED | Effect.REVERTED:
                self._move(row, row._replace(state=State.NEW))
            case Effect.RETRIED:
                self._move(row, row._replace(next=at))
                self._move(None, row._replace(state=State.NEW, next=None))
            case Effect.DELETED:
                self._move(row, None)

    def _move(self, before: _Row | None, after: _Row | None) -> None:
        """Count a row where it is now, if it is one of those that are counted."""
        for row, change in ((before, -1), (after, 1)):
            if row is not None and self._counted(row.run):
                setattr(self._counts, row.counted, getattr(self._counts, row.counted) + change)


def _tagged(text: str | None, plan: Plan) -> str | None:
    """Return the tags of a row as they are to be, or None: as they are."""
    if not plan.tags and not plan.removed:
        return None
    tags = dict(statements.tags_of(text or "{}"))
    tags.update(plan.tags)
    for key in plan.removed:
        tags.pop(key, None)
    return json.dumps(tags, ensure_ascii=False)
