"""A home in which every daemon has a wall clock of its own, that can be set while it runs."""

import os
from typing import Self

from tests.faults.home import Home

_PATCH = """
import os, time

_really, _home = time.time, os.environ["HOME"]

def _as_set():
    with open("/proc/self/comm") as file:
        name = file.read().strip()
    try:
        return _really() + float(os.readlink(f"{_home}/clock-of-{name}"))
    except FileNotFoundError:
        return _really()

time.time = _as_set
"""


class ClockHome(Home):
    """A home whose programs read the time from here. The kernel's own clock is everybody's, so it is left alone."""

    def __enter__(self) -> Self:
        """Enter; what Python runs at each start comes from here."""
        super().__enter__()
        self.write("sitecustomize.py", _PATCH.encode())
        self.env["PYTHONPATH"] = self.folder
        return self

    def set_clock(self, program: str, ahead_s: float) -> None:
        """Set the clock of all processes of this name, as hs-worker, so much ahead of ours."""
        new = self.path("clock-new")
        os.symlink(str(ahead_s), new)  # a link is read in one piece
        os.rename(new, self.path(f"clock-of-{program}"))
