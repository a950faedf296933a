"""How a worker leaves: asked to drain or to stop, then at the latest when. No IO.

    WORKING ──drain──▶ draining ──all ended, all committed──▶ gone
       └──────stop───▶ stopping ──all ended, or waited enough──▶ gone

A stop overtakes a drain; neither is ever taken back.
"""

from math import inf

from hs_common.values import dataclass

_BYE_WAIT_S = 10.0
"""For a broker that is being restarted while we drain: without our farewell its scheduler waits a whole lease for us."""


@dataclass(slots=True)
class Departure:
    """Whether we leave, and how long we wait for what."""

    draining: bool = False
    """Nothing more is started."""
    killing: bool = False
    """What runs is ended with SIGKILL."""
    refused: bool = False
    """The broker wants none of us: coming back would be of no use."""
    time_over: bool = False
    """The time is over in which we may run."""
    gone: bool = False
    drain_until: float = inf
    """When draining ends and stopping begins."""
    leave_at: float = inf
    """When we go with or without the last acknowledgements; known since nothing runs any more."""
    idle_until: float = inf
    """When we leave because there is nothing to do."""
    _waits: bool = False
    """Whether it was asked already if we wait without end."""
    _leave_wait_s: float = inf
    _bye_by: float = inf
    """When we go without a farewell, if all is committed; known since there was nobody to say it to."""

    def drain(self, now: float, grace_s: float | None) -> None:
        """Start nothing more; `grace_s`: seconds until what still runs is stopped, None: never."""
        self.draining = True
        self.idle_until = inf
        if grace_s is not None:
            self.drain_until = min(self.drain_until, now + grace_s)

    def rest(self, now: float, timeout_s: float, *, idle: bool) -> None:
        """Note whether there is anything to do; with nothing for `timeout_s` seconds we leave."""
        if not idle:
            self.idle_until = inf
        elif self.idle_until == inf and not self.draining:
            self.idle_until = now + timeout_s

    def stop(self, wait_s: float, *, kill: bool) -> None:
        """Leave as soon as nothing runs, `wait_s` after that at the latest."""
        self.draining = True
        self.drain_until = inf
        self.killing = self.killing or kill
        self._leave_wait_s = min(self._leave_wait_s, wait_s)
        self.leave_at = inf

    def leaves(self, now: float, *, committed: bool, missed: bool) -> bool:
        """Whether to go now that nothing runs.

        Args:
            now: Monotonic seconds.
            committed: Nothing is left to be acknowledged.
            missed: Somebody knows us, and cannot be told now that we go: he would wait for us.

        """
        if self.leave_at == inf:
            self.leave_at = now + self._leave_wait_s
        if committed and self._bye_by == inf:
            self._bye_by = now + _BYE_WAIT_S if missed else now
        self.gone = (committed and (not missed or now >= self._bye_by)) or now >= self.leave_at
        return self.gone

    def begins_to_wait(self) -> bool:
        """Return, once, whether we wait for acknowledgements and nothing says how long."""
        begins = not self._waits and self.leave_at == self._bye_by == inf
        self._waits = self._waits or begins
        return begins

    def deadline(self) -> float:
        """Return when something of this is due."""
        return inf if self.gone else min(self.drain_until, self.leave_at, self._bye_by, self.idle_until)

    def check(self, *, busy: bool) -> None:
        """Assert that who has nothing left to wait for but acknowledgements knows for how long."""
        assert self.gone or not self.draining or busy or self.leave_at < inf or self._leave_wait_s == inf
