"""Our own stdout and stderr: tasks' output, the daemons' logs, our few lines, and on a terminal the progress line below them."""

import os
from typing import TYPE_CHECKING

from hs_deploy.output.relay import Outlet

if TYPE_CHECKING:  # it imports rich: only where a progress line is shown
    from hs_deploy.output.progress import Progress
    from hs_deploy.output.summary import Totals

COLUMNS = 80
"""Where stderr is no terminal."""


class Terminal:
    """Where everything that people read goes."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self.err = Outlet(2)
        # On one terminal all keeps its order also while it takes less than comes: what erases the progress line must not come
        # when a line of a task has begun.
        self.out = self.err if _are_one_terminal(1, 2) else Outlet(1)
        self.wants_progress = not quiet and os.isatty(2) and os.environ.get("TERM", "") not in ("", "dumb")
        """Whether stderr is a terminal that can show a progress line."""
        self.out_is_terminal = os.isatty(1)
        self._progress: Progress | None = None
        self._mid_line = False  # the last that a task wrote to the terminal ends without newline

    @property
    def columns(self) -> int:
        """Of a line on stderr."""
        try:
            return os.get_terminal_size(2).columns or COLUMNS
        except OSError:
            return COLUMNS

    def begin_progress(self) -> None:
        """Show the progress line from now on."""
        from hs_deploy.output.progress import Progress  # noqa: PLC0415 - rich takes longer to import than the daemons to start

        self._progress = Progress(self.err)

    def hide_progress(self) -> None:
        """Leave the terminal to others until the line is drawn again."""
        self._hide()
        self.err.flush()

    def end_progress(self) -> None:
        """Take the line away for good."""
        self._hide()
        self._progress = None

    def write_out(self, text: bytes) -> None:
        """Write what tasks wrote to their stdout, whole lines."""
        self._hide()
        self._mid_line = self.wants_progress and not text.endswith(b"\n")
        self.out.write(text)

    def write_err(self, text: bytes) -> None:
        """Write what tasks or daemons wrote to their stderr, whole lines."""
        self._hide()
        self._mid_line = self.wants_progress and not text.endswith(b"\n")
        self.err.write(text)

    def say(self, text: str) -> None:
        """Write a line of our own, or a block that begins with one."""
        self._end_line()
        self.write_err(f"hs-cluster: {text}\n".encode(errors="backslashreplace"))

    def warn(self, text: str) -> None:
        """Write a line of our own that `-q` leaves out."""
        if not self._quiet:
            self.say(text)

    def update(self, totals: "Totals", now: float) -> None:
        """Take new numbers for the progress line."""
        if self._progress is not None:
            self._progress.update(totals, now)

    def draw(self, now: float) -> None:
        """Draw the progress line where it is due."""
        if self._progress is not None:
            self._end_line()
            self._progress.draw(now)

    def deadline(self) -> float | None:
        """When to call `draw` next, or None: when something happens."""
        return None if self._progress is None else self._progress.deadline()

    def _end_line(self) -> None:
        """Go to a new line, so that what a task left unfinished is not erased."""
        if self._mid_line:
            self._mid_line = False
            self.err.write(b"\n")

    def _hide(self) -> None:
        if self._progress is not None:
            self._progress.hide()


def _are_one_terminal(one: int, other: int) -> bool:
    return os.isatty(one) and os.isatty(other) and os.fstat(one).st_rdev == os.fstat(other).st_rdev
