"""When to stop because too much fails: `--halt N`, `N%`, `now,N`, `now,N%`. Pure.

Counted are tasks that failed finally, since this hs-cluster was started. A share is one of all tasks, so it is judged only once
the whole input was read: of the first two lines one that fails is half.
"""

import re

from hs_common.errors import RefusedError
from hs_common.values import dataclass
from hs_scheduler.stores.store import Counts

COUNT_MAX = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """A limit of failures."""

    text: str
    """As it was typed."""
    limit: int
    """Tasks, or per cent of them."""
    share: bool
    now: bool
    """Whether running tasks are stopped too."""

    def reached(self, counts: Counts, failed_before: int, *, total_known: bool) -> bool:
        """Whether so many failed; failed_before: how many had before this run of hs-cluster."""
        failed = counts.failed - failed_before
        if not self.share:
            return failed >= self.limit
        total = counts.new + counts.assigned + counts.succeeded + counts.failed + counts.cancelled
        return total_known and failed > 0 and failed * 100 >= self.limit * total


def parse_halt(text: str) -> Halt:
    """Return what a `--halt` asks for.

    Raises:
        RefusedError: It makes no sense.

    """
    match = re.fullmatch(r"(now,)?([0-9]{1,10})(%?)", text)
    if match is None:
        raise RefusedError(f"--halt {text}: is not N, N%, now,N or now,N%")
    now, number, share = match.groups()
    limit, limit_max = int(number), 100 if share else COUNT_MAX
    if not 1 <= limit <= limit_max:
        raise RefusedError(f"--halt {text}: {limit} is not in 1..{limit_max}")
    return Halt(text=text, limit=limit, share=bool(share), now=bool(now))
