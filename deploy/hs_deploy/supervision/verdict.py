"""How a run ends: its exit status and the reason, from who had a word in it. No IO.

the daemons: 0 all succeeded · 1 some did not · 2 or 3 it cannot go on     --halt: 1 instead of 0     something is left for lack
of time: 3 instead of 0 or 1
the user's signal: 128 + its number, where the daemons say 0 or 1
"""

from hs_deploy.daemons import STATUS_STOPPED
from hs_deploy.supervision.events import Finish

TIME_OVER = "the time of its workers is over (--walltime, or that of the batch job)"


class Verdict:
    """Of one run; the last word of the daemons counts, and the first signal."""

    def __init__(self) -> None:
        self._status = 0
        self._reason = ""
        self._halted = ""
        self._time_over = False
        self._signum = 0

    def interrupt(self, signum: int) -> bool:
        """Note a signal of the user; return whether it is the first."""
        first = not self._signum
        self._signum = self._signum or signum
        return first

    def halt(self, reason: str) -> None:
        """Note that the run ends because enough has failed."""
        self._halted = reason

    def time_over(self, *, left: bool) -> None:
        """Note whether something is left that nobody may run, for the time of this run is over."""
        self._time_over = left

    def end(self, status: int, reason: str) -> None:
        """Note how the daemons end; `reason`: why not everything ran, or ""."""
        if self._time_over and status in (0, 1):
            status, reason = STATUS_STOPPED, reason or TIME_OVER
        self._status, self._reason = (1, self._halted) if self._halted and not status else (status, reason)

    def finish(self) -> Finish:
        """Return what the user is told."""
        if self._signum and self._status in (0, 1):
            return Finish(128 + self._signum, self._reason)
        return Finish(self._status, self._reason)
