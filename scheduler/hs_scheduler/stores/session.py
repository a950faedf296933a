"""A transaction on an SQL store: its scope, its counts, and the numbers that stand for texts which many rows share.

The counts are kept beside the content and are counted once, when a run is opened. Scope: with a run id the store shows and
dispatches that run's tasks only; without one (a standing queue, --restart of a whole database) every task in it.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from hs_common.errors import InvalidTransitionError, StoppedError
from hs_scheduler.stores import statements
from hs_scheduler.stores.engine import Engine
from hs_scheduler.stores.store import Counts
from hs_scheduler.tasks.state import State
from hs_scheduler.tasks.uids import Uids

_BY = re.compile(r"\{by (\w+)\}")


class Session:
    """What all questions to the store, and all changes of it, share.

    Args:
        engine: The database; closed with the store.

    """

    def __init__(self, engine: Engine) -> None:
        self.counts = Counts()
        self._engine = engine
        self._host = os.uname().nodename
        self._uids = Uids()
        self._run: int | None = None
        self._whole = True
        self._epoch = 0
        self._open = False
        self._places: dict[tuple[str, bytes], int] = {}
        self._folders: dict[int, bytes] = {}
        self._worker_numbers: dict[bytes, int] = {}
        self._last_row = engine.last_row()

    @property
    def name(self) -> str:
        """The database, as messages call it."""
        return self._engine.name

    def close(self) -> None:
        """Give up ownership; may be called twice."""
        self._engine.close()

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Call `meanwhile` over and over while a call here waits for a server."""
        self._engine.wait_with(meanwhile)

    def transaction(self) -> AbstractContextManager[None]:
        """Begin now and commit at the end."""
        return _Transaction(self)

    @property
    def fd(self) -> int | None:
        """What is readable when a server ends its session with us."""
        return self._engine.fd

    def renew_owner(self, now: float) -> None:
        """Say that we are alive, where a row says who owns the database; call it every `ownership.RENEW_S`."""
        if self._engine.renew_owner(now):
            with self.transaction():
                pass  # it begins with looking at what is there now

    def checkpoint(self) -> None:
        """Tidy up, when there is nothing else to do."""
        self._engine.checkpoint()

    # --- What the transaction uses ---

    def _begin(self) -> None:
        if self._open:
            raise InvalidTransitionError("a transaction is open already")
        another_wrote = self._engine.begin()
        self._open = True
        self._before = (self.counts.copy(), self._last_row)
        if another_wrote:
            self._look_again()

    def _commit(self) -> None:
        self._engine.commit()
        self._open = False

    def _roll_back(self) -> None:
        self._open = False
        self._engine.roll_back()
        counts, self._last_row = self._before
        self.counts.take(counts)
        # They may name rows that are gone now.
        self._places.clear()
        self._folders.clear()
        self._worker_numbers.clear()

    def _look_again(self) -> None:
        """Take notice of what somebody else wrote while we had lost the database: hs submit may, a scheduler ends us."""
        try:
            (epoch,) = self._engine.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
            if self._epoch and epoch != self._epoch:
                raise StoppedError(f"database {self.name} was taken over by another scheduler")
            self._count()
            self._last_row = self._engine.last_row()
        except BaseException as exc:
            self._roll_back()
            raise self._engine.failure(exc) or exc from exc
        self._before = (self.counts.copy(), self._last_row)

    # --- What questions and changes use ---

    def _read(self, statement: str) -> Iterator[Any]:
        return self._engine.stream(statement, {"run": self._run} if ":run" in statement else ())

    def _scoped(self, statement: str) -> str:
        """Return a statement about the tasks of our scope, with the names of its indexes where the engine wants to hear them."""
        if not self._whole:
            statement = statement.replace("{by task_ready}", "{by task_ready_in_run}")
        statement = _BY.sub(lambda found: self._engine.indexed.format(found[1]), statement)
        return statement.replace("{scope}", "" if self._whole else "AND task.run = :run")

    def _count(self) -> None:
        statement = self._scoped(statements.COUNTS)
        counts = Counts()
        for state, failed, retried, count in self._read(statement):
            if state == State.DONE and not failed and not retried:
                counts.succeeded += count  # with all others among them
                continue
            counts.succeeded -= count
            match state:
                case State.ON_HOLD:
                    counts.on_hold += count
                case State.NEW:
                    counts.new += count
                case State.ASSIGNED | State.RUNNING:
                    counts.assigned += count
                case _ if retried:
                    counts.retried += count
                case State.CANCELLED:
                    counts.cancelled += count
                case _:
                    counts.failed += count
        self.counts.take(counts)

    def _writing(self) -> None:
        if not self._open:
            raise InvalidTransitionError("writing outside a transaction")

    def _place(self, cwd: bytes, host: str) -> int:
        values = (host or self._host, cwd)
        place = self._places.get(values)
        if place is None:
            self._engine.execute("INSERT INTO place (host, cwd) VALUES (?, ?) ON CONFLICT DO NOTHING", values)
            (place,) = self._engine.execute("SELECT place FROM place WHERE host = ? AND cwd = ?", values).fetchone()
            self._places[values] = place
        return place

    def _worker_number(self, worker: bytes, host: str) -> int:
        number = self._worker_numbers.get(worker)
        if number is None:
            self._engine.execute(
                "INSERT INTO worker (uid, host, attached) VALUES (?, ?, 0) ON CONFLICT DO NOTHING", (worker, host)
            )
            (number,) = self._engine.execute("SELECT worker FROM worker WHERE uid = ?", (worker,)).fetchone()
            self._worker_numbers[worker] = number
        return number


class _Transaction:
    """The block between begin and commit."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._session._begin()  # noqa: SLF001 - a part of the session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._session
        if error is None:
            try:
                session._commit()  # noqa: SLF001
            except BaseException:
                session._roll_back()  # noqa: SLF001
                raise
            return
        session._roll_back()  # noqa: SLF001
        failure = session._engine.failure(error)  # noqa: SLF001
        if failure is not None and failure is not error:
            raise failure from error
