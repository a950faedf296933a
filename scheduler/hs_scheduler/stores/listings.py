"""What an SQL store is asked: which tasks are ready, held, failed, finished. Changes nothing."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hs_common.tasks import Detail, Task
from hs_scheduler.stores import statements
from hs_scheduler.stores.run_records import Runs
from hs_scheduler.stores.store import Held, Ready, Settled, Standing
from hs_scheduler.tasks.fields import FIELDS, shown
from hs_scheduler.tasks.state import State

if TYPE_CHECKING:
    from hs_scheduler.stores.pages import Look, Page

_ROWS_MAX = 500
"""Parameters in one statement."""


class Listings(Runs):
    """Questions to a database about its tasks and workers."""

    def ready(self, count: int) -> list[Ready]:
        """Return up to `count` NEW rows of the lowest group that has one, in the order of dispatch."""
        with self._engine.translated():
            values = {"count": count, "run": self._run}
            rows = self._engine.execute(self._scoped(statements.READY), values).fetchall()
            folders = self._folders
            found = []
            for row, uid, dispatch, attempt, args, timeout, cores, memory, tag, template, place, group in rows:
                detail = statements.detail_of(timeout, cores, memory, tag, template)
                cwd = folders.get(place)
                if cwd is None:
                    (cwd,) = self._engine.execute("SELECT cwd FROM place WHERE place = ?", (place,)).fetchone()
                    folders[place] = cwd
                found.append(Ready(Task(row, uid, dispatch + 1, attempt, args, detail), cwd, group))
        return found

    def failed_group(self) -> int | None:
        """Return the lowest group with a task that finally failed or is on hold, or None."""
        groups = []
        with self._engine.translated():
            for count, statement in (
                (self.counts.failed, statements.FAILED_GROUP),
                (self.counts.on_hold, statements.ON_HOLD_GROUP),
            ):
                if count:
                    groups += self._engine.execute(self._scoped(statement), {"run": self._run}).fetchone()
        return min((int(group) for group in groups if group is not None), default=None)

    def left_of_group(self, group: int) -> int:
        """Return how many tasks of a group wait or are out."""
        with self._engine.translated():
            found = self._engine.execute(self._scoped(statements.LEFT_OF_GROUP), {"group": group, "run": self._run})
            return int(found.fetchone()[0])

    def held(self) -> Iterator[Held]:
        """Yield every ASSIGNED or RUNNING row, and those that were cancelled while they were, until they are settled."""
        for bundle, row, dispatch, worker, group, state in self._read(self._scoped(statements.HELD)):
            yield Held(bundle, row, dispatch, worker or b"", group, state != State.CANCELLED)

    def failures(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each finally failed task, in the order of input."""
        for args, *detail, group, priority in self._read(self._scoped(statements.FAILURES)):
            yield args, statements.detail_of(*detail), group, priority

    def failures_before(self, instant: float) -> int:
        """Return how many of the finally failed tasks ended before `instant` (seconds since the epoch)."""
        if not self.counts.failed:
            return 0
        with self._engine.translated():
            values = {"run": self._run, "instant": instant}
            (count,) = self._engine.execute(self._scoped(statements.FAILURES_BEFORE), values).fetchone()
        return int(count)

    def submitted(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each task, its retries left out, whatever run it is of."""
        for args, *detail, group, priority in self._read(statements.SUBMITTED):
            yield args, statements.detail_of(*detail), group, priority

    def finished(self, rows: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """Yield the public fields of ended attempts: of these rows, or of all in the order of completion."""
        if rows is None:
            for row in self._read(self._scoped(statements.ENDED)):
                yield _public(row)
            return
        for start in range(0, len(rows), _ROWS_MAX):
            some = rows[start : start + _ROWS_MAX]
            marks = ", ".join("?" * len(some))
            with self._engine.translated():
                found = self._engine.execute(
                    f"{statements.PUBLIC} WHERE task.state >= 3 AND task.row IN ({marks})", some
                ).fetchall()
            ended = {row[0]: row for row in found}
            for number in some:
                if number in ended:
                    yield _public(ended[number])

    def settled(self, after: int, count: int) -> list[Settled]:
        """Return up to `count` tasks of the input behind this row, in its order."""
        values = {"after": after, "count": count, "run": self._run}
        with self._engine.translated():
            found = []
            for row, first_state, following in self._engine.execute(
                self._scoped(statements.INPUT_ORDER), values
            ).fetchall():
                last, state, attempt_after = row, first_state, following
                while attempt_after is not None:
                    last = attempt_after
                    state, attempt_after = self._engine.execute(
                        "SELECT state, next FROM task WHERE row = ?", (last,)
                    ).fetchone()
                found.append(Settled(row, last, state >= State.DONE))
            return found

    def passed(self, rows: Collection[int], after: int) -> list[int]:
        """Return those of these rows in which a task ended for good whose first attempt is not behind this row."""
        if not self.counts.retried and min(rows, default=after + 1) > after:
            return []
        found = []
        numbers = sorted(rows)
        with self._engine.translated():
            for start in range(0, len(numbers), _ROWS_MAX):
                some = numbers[start : start + _ROWS_MAX]
                statement = statements.ENDED_AGAIN.format(marks=", ".join("?" * len(some)))
                for row, earlier in self._engine.execute(statement, (*some, after)).fetchall():
                    first, previous = row, earlier
                    while previous is not None:
                        first = previous
                        (previous,) = self._engine.execute(
                            "SELECT previous FROM task WHERE row = ?", (first,)
                        ).fetchone()
                    if first <= after:
                        found.append(row)
        return found

    def standing(self, uid: bytes) -> Standing | None:
        """Return how far the task with this id is, its retries included; None: there is none."""
        with self._engine.translated():
            found = self._engine.execute("SELECT row, state, next FROM task WHERE uid = ?", (uid,)).fetchone()
            while found is not None and found[2] is not None:
                found = self._engine.execute("SELECT row, state, next FROM task WHERE row = ?", found[2:]).fetchone()
        return None if found is None else Standing(found[0], found[1] >= State.DONE)

    def page(self, look: "Look", enough: Callable[[], bool]) -> "Page":
        """Read a page for somebody else, see `pages`: of all tasks of the database, whatever run they are of."""
        from hs_scheduler.stores.pages import page_of  # noqa: PLC0415 - few databases are read through us

        with self._engine.translated():
            return page_of(self._engine, look, enough)

    def task(self, uid: bytes) -> tuple[int, Sequence[Any] | None]:
        """Return how many archives there are, and the raw values of `FIELDS` of the task with this id, if it is here."""
        from hs_scheduler.stores.archives import count_of  # noqa: PLC0415 - as above
        from hs_scheduler.stores.pages import task_of  # noqa: PLC0415 - as above

        with self._engine.translated():
            return count_of(self._engine), task_of(self._engine, uid)

    @property
    def whole(self) -> bool:
        """Whether the tasks of all runs, and of none, are in its care."""
        return self._whole

    def workers(self) -> set[bytes]:
        """Return the incarnations that were attached when the store was last written."""
        return {uid for (uid,) in self._read("SELECT uid FROM worker WHERE attached <> 0")}


def _public(row: Sequence[Any]) -> dict[str, Any]:
    return {field.name: shown(field, raw) for field, raw in zip(FIELDS, row[1:], strict=True)}
