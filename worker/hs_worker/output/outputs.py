"""Where the streams of tasks go that do not simply inherit ours: one face for relay, capture and spool."""

from typing import Protocol

from hs_common.tasks import Task
from hs_worker.events import Output

Actions = list[tuple[int, int, int]]
"""What posix_spawn does to the descriptors of a task."""


class Outputs(Protocol):
    """One worker's way with the streams of its tasks; `slot` says of which task."""

    def begin(self, slot: int, task: Task) -> Actions:
        """Make ready for a task; return what posix_spawn has to do.

        Raises:
            OSError: This host cannot. Nothing is left open.

        """

    def drop(self, slot: int) -> None:
        """The task could not be started after all."""

    def finish(self, slot: int, *, goes_on: bool = False) -> Output | None:
        """The first process of the task ended; return what there is to record of its output.

        `goes_on`: it has only answered what the template asked, and `begin` is called again for the task itself, if that can run.
        """


class Piped(Outputs, Protocol):
    """One that reads pipes."""

    @property
    def full(self) -> bool:
        """Whether what was read waits for a reader who does not keep up: no pipe is read meanwhile, until its task ends."""

    def owns(self, fd: int) -> bool:
        """Whether this descriptor is of ours."""

    def handle(self, fd: int) -> None:
        """Read or write what is ready."""

    def close(self, wait_ms: int) -> int:
        """Write out what is left, as far as the reader takes it within `wait_ms`; return how many bytes are still left."""
