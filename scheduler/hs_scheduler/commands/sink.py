"""Where submitted tasks go: to the scheduler that owns the database, or into the database itself while nobody owns it.

    owned by a scheduler ──▶ requests of bounded size, each committed and started at once
    owned by nobody      ──▶ its lock, for as long as it takes: a whole file in one transaction
    the scheduler left before it answered, and nobody owns it now ──▶ the same piece, by its key, into the database

Accepted means committed, either way.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hs_common.clock import wall
from hs_common.errors import StoppedError
from hs_common.ids import uuid_text
from hs_common.tasks import sizes_of
from hs_common.values import dataclass
from hs_scheduler.commands.live import OWNERS_MAX, client_by, client_of
from hs_scheduler.serving.asking import (
    SUBMIT_BYTES_MAX,
    SUBMIT_TASKS_MAX,
    Submission,
    new_key,
    pack_submission,
)
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import NewTask, StoreBusyError

if TYPE_CHECKING:  # ZeroMQ: only where a scheduler takes the tasks
    from hs_common.client import Client


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is committed."""

    count: int
    id: str
    """UUID of the first task, "" where there is none."""


class Sink:
    """Takes tasks for one database.

    Args:
        location: Of the database; "" with a connection.
        connection: A connection file or the name of a cluster, whose scheduler knows its database; None: whoever owns `location`.
        create: Whether to make the tables on a server where they are missing.
        patient: Whether to wait for a scheduler that is on its way again.

    """

    def __init__(
        self, location: str, connection: str | None = None, *, create: bool = False, patient: bool = False
    ) -> None:
        self._location = location
        self._create = create
        self._cwd = os.getcwdb()
        self._host = os.uname().nodename
        self._fixed = connection is not None
        self._client = client_of(location, patient=patient) if connection is None else client_by(connection)

    @property
    def live(self) -> bool:
        """Whether a scheduler takes the tasks."""
        return self._client is not None

    def close(self) -> None:
        """Say goodbye to the scheduler, if there is one."""
        if self._client is not None:
            self._client.close()

    def settle(self) -> None:
        """Wait until whatever was asked of the scheduler before has been done: what a killed command had sent, too."""
        if self._client is not None:
            self._ask(self._client, [], new_key())

    def add(self, batches: Iterable[Sequence[NewTask]], *, whole: bool) -> Iterator[Accepted]:
        """Add tasks; yield what has been committed since the last time.

        Args:
            batches: The tasks, as they come.
            whole: Into a database that nobody owns: all of them, or none.

        Raises:
            StoppedError: The database is owned by a process that takes none, or cannot be written.

        """
        batches = iter(batches)
        while self._client is not None:
            batch = next(batches, None)
            if batch is None:
                return
            for piece in pieces(batch):
                yield self._add_piece(piece)
        # A store is opened when there is something to write, not before: others may want it too.
        first = next(batches, None)
        if first is None:
            return
        with_first = (batch for some in ([first], batches) for batch in some)
        store = self._open()
        if store is None:
            yield from self.add(with_first, whole=whole)
            return
        try:
            if not whole:
                for batch in with_first:
                    with _transaction(store):
                        accepted = self._write(store, batch)
                    yield accepted
                return
            with _transaction(store):
                written = [self._write(store, batch) for batch in with_first]
            yield Accepted(sum(some.count for some in written), written[0].id)
        finally:
            store.close()

    def _add_piece(self, piece: Sequence[NewTask]) -> Accepted:
        """Have one piece added, once, by whoever owns the database by now."""
        from hs_common.client import NobodyError  # noqa: PLC0415 - loaded by now

        key = new_key()
        for tries_left in reversed(range(OWNERS_MAX)):
            try:
                if self._client is None:
                    return self._write_once(piece, key)
                return self._ask(self._client, piece, key)
            except NobodyError:
                if self._fixed or not tries_left:
                    raise
                assert self._client is not None, "only a scheduler can be nobody"
                self._client.close()
                # It has left: then there is another one, perhaps of another cluster, or the database is free.
                self._client = client_of(self._location, patient=True)
        raise AssertionError("the last try returns or raises")

    def _ask(self, client: "Client", piece: Sequence[NewTask], key: bytes) -> Accepted:
        answer = json.loads(client.ask("submit", pack_submission(Submission(key, self._host, self._cwd, piece))))
        return Accepted(answer["count"], answer["id"] or "")

    def _write_once(self, piece: Sequence[NewTask], key: bytes) -> Accepted:
        store = self._open()
        if store is None:
            assert self._client is not None, "it has the database"
            return self._ask(self._client, piece, key)
        try:
            with _transaction(store):
                answer = store.answer_to(key)
                if answer is not None:
                    known = json.loads(answer)
                    return Accepted(known["count"], known["id"] or "")
                return self._write(store, piece)
        finally:
            store.close()

    def _write(self, store: SqlStore, batch: Sequence[NewTask]) -> Accepted:
        tasks = store.add(batch, [0] * len(batch), self._cwd, wall(), submitter=self._host)
        return Accepted(len(tasks), uuid_text(tasks[0].uid) if tasks else "")

    def _open(self) -> SqlStore | None:
        """Open the database; None: a scheduler has come first, and is asked from now on."""
        try:
            return open_store(self._location, program="hs submit", brief=True, create=self._create)
        except StoppedError:
            self._client = client_of(self._location)
            if self._client is None:
                raise
            return None


@contextmanager
def _transaction(store: SqlStore) -> Iterator[None]:
    """Begin now and commit at the end.

    Raises:
        StoppedError: The database is locked, its disk is full, or its server is gone.

    """
    try:
        with store.transaction():
            yield
    except StoreBusyError as exc:
        raise StoppedError(str(exc)) from exc


def pieces(batch: Sequence[NewTask]) -> Iterator[Sequence[NewTask]]:
    """Yield a batch in parts of at most as many tasks and bytes as one request may have."""
    start = size = 0
    for at, (task, needed) in enumerate(zip(batch, sizes_of(batch), strict=True)):
        weight = needed + len(task.rejected)
        if at > start and (at - start == SUBMIT_TASKS_MAX or size + weight > SUBMIT_BYTES_MAX):
            yield batch[start:at]
            start, size = at, 0
        size += weight
    if start < len(batch):
        yield batch[start:]
