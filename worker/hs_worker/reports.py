"""What a worker tells of its tasks, and when: which bundles came, how tasks ended. No IO.

Little is left to start: at once. Else what is new waits for company: each message wakes six threads on its way to the scheduler,
and they take the place of tasks.
"""

from collections.abc import Iterable, Iterator
from math import inf

from hs_common import limits
from hs_common.messages import Received, Result
from hs_worker.tasks.outbox import Kept, Outbox

_WAIT_S = 0.08
"""What is new waits at most so long: less than what was prefetched lasts (`limits.PREFETCH_S`)."""
_GAP_S = 0.005
"""Between Results that are sent because little is left to start."""


class Reports:
    """Of one worker.

    Args:
        outbox: The outcomes.
        worker: Its incarnation, 16 bytes.
        bundlewait_s: Results are held back no longer than this.

    """

    def __init__(self, outbox: Outbox, worker: bytes, bundlewait_s: float) -> None:
        self._outbox = outbox
        self._worker = worker
        self._wait_s = min(bundlewait_s, _WAIT_S)
        self._received: list[int] = []
        """Bundles that came since the last Received."""
        self.due_at = inf
        """When what is new is told at the latest; inf: there is nothing new."""
        self._told_at = -inf

    def receive(self, bundles: Iterable[int]) -> None:
        """Note bundles that came."""
        self._received.extend(bundles)

    def forget_received(self) -> None:
        """Say no more of them: an inventory does."""
        self._received.clear()

    @property
    def has_news(self) -> bool:
        """Whether there is anything that was not told yet."""
        return bool(self._received) or self._outbox.has_news

    def due(self, now: float, waiting: int, slots: int, prefetched: int) -> bool:
        """Whether to tell now, with so many tasks waiting here, and so many that the broker may give beyond one per slot."""
        if self.due_at == inf:
            self.due_at = now + self._wait_s
        few = (waiting <= slots or 4 * waiting <= prefetched) and now >= self._told_at + _GAP_S
        return not waiting or few or now >= self.due_at

    def fresh(self, now: float, session: bytes) -> Iterator[Received | Result]:
        """Yield all that is new, which is being told now. Of a bundle that came and is closed by now its Result tells all."""
        self.due_at = inf
        self._told_at = now
        new = self._outbox.take()
        closed = {bundle for kept in new for bundle in kept.closed} if self._received else ()
        here = [bundle for bundle in self._received if bundle not in closed]
        self._received.clear()
        for at in range(0, len(here), limits.IDS_MAX):
            bundles = tuple(here[at : at + limits.IDS_MAX])
            yield Received(session=session, worker=self._worker, bundles=bundles)
        for kept in new:
            yield self._result(kept, session)

    def again(self, session: bytes) -> Iterator[Result]:
        """Yield all that is not committed, in its order."""
        for kept in self._outbox.kept():
            yield self._result(kept, session)

    def _result(self, kept: Kept, session: bytes) -> Result:
        return Result(
            session=session,
            worker=self._worker,
            sequence=kept.sequence,
            oldest=self._outbox.oldest,
            tasks=kept.tasks,
            closed=kept.closed,
            body=kept.body,
        )
