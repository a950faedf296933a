"""What `hs status` shows of a scheduler: its workers, what waits and runs, how fast it goes and when it will be done."""

import os
from typing import Any

from hs_common import __version__
from hs_common.clock import wall
from hs_scheduler.core import SchedulerCore
from hs_scheduler.input.feed import Feed
from hs_scheduler.serving.rate import Rate
from hs_scheduler.stores.recent import Recent
from hs_scheduler.stores.store import Counts, Store

PLACES = 3
"""Decimals of rates and durations."""


def status(
    *, store: Store, core: SchedulerCore, feed: Feed, rate: Rate, recent: Recent | None, database: str, now: float
) -> dict[str, Any]:
    """Return the answer.

    Args:
        store: What there is to do.
        core: Who is here.
        feed: What is read, and of which group.
        rate: How fast.
        recent: How long tasks take; None: nobody scales this cluster.
        database: As messages call it, or "".
        now: Monotonic seconds.

    """
    counts = store.counts
    per_s = rate.per_s(now, ended(counts))
    left = counts.new + counts.assigned
    group = feed.active_group()
    return {
        "host": os.uname().nodename,
        "pid": os.getpid(),
        "version": __version__,
        "time": round(wall(), PLACES),
        "database": database or None,
        "workers": core.census(),
        "slots": core.slots,
        "queued": counts.new + core.parked_tasks,
        "fits_nobody": core.parked_tasks,
        "on_hold": counts.on_hold,
        # Handed out: what a worker has fetched and not started is among them.
        "running": counts.assigned - core.parked_tasks,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "retried": counts.retried,
        "rate": round(per_s, PLACES),
        "eta_s": round(left / per_s, PLACES) if per_s and left else 0.0 if not left else None,
        "reading": not feed.ended,
        "draining": core.draining,
        "held_by_group": feed.held_by,
        "group": group,
        "group_left": left if recent is None or not feed.grouped else store.left_of_group(group),
        "average_s": None if recent is None else _rounded(recent.average_s(group)),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def ended(counts: Counts) -> int:
    """Return how many attempts have ended."""
    return counts.succeeded + counts.failed + counts.cancelled + counts.retried
