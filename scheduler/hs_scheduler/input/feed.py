"""From input lines and NEW rows to claimed bundles: what fills the room that the core has.

    source ──lines──▶ [read, not yet in the store] ──┬─ nothing waits in the store: ASSIGNED at once (one write) ──▶ bundles
                                                     └─ else: NEW ──ready/assign──▶ bundles

Everything happens inside the transaction of the caller, who may run it again after a rollback.
"""

from collections.abc import Sequence
from typing import Protocol

from hs_common.tasks import Task, sizes_of
from hs_scheduler.core import SchedulerCore
from hs_scheduler.events import ClaimedBundle
from hs_scheduler.input.bundling import by_bundle, demand_of, packed, packed_as_added
from hs_scheduler.input.groups import NONE_SHOWN, Groups
from hs_scheduler.out import NO_DEMAND
from hs_scheduler.stores.store import InputState, NewTask, Store

CLAIM_TASKS_MAX = 5_000
"""Tasks claimed in one transaction: keeps a step, and so the answer to a result, short."""

READ_LINES_MAX = 5_000
READ_BYTES_MAX = 4 * 1024 * 1024

AHEAD_LINES = 2_000
"""Lines read ahead in one idle step."""


class Input(Protocol):
    """Where lines come from (`hs_scheduler.input.source`)."""

    @property
    def ended(self) -> bool:
        """Whether every line has been read."""

    @property
    def position(self) -> int:
        """Bytes that were read, lines that are not whole yet included."""

    def available(self) -> bool:
        """Whether `read` would find something without waiting for a descriptor to become readable."""

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        """Return the next complete lines; [] when there is none yet."""

    def state(self) -> InputState | None:
        """Return how far it has read, to be committed with the lines; None where it cannot be read again."""


