"""When to launch workers, and when to give up: the periods, launches that fail, and their pauses. No IO.

begin ──▶ init_size launches ──▶ every period: decide ──▶ one more, or none
             failed ──▶ a pause, twice as long each time ──▶ 10 in a row: the end
"""

from math import inf

from hs_deploy.daemons import STATUS_STOPPED
from hs_deploy.launchers.autoscale import Census, Decision, Policy, decide

FAILURES_MAX = 10
"""In a row; then no worker can be started."""
PAUSE_MAX_S = 60.0
PAUSE_PERIODS_MAX = 4
"""A pause is a period long, then two, then so many, and never longer than `PAUSE_MAX_S`."""
STAYED_S = 10.0
"""A launcher that ends so soon with status 0, while nobody is connected, has put its work somewhere else, most likely."""
HINT = "; it must stay in the foreground as long as its worker lives (srun, not sbatch)"


class Launches:
    """How one cluster is scaled.

    Args:
        policy: What was asked for.
        now: Monotonic seconds.
        stays_s: So long, seconds, stays what launches a worker, unless it has put that somewhere else. A worker that had nothing
            to do may leave sooner (`-T`); one on this host is itself what is launched (0).

    """

    def __init__(self, policy: Policy, now: float, *, stays_s: float = STAYED_S) -> None:
        self._policy = policy
        self._stays_s = stays_s
        self._initial = policy.init_size
        self._decide_at = now + policy.period_s
        self._not_before = -inf
        self._failures = 0
        self._reasons: list[str] = []
        self.closed = False
        """Whether nothing is to be launched any more."""

    def initial(self, now: float) -> int:
        """Return how many to launch now of those to begin with."""
        if self.closed or now < self._not_before:
            return 0
        count, self._initial = self._initial, 0
        return count

    def due(self, now: float) -> bool:
        """Whether it is time to decide."""
        return not self.closed and now >= self._decide_at

    def decide(self, census: Census, now: float) -> Decision:
        """Decide; the next time is a period later."""
        self.postpone(now)
        decision = decide(self._policy, census)
        if decision.start and now < self._not_before:
            wait_s = self._not_before - now
            reason = f"{decision.reason}; waiting {wait_s:.0f} s more after {self._failures} failed launches"
            return Decision(**(decision.numbers() | {"start": False, "reason": reason}))
        return decision

    def postpone(self, now: float) -> None:
        """Decide a period later."""
        self._decide_at = now + self._policy.period_s

    def stayed(self) -> None:
        """Note that a launched worker has come: launching works."""
        self._failures = 0

    def ended(self, status: int, how: str, *, lived_s: float, connected: int, now: float) -> str:
        """Note that a unit ended; return what to say of it, or "".

        Args:
            status: Its exit status, -signal.
            how: What ended in which way.
            lived_s: How long it was there, seconds.
            connected: Workers that are.
            now: Monotonic seconds.

        """
        early = self.returned_early(status, lived_s) and not connected
        # One that never began ends with that status, however long it tried to reach its broker.
        if (lived_s >= STAYED_S and status != STATUS_STOPPED) or (status == 0 and lived_s >= self._stays_s):
            self.stayed()
        if self.closed or (status == 0 and not early):
            return ""
        text = how + (HINT if early else "")
        self._failures += 1
        self._reasons = [*self._reasons[-1:], text]
        periods = min(PAUSE_PERIODS_MAX, 2 ** (self._failures - 1))
        self._not_before = now + min(PAUSE_MAX_S, self._policy.period_s * periods)
        return text

    def returned_early(self, status: int, lived_s: float) -> bool:
        """Whether what ended with this status after so many seconds may have put its work somewhere else."""
        return status == 0 and lived_s < self._stays_s

    @property
    def hopeless(self) -> str:
        """Why no worker can be started, or ""."""
        if self._failures < FAILURES_MAX:
            return ""
        return f"{self._failures} launches in a row have failed; the last: {self._reasons[-1]}"

    def deadline(self) -> float:
        """Return when to look again, monotonic seconds."""
        if self.closed:
            return inf
        return min(self._decide_at, max(self._not_before, -inf) if self._initial else inf)
