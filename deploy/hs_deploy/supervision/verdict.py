"""How a run ends: its exit status and the reason, from who had a word in it. No IO.

the daemons: 0 all succeeded · 1 some did not · 2 or 3 it cannot go on     --halt: 1 instead of 0
the user's signal: 128 + its number, where the daemons say 0 or 1
"""

from hs_deploy.supervision.events import Finish


class Verdict:
    """Of one run; the last word of the daemons counts, and the first signal."""

    def __init__(self) -> None:
        self._status = 0
        self._reason = ""
        self._halted = ""
        self._signum = 0

    def interrupt(self, signum: int) -> bool:
        """Note a signal of the user; return whether it is the first."""
        first = not self._signum
        self._signum = self._signum or signum
        return first

    def halt(self, reason: str) -> None:
        """Note that the run ends because enough has failed."""
        self._halted = reason

    def end(self, status: int, reason: str) -> None:
        """Note how the daemons end; `reason`: why not everything ran, or ""."""
        self._status, self._reason = (1, self._halted) if self._halted and not status else (status, reason)

    def finish(self) -> Finish:
        """Return what the user is told."""
        if self._signum and self._status in (0, 1):
            return Finish(128 + self._signum, self._reason)
        return Finish(self._status, self._reason)
