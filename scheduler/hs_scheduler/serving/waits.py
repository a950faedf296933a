"""Who waits for the end of which tasks. Nobody polls: what a commit has changed is looked up here.

wait ──▶ [rows that have not ended] ──a row ended, without a retry──▶ ... ──the last one──▶ answered
                └── it ended with a retry: the row of that one instead
"""

from collections.abc import Iterable

from hs_common.values import dataclass, field
from hs_scheduler.stores.store import Standing

Asker = tuple[bytes, int]
"""Client and number of its request."""


@dataclass(slots=True)
class Wait:
    """What one request waits for."""

    count: int
    """Of tasks."""
    left: set[bytes] = field(default_factory=set)
    """Ids of those that have not ended."""


class Waits:
    """All that is waited for, by row."""

    def __init__(self) -> None:
        self._waits: dict[Asker, Wait] = {}
        self._watchers: dict[int, dict[tuple[Asker, bytes], None]] = {}

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waits)

    def add(self, asker: Asker, standing: dict[bytes, Standing]) -> Wait:
        """Note what is waited for; what it returns with nothing `left` need not wait, and is not kept."""
        wait = Wait(len(standing))
        for uid, (row, ended) in standing.items():
            if not ended:
                wait.left.add(uid)
                self._watchers.setdefault(row, {})[asker, uid] = None
        if wait.left:
            self._waits[asker] = wait
        return wait

    def watched(self, rows: Iterable[int]) -> list[int]:
        """Return those of the rows for which somebody waits."""
        return [row for row in rows if row in self._watchers] if self._watchers else []

    def ids_at(self, row: int) -> set[bytes]:
        """Return the ids that are waited for at this row."""
        return {uid for _, uid in self._watchers.get(row, ())}

    def move(self, row: int, standing: dict[bytes, Standing | None]) -> list[tuple[Asker, Wait]]:
        """Take note of how far the tasks that were waited for at `row` are now; return whose wait is over, and forget it.

        A task that is gone (deleted) has ended too.
        """
        over = []
        for asker, uid in list(self._watchers.pop(row, ())):
            wait = self._waits[asker]
            now = standing[uid]
            if now is not None and not now.ended:
                self._watchers.setdefault(now.row, {})[asker, uid] = None
                continue
            wait.left.discard(uid)
            if not wait.left:
                over.append((asker, wait))
                del self._waits[asker]
        return over

    def forget(self, client: bytes) -> None:
        """Forget what this client waits for."""
        for asker in [asker for asker in self._waits if asker[0] == client]:
            del self._waits[asker]
        self._drop_watchers()

    def forget_all(self) -> None:
        """Forget what anybody waits for."""
        self._waits.clear()
        self._watchers.clear()

    def check(self) -> None:
        """Assert that exactly what is left is watched."""
        watched = {(asker, uid) for watchers in self._watchers.values() for asker, uid in watchers}
        assert watched == {(asker, uid) for asker, wait in self._waits.items() for uid in wait.left}
        assert all(self._watchers.values())
        assert all(wait.left for wait in self._waits.values())

    def _drop_watchers(self) -> None:
        for row, watchers in list(self._watchers.items()):
            kept = {watcher: None for watcher in watchers if watcher[0] in self._waits}
            if kept:
                self._watchers[row] = kept
            else:
                del self._watchers[row]
