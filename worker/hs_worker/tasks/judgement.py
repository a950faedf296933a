"""Whether a failure waits for its judgement. With `--halt` nothing starts after it until the scheduler has recorded it. No IO.

    a task failed ──▶ pending ──its Result is committed──▶ go on
                         └── enough have failed: Drain, which comes before the Committed

So of what was prefetched nothing runs after the failure that was one too many; successes wait for nobody.
"""

from hs_worker.tasks.outbox import Outbox


class Judgement:
    """Of one worker.

    Args:
        outbox: Where the outcomes go.

    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.pending = False
        """Whether nothing may start."""
        self._sequence = 0

    def ask(self) -> None:
        """Wait for what becomes of the outcome that was added last."""
        self.pending = True
        self._sequence = self._outbox.newest

    def hear(self) -> None:
        """Go on if it is committed by now."""
        self.pending = self.pending and self._outbox.oldest <= self._sequence
