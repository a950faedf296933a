"""What still fits before a worker must end. No IO.

    start ─────────────▶ margin_at ─────────────▶ drain_at ────▶ ends_at
      all that fits        only what has a limit     nothing new;    whoever gave us the time takes it back
                                                     what would run on is stopped and handed back

A task fits that has a limit and would reach it before the end. One without a limit fits until the margin begins.
"""

from math import inf

FAREWELL_S = 2.0
"""Between the last SIGKILL and the end: for results to be sent and acknowledged."""
MISFITS_MAX = 10
"""Times that the broker gave us, one after the other, what we may not start: its margin is not ours. Then the worker leaves,
for the same tasks would come and go for ever."""
_SECONDS_MIN = 0.001
"""Stands for "its end has come", since 0 means that there is none."""


def reserve_s(margin_s: float, stop_wait_s: float) -> float:
    """Return how many seconds before its end a worker stops what would run on: three signals, and a farewell."""
    return min(margin_s, 2 * stop_wait_s + FAREWELL_S)


class End:
    """The end of one worker.

    Args:
        ends_at: Monotonic seconds; infinity where there is none.
        margin_s: Before the end, in which no task without a limit is started.
        stop_wait_s: Between SIGINT, SIGTERM and SIGKILL of a task that is stopped for it.

    """

    def __init__(self, ends_at: float, margin_s: float, stop_wait_s: float) -> None:
        self.ends_at = ends_at
        self.known = ends_at < inf
        self._margin_at = ends_at - margin_s
        self.drain_at = ends_at - reserve_s(margin_s, stop_wait_s)
        self.due_at = min(self._margin_at, self.drain_at)
        """When something changes next; infinity: nothing will."""
        self._misfits = 0
        self._misfit_at = -inf

    def fits(self, limit_s: float, now: float) -> bool:
        """Whether a task may be started; `limit_s`: its time limit, infinity where it has none."""
        if limit_s == inf:
            return now < self._margin_at
        return now + limit_s <= self.ends_at

    def misfit(self, now: float) -> None:
        """Note that the broker gave us now what does not fit now."""
        if now > self._misfit_at:
            self._misfits += 1
            self._misfit_at = now

    def fit(self) -> None:
        """Note that something fitted."""
        self._misfits = 0

    @property
    def misjudged(self) -> bool:
        """Whether broker and worker will not come to one mind."""
        return self._misfits >= MISFITS_MAX

    def pass_by(self, now: float) -> None:
        """Note that what was due at `now` has been done."""
        self.due_at = self.drain_at if now < self.drain_at else inf

    def seconds(self, now: float) -> float:
        """Return how long it still has, as messages say it: 0 when it has no end."""
        return max(_SECONDS_MIN, self.ends_at - now) if self.known else 0.0