class Feed:
    """Takes tasks from the input and the store.

    Args:
        store: Where rows live.
        source: Where lines come from, or None.
        core: Gives bundle ids.
        cwd: Working folder of the tasks of the input.
        bundlesize: Tasks that make a full bundle.
        bundlewait_s: How long a part-filled bundle may wait for more lines, seconds.
        ahead_max: NEW rows up to which lines are read ahead; None: no limit.
        shown: The highest group that the input has shown already.
        adopts: Whether tasks that are submitted meanwhile are in its care; else they wait in the store for who takes all.
        late_retries: Whether retries go behind the new tasks of their group, those that are still to be read included.

    """

    def __init__(  # noqa: PLR0913 - the parts it connects, each by name
        self,
        *,
        store: Store,
        source: Input | None,
        core: SchedulerCore,
        cwd: bytes,
        bundlesize: int,
        bundlewait_s: float,
        ahead_max: int | None,
        shown: int = NONE_SHOWN,
        adopts: bool = True,
        late_retries: bool = False,
    ) -> None:
        self._store = store
        self._source = source
        self._core = core
        self._cwd = cwd
        self._bundlesize = bundlesize
        self._bundlewait_s = bundlewait_s
        self._ahead_max = ahead_max
        self._adopts = adopts
        self._late_retries = late_retries
        self._groups = Groups(shown=shown, failed_group=store.failed_group, holding=lambda: store.counts.holding)
        self._shut = False
        self._unsaved = False
        self._lines: list[NewTask] = []
        self._rejected: list[tuple[int, str]] = []
        """Of the lines that `fill` wrote: row and reason of each that can never run."""
        self._state: InputState | None = None
        self._held_since: float | None = None
        self.kept_bytes = 0
        """So many bytes of the input will never be read again: what they say is in the store."""

    @property
    def read_bytes(self) -> int:
        """Bytes of the input that were read, lines that are not whole yet included."""
        return 0 if self._source is None else self._source.position

    @property
    def ended(self) -> bool:
        """Whether every line is in the store."""
        return not self._lines and (self._source is None or self._source.ended)

    @property
    def ended_source(self) -> bool:
        """Whether no line will follow those already read."""
        return self._source is None or self._source.ended

    @property
    def held_by(self) -> int | None:
        """The failed group that holds all that waits, or None."""
        return self._groups.held_by if self._shut else None

    @property
    def shut(self) -> bool:
        """Whether what waits has to wait for its group: until something changes, claiming is of no use."""
        return self._shut and not (self._groups.awaits_input and self.ended_source)

    def wants_lines(self) -> bool:
        """Whether the source may be read further (else a producer has to wait)."""
        if self._source is None or self._source.ended:
            return False
        return self._ahead_max is None or self._store.counts.new < self._ahead_max

    def available(self) -> bool:
        """Whether there are lines that may be read at once."""
        return self.wants_lines() and self._source is not None and self._source.available()

    def take(self, room: int, *, ahead: bool) -> bool:
        """Read lines for the next `fill`; return whether there are any.

        Args:
            room: Tasks that may be handed out.
            ahead: Nothing else to do: read on although nobody needs it yet.

        """
        if self._lines or self._source is None or not self.wants_lines():
            return bool(self._lines)
        counts = self._store.counts
        if room > 0 and (not counts.new or (self._late_retries and counts.retried)):
            count = min(room, READ_LINES_MAX)
        elif ahead:
            count = AHEAD_LINES
        else:
            return False
        self._lines = self._source.read(count, READ_BYTES_MAX)
        state = self._source.state()
        # That the input is at its end is written down too, but by a transaction that has something else to write.
        self._unsaved = self._unsaved or state != self._state
        self._state = state
        return bool(self._lines)

    def held_until(self) -> float | None:
        """Return until when a part-filled bundle is held back, or None."""
        return None if self._held_since is None else self._held_since + self._bundlewait_s

    def begin(self) -> None:
        """Forget what a transaction added that did not stand: it is added again."""
        self._rejected = []

    def fill(self, room: int, now: float, wall: float) -> list[ClaimedBundle]:
        """Claim up to `room` tasks: NEW rows first, then lines; whatever was read is in the store afterwards."""
        bundles: list[ClaimedBundle] = []
        lines, counts = self._lines, self._store.counts
        if self._unsaved and not lines:
            self._save_input()
        if lines and (
            not self._plain(lines)
            or counts.new
            or room < len(lines)
            or self._holds(counts.new + len(lines), now)
            or not self._may_go(0)
        ):
            self._add(lines, [0] * len(lines), wall)
            lines = []
        if lines:
            bundles = self._add_assigned(lines, wall)
        elif counts.new and room > 0 and not self._holds(counts.new, now):
            bundles = self._claim(min(room, CLAIM_TASKS_MAX), wall)
        return bundles

    def accept(
        self, tasks: Sequence[NewTask], cwd: bytes, host: str, room: int, wall: float
    ) -> tuple[list[Task], list[ClaimedBundle]]:
        """Add tasks that a command on `host` submits, and claim them at once where nothing goes before them.

        What does not go out here is NEW, and the `fill` that follows in the same transaction may claim it.
        """
        goes = (
            len(tasks) <= room and not self._store.counts.new and not any(task.group or task.priority for task in tasks)
        )
        goes = goes and self._adopts and self._may_go(0)
        bundles = self._place(tasks, cwd) if goes else [0] * len(tasks)
        added = self._store.add(tasks, bundles, cwd, wall, submitter=host)
        self._note_rejected(added, tasks, bundles)
        return added, packed_as_added(bundles, added, cwd) if goes else []

    def committed(self) -> list[tuple[int, str]]:
        """Forget the lines that were written, for the transaction stands; return row and reason of each that can never run."""
        rejected, self._rejected = self._rejected, []
        self._lines = []
        self._unsaved = False
        if self._state is not None:
            self.kept_bytes = self._state.offset
        return rejected

    def close(self) -> None:
        """Write down that the input is at its end, where no transaction has: in what came last was no task."""
        if self._source is None or not self.ended or not (self._unsaved or self._state is None):
            return
        state = self._source.state()
        if state is not None:
            with self._store.transaction():
                self._store.save_input(state)

    def active_group(self) -> int:
        """Return the lowest group of which something is out or waits; 0: nothing is there."""
        out = self._core.lowest_group_out()
        waiting = [first.group for first in self._store.ready(1)]
        return min([*waiting, *([] if out is None else [out])], default=0)

    @property
    def grouped(self) -> bool:
        """Whether there may be more than one group."""
        return self._groups.several

    def _holds(self, waiting: int, now: float) -> bool:
        """Whether to wait for more lines: the bundle is not full, no slot is idle, and the time is not over."""
        hold = waiting < self._bundlesize and not self.ended_source and self._core.tasks_out >= max(1, self._core.slots)
        if not hold:
            self._held_since = None
            return False
        if self._held_since is None:
            self._held_since = now
        return now < self._held_since + self._bundlewait_s

    def _add(self, lines: Sequence[NewTask], bundles: Sequence[int], wall: float) -> list[Task]:
        tasks = self._store.add(lines, bundles, self._cwd, wall)
        self._note_rejected(tasks, lines, bundles)
        self._save_input()
        return tasks

    def _note_rejected(self, tasks: Sequence[Task], lines: Sequence[NewTask], bundles: Sequence[int]) -> None:
        if 0 in bundles:
            self._rejected += [
                (task.row, line.rejected) for task, line in zip(tasks, lines, strict=True) if line.rejected
            ]

    def _save_input(self) -> None:
        if self._state is not None:
            self._store.save_input(self._state)

    def _add_assigned(self, lines: Sequence[NewTask], wall: float) -> list[ClaimedBundle]:
        bundles = self._place(lines, self._cwd)
        return packed_as_added(bundles, self._add(lines, bundles, wall), self._cwd)

    def _place(self, lines: Sequence[NewTask], cwd: bytes) -> list[int]:
        """Return a bundle for each line, 0 for one that can never run."""
        runnable = [line for line in lines if not line.rejected]
        plain = (cwd, NO_DEMAND)
        places = self._core.place(
            [(cwd, demand_of(line.detail)) if line.detail else plain for line in runnable],
            sizes_of(runnable),
        )
        if len(runnable) == len(lines):
            return places
        ids = iter(places)
        return [0 if line.rejected else next(ids) for line in lines]

    def _claim(self, count: int, wall: float) -> list[ClaimedBundle]:
        # While the gate is shut, only the first row is looked at.
        if self._shut and not any(self._may_go(first.group) for first in self._store.ready(1)):
            return []
        ready = self._store.ready(count)
        if not ready or not self._may_go(ready[0].group):
            return []
        ids = self._core.place(
            [(item.cwd, demand_of(item.task.detail)) for item in ready],
            sizes_of(item.task for item in ready),
        )
        bundles = by_bundle(ids, [item.task for item in ready])
        self._store.assign(bundles, wall)
        return packed(bundles, [item.cwd for item in ready], ready[0].group)

    def _plain(self, lines: Sequence[NewTask]) -> bool:
        """Whether these lines may go out in the order in which they stand."""
        if not any(line.group or line.priority for line in lines):
            self._groups.show(0)
            return True
        self._groups.show(max(line.group for line in lines))
        return False

    def _may_go(self, group: int) -> bool:
        may_go = self._groups.may_go(group, self._core.lowest_group_out(), input_ended=self.ended_source)
        self._shut = not may_go
        return may_go
