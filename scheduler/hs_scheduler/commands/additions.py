"""Tasks on their way into a database: lines of a file together, those of a stream as they come."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from hs_common import limits
from hs_common.clock import monotonic
from hs_common.ending import say
from hs_common.errors import ExpansionError, RefusedError
from hs_common.ready import readable

if TYPE_CHECKING:
    from hs_common.template import Template
    from hs_scheduler.commands.sink import Sink
    from hs_scheduler.input.once import Missing
    from hs_scheduler.input.source import Source
    from hs_scheduler.stores.store import NewTask
    from hs_scheduler.tasks.tags import Tags

    Input = Source | Missing

LINES_AT_ONCE = 10_000
BYTES_AT_ONCE = 4 * limits.MIB

PAUSE_S = 0.1
"""A stream that pauses longer gives the database free until more comes."""


class Pace(NamedTuple):
    """How a stream is handed on."""

    lines_max: int
    wait_s: float
    """How long fewer than `lines_max` may be held back."""


class Additions:
    """What goes into one database, with one template.

    Args:
        sink: Takes the tasks.
        template: Expanded now; None: the workers expand their own.

    """

    def __init__(self, sink: "Sink", template: "Template | None") -> None:
        self._sink = sink
        self._template = template
        self._rejected = 0

    def one(self, args: bytes, tags: "Tags") -> str:
        """Add a single task and return its id.

        Raises:
            RefusedError: The template cannot be expanded for it.
            StoppedError: The database is owned by a process that takes none, or cannot be written.

        """
        from hs_scheduler.stores.store import NewTask  # noqa: PLC0415
        from hs_scheduler.tasks.tags import resolve  # noqa: PLC0415

        task = self.expanded(NewTask(args, *resolve(tags), ""))
        if task.rejected:
            raise RefusedError(task.rejected)
        (accepted,) = self._sink.add([[task]], whole=True)
        return accepted.id

    def all_of(self, source: "Input", pace: Pace) -> int:
        """Add every line, and return how many there were, as they come.

        Those of a file go into a database that nobody owns together or not at all.

        Raises:
            StoppedError: As above; how many were accepted is said on stderr.

        """
        count = 0
        try:
            if source.state() is not None:
                for accepted in self._sink.add(self._batches(source), whole=True):
                    count += accepted.count
            while not source.ended:
                readable(source.fd)
                for accepted in self._sink.add(self._burst(source, pace), whole=False):
                    count += accepted.count
        except BaseException:
            if count:
                # What was under way when we were interrupted may have been accepted, too.
                say(f"at least {count} tasks were accepted before it ended")
            raise
        if self._rejected:
            say(f"{self._rejected} of {count} lines can never run: they are recorded as REJECTED")
        return count

    def _batches(self, source: "Input") -> Iterator[list["NewTask"]]:
        """Yield what can be read without waiting."""
        while source.available():
            if batch := self._read(source, LINES_AT_ONCE):
                yield batch

    def _burst(self, source: "Input", pace: Pace) -> Iterator[list["NewTask"]]:
        """Yield what comes, until nothing does for a moment."""
        batch: list[NewTask] = []
        since = monotonic()
        while not source.ended:
            batch += self._read(source, pace.lines_max - len(batch))
            if source.available() and len(batch) < pace.lines_max:
                continue
            left_s = since + pace.wait_s - monotonic()
            if batch and len(batch) < pace.lines_max and not source.ended and left_s > 0:
                readable(source.fd, left_s)
                continue
            if batch:
                yield batch
            batch, since = [], monotonic()
            if not (source.ended or source.available() or readable(source.fd, PAUSE_S)):
                return

    def _read(self, source: "Input", lines_max: int) -> list["NewTask"]:
        lines = source.read(lines_max, BYTES_AT_ONCE)
        if self._template is not None:
            lines = [self.expanded(line) for line in lines]
        self._rejected += sum(bool(line.rejected) for line in lines)
        return lines

    def expanded(self, task: "NewTask") -> "NewTask":
        """Return a task whose args are what its command will be: no other template is applied to them."""
        from hs_common.tasks import Detail  # noqa: PLC0415

        if self._template is None or task.rejected:
            return task
        try:
            args = self._template.preview(task.args)
        except ExpansionError as exc:
            return task._replace(rejected=exc.reason)
        if b"\0" in args or len(args) > limits.LINE_BYTES_MAX:
            why = "has a NUL" if b"\0" in args else f"has {len(args)} bytes, over {limits.LINE_BYTES_MAX}"
            return task._replace(rejected=f"template: the expanded line {why}")
        detail = (task.detail or Detail(0.0, 0, 0, (), b""))._replace(template=b"{}")
        return task._replace(args=args, detail=detail)
