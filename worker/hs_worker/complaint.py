"""A line for people while no broker answers: which of its addresses failed, and why. The worker goes on trying all the same."""

from collections.abc import Callable, Sequence
from math import inf

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

    """

    def __init__(self, endpoints: Sequence[str], warn: Callable[..., object], now: float) -> None:
        self._endpoints = endpoints
        self._warn = warn
        self._wait_s = FIRST_S
        self.due_at = now + FIRST_S if any(endpoint.startswith("tcp:") for endpoint in endpoints) else inf
        """When to call `say`."""

    def say(self, now: float) -> None:
        """Say it."""
        self._wait_s *= 2
        self.due_at = now + self._wait_s
        reasons = why_unreachable(self._endpoints, PROBE_S)
        self._warn("broker.unreachable", tried="; ".join(f"{where}: {why}" for where, why in reasons.items()))

    def hush(self) -> None:
        """Say nothing any more: it has answered."""
        self.due_at = inf
