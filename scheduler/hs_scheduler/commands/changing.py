"""Who carries a change out: the scheduler that owns the database, or we ourselves while nobody owns it.

owned by a scheduler ──▶ a request for each piece, made in one of its own transactions
owned by nobody      ──▶ its lock, and a transaction for each piece
the scheduler left before it answered ──▶ the same piece, by its key, of whoever owns it now
"""

import json
from collections.abc import Iterable

from hs_common.client import Client, NobodyError
from hs_common.clock import wall
from hs_common.errors import StoppedError
from hs_common.values import replace
from hs_scheduler.commands.asking import tasks_text
from hs_scheduler.commands.live import OWNERS_MAX, client_of
from hs_scheduler.serving.asking import Update, new_key, pack_update
from hs_scheduler.stores.changes import Change, Changed, Piece, Span
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import StoreBusyError


def carry_out(location: str, change: Change, spans: Iterable[Span]) -> Changed:
    """Change tasks, piece by piece, and return what became of them.

    Args:
        location: The database.
        change: What is to be done.
        spans: Where it finds something to do.

    Raises:
        RefusedError: The change makes no sense to the scheduler.
        StoppedError: The database is owned by a process that takes no changes, or cannot be written.

    """
    change = replace(change, filter=change.filter.split()[0])
    done = Changed()
    changing = _Changing(location)
    try:
        for first, last, _, rows in spans:
            done = done.plus(changing.make(Piece(change, first, last, rows)))
    except (StoppedError, StoreBusyError) as exc:
        before = f" ({tasks_text(done.count)} changed before)" if done.count else ""
        raise StoppedError(f"{exc}{before}") from exc
    finally:
        changing.close()
    return done


class _Changing:
    """Whoever can change a database at this moment.

    Args:
        location: The database.

    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._client: Client | None = client_of(location)
        self._store: SqlStore | None = None

    def close(self) -> None:
        """Let go of the scheduler, or of the database."""
        if self._client is not None:
            self._client.close()
        if self._store is not None:
            self._store.close()

    def make(self, piece: Piece) -> Changed:
        """Make one piece, once, by whoever owns the database by now."""
        key = new_key()
        tries_left = OWNERS_MAX
        while self._client is not None:
            tries_left -= 1
            try:
                return _heard(self._client.ask("update", pack_update(Update(key, piece))))
            except NobodyError:
                self._client.close()
                # It has left: then there is another one, or the database is free; or it lives and is out of reach.
                self._client = client_of(self._location, patient=True)
                if self._client is not None and not tries_left:
                    raise
        if self._store is None:
            self._store = open_store(self._location, program="hs task update", brief=True)
        with self._store.transaction():
            if answer := self._store.answer_to(key):
                return _heard(answer)
            return self._store.change(piece, wall())


def _heard(answer: bytes) -> Changed:
    said = json.loads(answer)
    return Changed(count=said["count"], left=said["left"])
