"""The one progress line on a terminal. Imported only when there is one, after the daemons were started: rich takes its time.

━━━━━━━━━━╸━━━━━ 1203/5000  12 failed  8 running  412/s  ETA 0:09  1 worker
"""

import os
from collections import deque

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hs_deploy.output.relay import Outlet
from hs_deploy.output.summary import Totals, duration_text

REDRAW_S = 0.1
"""At most so often."""

RATE_WINDOW_S = 10.0
"""The rate, and so the ETA, is that of the last so many seconds."""

BAR_CELLS = 24

_ERASE = b"\r\x1b[2K"


class Progress:
    """Draws the line on stderr, and gets out of the way of everything else that is written to the terminal."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        # The file is where rich looks for colours and width; the bytes go through the outlet.
        self._console = Console(file=os.fdopen(os.dup(outlet.fd), "w"), force_terminal=True, legacy_windows=False)
        self._shown = False
        self._stale = False
        """Whether the numbers have changed since they were drawn."""
        self._drawn_at = 0.0
        self._totals: Totals | None = None
        self._past: deque[tuple[float, int]] = deque()

    def hide(self) -> None:
        """Erase the line: something else is about to be written."""
        if self._shown:
            self._shown = False
            self._outlet.write(_ERASE)

    def update(self, totals: Totals, now: float) -> None:
        """Take the newest numbers."""
        self._stale |= totals != self._totals
        self._totals = totals
        self._past.append((now, totals.attempts))
        while len(self._past) > 2 and self._past[0][0] < now - RATE_WINDOW_S:  # noqa: PLR2004 - a rate needs two
            self._past.popleft()

    def draw(self, now: float) -> None:
        """Draw the line, if it is time and nothing waits to be written before it."""
        if self._totals is None or self._outlet.waits or (self._shown and now < self._drawn_at + REDRAW_S):
            return
        self._drawn_at, self._shown, self._stale = now, True, False
        with self._console.capture() as capture:
            self._console.print(self._line(self._totals), end="", no_wrap=True, overflow="ellipsis", crop=True)
        self._outlet.write(_ERASE + capture.get().rstrip("\n").encode())

    def deadline(self) -> float | None:
        """When to call `draw` next, if the line is to be redrawn; what waits to be written before it says itself when."""
        due = self._totals is not None and (not self._shown or self._stale) and not self._outlet.waits
        return self._drawn_at + REDRAW_S if due else None

    def _line(self, totals: Totals) -> Table:
        rate = self._rate()
        parts = [f"{totals.done}/{totals.total if totals.total is not None else '?'}"]
        parts.append(f"{totals.failed} failed")
        parts.append(f"{min(totals.running, totals.slots) if totals.slots else totals.running} running")
        if rate:
            parts.append(f"{rate:.{0 if rate >= 10 else 1}f}/s")  # noqa: PLR2004 - two digits are enough
        if rate and totals.total is not None:
            parts.append(f"ETA {duration_text((totals.total - totals.done) / rate)}")
        parts.append(f"{totals.workers} worker{'' if totals.workers == 1 else 's'}")
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=totals.total or None, completed=totals.done, width=BAR_CELLS)
        grid.add_row(bar, Text("  ".join(parts), style="red" if totals.failed else "", no_wrap=True))
        return grid

    def _rate(self) -> float:
        (begin, before), (end, after) = (self._past[0], self._past[-1]) if self._past else ((0.0, 0), (0.0, 0))
        return (after - before) / (end - begin) if end > begin else 0.0
