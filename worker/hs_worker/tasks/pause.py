"""Tasks that stand still because their user pressed Ctrl-Z, and what is left of their limits. No IO.

Rules, checked by `check`:
1. What is held has a process, and no limit of it can end.
"""

from collections.abc import Collection, Iterable
from math import inf

from hs_worker.tasks.run import Run


class Pause:
    """Whether this worker is paused, and what it holds."""

    def __init__(self) -> None:
        self.paused = False
        self._since = 0.0
        self._held: dict[Run, float] = {}
        """Run -> seconds that its limit still has; inf: it has none."""

    def begin(self, runs: Iterable[Run], now: float) -> bool:
        """Hold these; return whether there was no pause before."""
        if self.paused:
            return False
        self.paused = True
        self._since = now
        for run in runs:
            self._held[run] = run.due_at - now
            run.due_at = inf
        return True

    def release(self, run: Run) -> bool:
        """Hold this one no longer, it ends; return whether it was held."""
        return bool(self._held) and self._held.pop(run, None) is not None

    def end(self, now: float) -> Collection[Run]:
        """Give all limits the time back that they had; return what was held."""
        for run, left_s in self._held.items():
            run.due_at = now + left_s
            if run.then_due_at is not None:
                run.then_due_at += now - self._since
        held, self._held = self._held.keys(), {}
        self.paused = False
        return held

    def check(self, runs: Collection[Run]) -> None:
        """Assert the rule."""
        assert self.paused or not self._held
        assert all(run in runs and run.has_process and run.due_at == inf for run in self._held)
