"""What runs tasks: processes, or for benchmarks nothing."""

from typing import Protocol

from hs_common.clock import monotonic
from hs_common.tuples import maker
from hs_worker.events import Exit, Spawn

REAP_MAX = 256
"""Children reaped in one go, so that the broker is served in between."""

_exit = maker(Exit)


class Executor(Protocol):
    """What runs tasks."""

    strangers: int
    """Children reaped that were no task's first process."""

    @property
    def has_ended(self) -> bool:
        """Whether there is something to reap of which no signal tells."""

    def spawn(self, effect: Spawn) -> int:
        """Start a task; return 0, or the errno of what prevented it."""

    def reap(self) -> list[Exit]:
        """Return what ended since the last call."""

    def signal(self, slot: int, number: int) -> None:
        """Signal all that a task started."""

    def left(self, slot: int) -> int:
        """Return how many processes of a task are still there."""

    def abandon(self, slot: int) -> None:
        """Forget what is in a slot."""

    def forget_snapshot(self) -> None:
        """Look at the processes afresh next time."""


class NullExecutor:
    """For benchmarks of all else: every task succeeds at once, without a process."""

    def __init__(self) -> None:
        self.strangers = 0
        self._ended: list[Exit] = []

    @property
    def has_ended(self) -> bool:
        """Whether anything was spawned since the last call of `reap`."""
        return bool(self._ended)

    def spawn(self, effect: Spawn) -> int:
        """Let it have ended."""
        now = monotonic()
        # A null executor answers nothing to everything.
        self._ended.append(_exit((effect[0], 0, now, now, 0.0, 0.0, 0, b"\0" * len(effect.questions), None)))
        return 0

    def reap(self) -> list[Exit]:
        """Return what "ended" since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def signal(self, slot: int, number: int) -> None:
        """Do nothing: there is no process."""

    def left(self, slot: int) -> int:
        """Return 0: there is no process."""
        del slot
        return 0

    def abandon(self, slot: int) -> None:
        """Do nothing: there is no process."""

    def forget_snapshot(self) -> None:
        """Do nothing: there is no process."""
