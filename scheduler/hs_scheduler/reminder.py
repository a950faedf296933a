"""When to say again that tasks wait for something that may never come: after a minute, then seldom and seldomer. No IO."""

from math import inf

FIRST_S = 60.0
LAST_S = 3600.0
"""Pauses double up to this: a queue may wait for days for its one large worker."""


class Reminder:
    """Silent until there is something to remind of. Instants are monotonic seconds."""

    def __init__(self) -> None:
        self.at = inf
        """When to look again."""
        self._pause_s = FIRST_S

    def begin(self, now: float, *, anew: bool) -> bool:
        """Note that there is something; return whether to say it now. `anew`: it was not there before, be it for a moment."""
        first = self.at == inf
        if first or anew:
            self._pause_s = FIRST_S
            self.at = min(self.at, now + FIRST_S)
        return first

    def due(self, now: float, *, still: bool) -> bool:
        """Return whether to say it now; `still`: it is there. Where it is not, the next time begins anew."""
        if now < self.at:
            return False
        self._pause_s = min(LAST_S, 2 * self._pause_s)
        self.at = now + self._pause_s if still else inf
        return still
