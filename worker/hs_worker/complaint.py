"""A line for people while no broker answers: which of its addresses failed, and why.

The worker goes on trying all the same, for its broker may only be starting. One that hs-cluster started on another host is not
that patient: its broker was there before it, and somebody waits to hear why that host takes no part.
"""

from collections.abc import Callable, Sequence
from math import inf

from hs_common.errors import StoppedError
from hs_common.reach import why_unreachable

FIRST_S = 5.0
"""From the start to the first line; then each wait is twice as long."""

PROBE_S = 2.0
"""For all addresses together. Nothing runs yet that could be held up."""


class Complaint:
    """Said until the broker has answered once. Where it listens on a socket of this host alone there is nothing to say.

    Args:
        endpoints: Of the broker.
        warn: Logs a line.
        now: Monotonic seconds.
        patience_s: After so many seconds without any answer the worker ends.

    """

    def __init__(
        self, endpoints: Sequence[str], warn: Callable[..., object], now: float, patience_s: float = inf
    ) -> None:
        self._endpoints = endpoints
        self._warn = warn
        self._patient = patience_s == inf
        self._ends_at = now + patience_s
        self._wait_s = FIRST_S
        self.due_at = inf
        if any(endpoint.startswith("tcp:") for endpoint in endpoints):
            self.due_at = now + min(FIRST_S, patience_s)
        """When to call `say`."""

    def say(self, now: float) -> None:
        """Say it.

        Raises:
            StoppedError: It has been said for long enough.

        """
        if now >= self._ends_at:
            self.despair()
        self._wait_s *= 2
        self.due_at = min(now + self._wait_s, self._ends_at)
        self._warn("broker.unreachable", tried=self._tried())

    def despair(self) -> None:
        """Nobody there will ever be the right one.

        Raises:
            StoppedError: Unless we are to be patient; it says what was tried.

        """
        if not self._patient:
            raise StoppedError(f"the broker is not reached from here: {self._tried()}")

    def hush(self) -> None:
        """Say nothing any more: it has answered."""
        self.due_at = inf

    def _tried(self) -> str:
        reasons = why_unreachable(self._endpoints, PROBE_S)
        return "; ".join(f"{where}: {why}" for where, why in reasons.items())
