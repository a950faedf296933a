"""What the scheduler tells us on its pipe, one JSON line each: progress, a halt, the end."""

import json
from typing import Any

from hs_deploy.daemons import STATUS_STOPPED
from hs_deploy.output.summary import Findings, Totals, findings, totals
from hs_deploy.supervision.events import Event, HaltAsked, Progressed, RunEnded


class Reports:
    """The latest figures, and what they mean for the supervisor."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.findings = Findings()
        self.before: int | None = None
        """Attempts that had ended when the first scheduler began: of an earlier start; None: it has not begun."""
        self.slots = 0
        """Most that there were at once."""
        self.read_bytes = 0
        """Of the input, by the scheduler."""
        self.kept_bytes = 0
        """Of the input, that no scheduler will read again: their tasks are in the store."""
        self.stopped = False
        """Whether a scheduler that had begun could not go on, so that no end of the run is recorded."""
        self.half_line = False
        """Whether the scheduler asks if a last line without newline is whole."""

    def read(self, text: bytes) -> list[Event]:
        """Take whole lines; return what happened."""
        events: list[Event] = []
        for line in text.splitlines():
            try:
                report = json.loads(line)
            except ValueError:
                continue  # the half line of a scheduler that was killed while it wrote
            if "end" in report:
                self.totals = totals(report["end"], self.totals)
                self.findings = findings(report["end"])
                # One that has no numbers never began.
                self.stopped = report["end"]["status"] == STATUS_STOPPED and "done" in report["end"]
                end = report["end"]
                left = bool(end.get("left") or end.get("unread"))
                events.append(RunEnded(status=end["status"], reason=end["reason"], left=left))
            elif "halt" in report:
                events.append(HaltAsked(reason=report["halt"]["reason"], now=report["halt"]["now"]))
            elif "progress" in report:
                events.append(self._progress(report["progress"]))
        return events

    def _progress(self, progress: dict[str, Any]) -> Progressed:
        self.totals = totals(progress, self.totals)
        if self.before is None:
            self.before = self.totals.attempts
        self.slots = max(self.slots, self.totals.slots)
        self.read_bytes = max(self.read_bytes, progress.get("read_bytes", 0))
        self.kept_bytes = max(self.kept_bytes, progress.get("kept_bytes", 0))
        self.half_line = bool(progress.get("half_line"))
        return Progressed(finished=self.totals.attempts, left=self.totals.left)
