"""What the user's word changes in an SQL store: `changes.py` says what becomes of each row, this module does it."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from hs_scheduler.stores import statements
from hs_scheduler.stores.changes import FOLLOWING, Changed, Effect, Piece, Plan, Standing, effect, standing
from hs_scheduler.stores.engine import Engine
from hs_scheduler.stores.store import Counts
from hs_scheduler.tasks.state import State
from hs_scheduler.tasks.tags import TAGS_MAX

_PARAMETERS_MAX = 500
"""Of one statement."""

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
    """Changes tasks in a transaction that is open, a whole piece of them with each statement.

    Args:
        engine: The database.
        counts: Are kept up to date.
        counted: Whether a row of this run is one of those that are counted.
        retry: Inserts another attempt of each row and returns their numbers.

    """

    def __init__(
        self,
        engine: Engine,
        counts: Counts,
        *,
        counted: Callable[[int | None], bool],
        retry: Callable[[Sequence[int]], Sequence[int]],
    ) -> None:
        self._engine = engine
        self._counts = counts
        self._counted = counted
        self._retry = retry

    def change(self, plan: Plan, piece: Piece, now: float) -> Changed:
        """Change the tasks that are meant among the rows of the piece; now: wall clock, seconds since the epoch."""
        assert not plan.where.functions, "they are left to who asks"
        statement = f"{statements.MEANT} WHERE task.row BETWEEN ? AND ? AND {plan.where.sql} ORDER BY task.row"
        found = self._engine.execute(statement, (piece.first, piece.last, *plan.where.values)).fetchall()
        chosen = None if piece.rows is None else frozenset(piece.rows)
        meant = [_Row._make(values) for values in found if chosen is None or values[0] in chosen]
        if plan.action in FOLLOWING:
            meant = self._last_attempts(meant)
        left: Counter[str] = Counter()
        changed: list[_Row] = []
        tags: list[str | None] = []
        what = Effect.KEPT
        for row in meant:
            one = effect(plan.action, row.standing, sets_values=bool(plan.values))
            if one is Effect.LEFT:
                left[row.standing.value] += 1
                continue
            tag = _tagged(row.tag, plan)
            if tag is not None and len(json.loads(tag)) > TAGS_MAX:
                left[TOO_MANY_TAGS] += 1
                continue
            # One action has one effect on all that it does not leave.
            what = one
            changed.append(row)
            tags.append(tag)
        if changed:
            self._carry_out(what, changed, tags, plan, now)
        return Changed(
            count=len(changed),
            left=dict(left),
            cancelled=tuple((row.row, row.dispatch) for row in changed) if what is Effect.CANCELLED else (),
            deleted=tuple(row.row for row in changed) if what is Effect.DELETED else (),
        )

    def _last_attempts(self, rows: list[_Row]) -> list[_Row]:
        """Return the last attempt of each task, once: that is what one wants to change."""
        found = {row.row: row for row in rows}
        while wanted := {row.next for row in found.values() if row.next is not None}:
            ended = {number: row for number, row in found.items() if row.next is None}
            found = ended | self._look({number for number in wanted if number not in ended})
        return [found[number] for number in sorted(found)]

    def _look(self, numbers: Iterable[int]) -> dict[int, _Row]:
        """Return the rows with these numbers."""
        found = {}
        wanted = sorted(numbers)
        for start in range(0, len(wanted), _PARAMETERS_MAX):
            some = wanted[start : start + _PARAMETERS_MAX]
            marks = ", ".join("?" * len(some))
            for values in self._engine.execute(f"{statements.MEANT} WHERE task.row IN ({marks})", some):
                found[values[0]] = _Row._make(values)
        return found

    def _carry_out(
        self, what: Effect, rows: Sequence[_Row], tags: Sequence[str | None], plan: Plan, now: float
    ) -> None:
        """Do it to all these rows, and set their values and tags."""
        numbers: Sequence[int] = [row.row for row in rows]
        match what:
            case Effect.CANCELLED:
                self._engine.execute_many(statements.CANCEL, [(now, number) for number in numbers])
            case Effect.ON_HOLD:
                self._engine.execute_many(statements.SET_STATE, [(State.ON_HOLD.value, number) for number in numbers])
            case Effect.RELEASED:
                self._engine.execute_many(statements.SET_STATE, [(State.NEW.value, number) for number in numbers])
            case Effect.REVERTED:
                self._engine.execute_many(statements.REVERT, [(number,) for number in numbers])
            case Effect.RETRIED:
                numbers = self._retry(numbers)
            case Effect.DELETED:
                self._delete(rows)
        for row, number in zip(rows, numbers, strict=True):
            self._recount(row, what, number)
        columns, values = tuple(plan.values), tuple(plan.values.values())
        if plan.tags or plan.removed:
            setting = statements.setting((*columns, "tag"))
            self._engine.execute_many(setting, [(*values, *one) for one in zip(tags, numbers, strict=True)])
        elif columns:
            self._engine.execute_many(statements.setting(columns), [(*values, number) for number in numbers])

    def _delete(self, rows: Sequence[_Row]) -> None:
        """Remove rows; the attempts before and after them become neighbours."""
        going = {row.row: row for row in rows}
        before: list[tuple[int | None, int]] = []
        after: list[tuple[int | None, int]] = []
        for row in rows:
            if row.previous in going:
                continue  # of a part of a chain that goes, this is not the first row
            end = row
            while end.next in going:
                end = going[end.next]
            if end.next is not None:
                before.append((row.previous, end.next))
            if row.previous is not None:
                after.append((end.next, row.previous))
        self._engine.execute_many(statements.LINK_PREVIOUS, before)
        self._engine.execute_many(statements.LINK_RETRY, after)
        for row in self._look(number for following, number in after if following is None).values():
            # It was superseded, and is the last attempt now.
            self._move(row._replace(next=row.row), row)
        self._engine.execute_many(statements.DELETE, [(number,) for number in going])

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
