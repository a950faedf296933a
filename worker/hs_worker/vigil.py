"""How a worker that nobody holds finds out that its cluster is over: the connection file is removed with that.

    no broker answers ── every LOOK_S: is the file there? ── LOOKS times in a row it was not ──▶ over

A launcher that was killed leaves workers behind, of whom some may not have heard a word of the end. Only a file that was named by
its path is looked for: a cluster that is called by its name stands by itself, and comes back.
"""

import os
from math import inf

LOOK_S = 2.0
"""Between two looks; the first one comes so long after the connection broke."""

LOOKS = 3
"""In a row: while a shared file system moves to another server, a file may seem to be gone."""


class Vigil:
    """Kept while no broker answers.

    Args:
        path: The connection file; "": nothing is to be looked for.

    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path) if path else ""  # a worker goes to the folders of its tasks
        self._missed = 0
        self.due_at = inf
        """When to look next."""

    def begin(self, now: float) -> None:
        """Nobody answers, from now on or still."""
        if self._path and self.due_at == inf:
            self._missed = 0
            self.due_at = now + LOOK_S

    def end(self) -> None:
        """A broker has answered."""
        self.due_at = inf

    def look(self, now: float) -> bool:
        """Return whether the cluster is over."""
        self.due_at = now + LOOK_S
        self._missed = self._missed + 1 if _is_gone(self._path) else 0
        if self._missed < LOOKS:
            return False
        self.end()
        return True


def _is_gone(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    except OSError:
        pass  # whatever it is, it does not say that there is no file
    return False
