"""When a scheduler has done its work, or cannot go on with it, and why: judged by what store, input and core have come to.

nothing NEW or out, the input read ──▶ over
what is left is on hold, or behind a group that failed ──▶ over, with a reason
--halt: too much failed ──▶ drain ──nothing out──▶ over, with a reason
"""

from typing import TYPE_CHECKING

from hs_scheduler.report import End

if TYPE_CHECKING:
    from hs_scheduler.assemble import Parts
    from hs_scheduler.halt import Halt


class Ending:
    """Judges one scheduler; changes nothing.

    Args:
        parts: What it is made of.

    """

    def __init__(self, parts: "Parts") -> None:
        self._parts = parts
        self._store = parts.store
        self._core = parts.core
        self._feed = parts.feed
        self._halted = False
        self._told_held = False

    def over(self) -> bool:
        """Whether nothing is left to do, or nothing of it can be done."""
        if self._core.tasks_out:
            return False
        if self._core.draining:
            return True
        counts = self._store.counts
        if self._parts.forever or counts.assigned:
            return False
        # A failed group holds all others: but first the input is read, for it may show a lower one.
        if counts.new and self._feed.held_by is not None:
            return self._feed.ended or not self._feed.wants_lines()
        return self._feed.ended and not counts.new

    def halts(self) -> "Halt | None":
        """Return the limit of failures when it is reached: once."""
        halt = self._parts.halt
        if halt is None or self._halted:
            return None
        if not halt.reached(self._store.counts, self._parts.failed_before, total_known=self._feed.ended):
            return None
        self._halted = True
        return halt

    def reason(self) -> str:
        """Return why not everything ran, as far as it was decided here; "": nothing was."""
        counts, group = self._store.counts, self._feed.held_by
        if self._halted and self._parts.halt is not None:
            return f"halted, as --halt {self._parts.halt.text} asks for: {counts.failed - self._parts.failed_before} failed"
        if group is not None and counts.new and not counts.assigned and not self._core.draining:
            return (
                f"group {group} has tasks that failed or are on hold, so the {counts.new} in later groups wait: "
                "retry them (hs-cluster --restart --retry-failed), give them up "
                f"(hs task update --delete -F -g {group}), or hs task update --release those on hold"
            )
        if counts.on_hold and not counts.new and not counts.assigned:
            return f"tasks on hold: {counts.on_hold}: hs task update --release lets them go"
        return ""

    def newly_held(self) -> str:
        """Return why a scheduler that stays does nothing, when that begins; "" otherwise."""
        if not self._parts.forever or self._core.tasks_out or self._halted:
            return ""
        held = self.reason()
        begins, self._told_held = bool(held) and not self._told_held, bool(held)
        return held if begins else ""

    def end(self) -> End:
        """Return how it ended."""
        counts = self._store.counts
        left = counts.new + counts.on_hold + counts.assigned
        failed = counts.failed + counts.cancelled
        status = int(bool(failed or left or self._halted))
        return End(status=status, reason=self.reason(), left=left, unread=not self._feed.ended)
