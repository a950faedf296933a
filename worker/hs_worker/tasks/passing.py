"""How long smaller tasks may pass one that waits until enough cores or memory are free. No IO.

Passing ends when either bound is reached: from then on nothing starts before it, so that it waits at most for what runs by then.
"""

from hs_common.tasks import Task

PASSED_MAX = 100
"""Tasks that pass one."""
PASSING_MAX_S = 60.0
"""Since it could have started, had there been room."""
LOOK_MAX = 1000
"""Tasks looked at for one that fits."""


class Passing:
    """The task that waits first."""

    def __init__(self) -> None:
        self.passed = 0
        """How many have passed it."""
        self.blocked = 0
        """Tasks that were looked at and did not fit."""
        self._first: tuple[int, int] | None = None
        self._since = 0.0

    def wait(self, first: Task, now: float) -> None:
        """Note which task waits first now."""
        key = (first.row, first.dispatch)
        if key != self._first:
            self._first, self._since, self.passed = key, now, 0

    def fair(self, now: float) -> bool:
        """Whether one more may pass it."""
        return self.passed < PASSED_MAX and now - self._since < PASSING_MAX_S
