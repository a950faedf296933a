"""What one step writes: committed together, tried again while the store is busy, then told to all who count.

outcomes, workers: what the core asked for ─┐
what commands asked for ────────────────────┼──▶ one transaction ──▶ committed ──▶ report, rate, job log, order of outputs
lines, and NEW rows: what is claimed ───────┘           ▲    └─ busy ─▶ wait
└────────────────┘
"""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from hs_common.clock import monotonic, wall
from hs_common.crash import crash_point
from hs_scheduler.events import (
    ClaimedBundle,
    Effect,
    ForgetWorker,
    MarkStarted,
    Record,
    Release,
    RememberWorker,
)
from hs_scheduler.patience import Patience
from hs_scheduler.serving.status import ended
from hs_scheduler.stores.store import Applied

if TYPE_CHECKING:
    from hs_scheduler.assemble import Parts


class Writing:
    """The writes of one scheduler.

    Args:
        parts: What it is made of.
        patience: With a store that is busy.

    """

    def __init__(self, parts: "Parts", patience: Patience) -> None:
        self._parts = parts
        self._store = parts.store
        self._feed = parts.feed
        self._desk = parts.desk
        self._patience = patience

    def commit(
        self, writes: Sequence[Effect], room: int, now: float
    ) -> tuple[list[Sequence[Applied]], list[ClaimedBundle]]:
        """Commit one step; try again while the store is busy. Return what applied of each Result, and what was claimed.

        Raises:
            StoppedError: It stayed busy for too long, or we are told to stop meanwhile.

        """
        return self._patience.carry_out(lambda: self._commit(writes, room, now))

    def tell(self, applied: Sequence[Sequence[Applied]]) -> None:
        """Count and report what was committed, of each Result; print and file what can be now."""
        if not applied:
            return
        for some in applied:
            self._parts.report.count(some, self._store)
            if self._parts.recent is not None:
                self._parts.recent.note(some)
        self._parts.rate.note(monotonic(), ended(self._store.counts))
        if self._parts.joblog is not None:
            self._parts.joblog.write(chain.from_iterable(applied))
        ordering = self._parts.ordering
        if ordering is not None and ordering.ended(item.row for item in chain.from_iterable(applied) if item.state):
            self._parts.report.ordered()

    def _commit(
        self, writes: Sequence[Effect], room: int, now: float
    ) -> tuple[list[Sequence[Applied]], list[ClaimedBundle]]:
        with self._store.transaction():
            self._feed.begin()
            applied = [some for effect in writes if (some := self._write_one(effect))]
            claimed = self._desk.write(room, wall())
            taken = sum(len(bundle.rows) for bundle in claimed)
            claimed += self._feed.fill(room - taken, now, wall())
            crash_point("scheduler.before_commit")
        return applied, claimed

    def _write_one(self, effect: Effect) -> Sequence[Applied]:
        match effect:
            case Record(worker=worker, host=host, outcomes=outcomes):
                return self._store.record(worker, host, outcomes, self._parts.retry, wall())
            case Release(rows=rows):
                self._store.release(rows)
            case MarkStarted(worker=worker, host=host, started=started):
                self._store.started(worker, host, started)
            case RememberWorker(worker=worker, replaces=replaces, host=host):
                self._store.worker_attached(worker, replaces, host, wall())
            case ForgetWorker(worker=worker):
                self._store.worker_gone(worker)
        return ()
