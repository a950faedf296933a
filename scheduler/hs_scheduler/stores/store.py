"""What a store is: the only truth about tasks. SQL (`sql.py`) or memory (`memory.py`).

All writing happens inside `transaction()`: one commit carries many bundles, results and retries. Nothing may be sent before the
commit of the step that caused it.

    NEW ──assign──▶ ASSIGNED ──started──▶ RUNNING ──record──▶ DONE | CANCELLED | QUARANTINED | REJECTED
    │▲                 └────── release ──────┘
    ▼└──────────────────────────┘
ON_HOLD (only the user's word leads there and back: `changes.py`)
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from hs_common.tasks import Detail, Outcome, Started, Task
from hs_common.values import dataclass, replace
from hs_scheduler.tasks.state import State

NO_RUN = bytes(16)
"""The run id of a scheduler whose database is not of one run."""


class NewTask(NamedTuple):
    """A line of input on its way into the store."""

    args: bytes
    detail: Detail | None
    group: int
    priority: int
    rejected: str
    """"" or the reason why it can never run: it is stored as REJECTED at once."""


class Ready(NamedTuple):
    """A NEW row that may be dispatched; `task.dispatch` is already the fence that `assign` will write."""

    task: Task
    cwd: bytes
    group: int


class Held(NamedTuple):
    """A row that is ASSIGNED or RUNNING, or was when it was cancelled, as a starting scheduler finds it."""

    bundle: int
    row: int
    dispatch: int
    worker: bytes
    """Incarnation that reported it as running, or b""."""
    group: int = 0
    wanted: bool = True
    """False: it was cancelled, and whoever has it may not have heard so."""


@dataclass(slots=True, kw_only=True)
class Counts:
    """How many rows are in which state; `succeeded + failed` of the DONE, REJECTED and QUARANTINED rows without a successor."""

    on_hold: int = 0
    new: int = 0
    assigned: int = 0
    """ASSIGNED or RUNNING."""
    succeeded: int = 0
    failed: int = 0
    """Finally: a failed row that has a retry is in `retried` instead."""
    cancelled: int = 0
    retried: int = 0

    @property
    def holding(self) -> int:
        """Tasks that later groups wait for, though nothing will happen to them by itself."""
        return self.failed + self.on_hold

    def copy(self) -> "Counts":
        """Return them as they are now."""
        return replace(self)

    def take(self, other: "Counts") -> None:
        """Become what the others are."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def end(self, state: State, *, failed: bool, retried: bool) -> None:
        """Count a row that has just ended, and its retry; where it was before is for the caller to take off."""
        if retried:
            self.retried += 1
            self.new += 1
        elif failed:
            self.failed += 1
        elif state == State.CANCELLED:
            self.cancelled += 1
        else:
            self.succeeded += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InputState:
    """How far an input has been read; committed together with the lines."""

    path: str
    device: int
    inode: int
    size: int
    """Bytes when it was opened; a spool only grows."""
    modified_ns: int
    offset: int
    """Bytes consumed: everything before it is in the store."""
    line: int
    """Lines consumed."""
    tags: tuple[tuple[str, Any], ...]
    """Global tags and fields in force at `offset`."""
    ended: bool


class Retry(NamedTuple):
    """The policy for failures, as recorded with the run."""

    retries_max: int
    """More attempts after the first."""
    eager: bool


class Settled(NamedTuple):
    """A task of the input, for its place in the order of the outputs."""

    row: int
    """Of the first attempt."""
    last: int
    """Row of the present attempt."""
    ended: bool
    """Whether that is the last one, and has ended."""


class Standing(NamedTuple):
    """How far a task is."""

    row: int
    """Of its last attempt."""
    ended: bool


class Applied(NamedTuple):
    """One outcome that changed a row (duplicates and stale ones are not among them)."""

    row: int
    outcome: Outcome
    state: State
    """The row's new state (NEW where it was handed back)."""
    failed: bool
    retried: bool
    """A row with `attempt + 1` was inserted."""


class Store(Protocol):
    """Where tasks live. One scheduler, one thread."""

    counts: Counts
    """Kept up to date by every call below; true after `transaction()` ends, rolled back with it."""

    def close(self) -> None:
        """Close in order; may be called twice."""

    def transaction(self) -> AbstractContextManager[None]:
        """Begin now (BEGIN IMMEDIATE) and commit at the end; roll back everything, counts too, on an exception.

        Raises:
            StoreBusyError: Locked, or the disk is full: nothing changed, try again later.
            StoppedError: The file is gone or another one.

        """

    def wait_with(self, meanwhile: Callable[[], None]) -> None:
        """Call `meanwhile` over and over while a call here waits for a server; it may raise to end the wait.

        What waits: a question, and finding out what became of a commit. A transaction does not, it raises StoreBusyError.
        """

    @property
    def fd(self) -> int | None:
        """What is readable when a server ends its session with us: call `renew_owner` then. None: there is none."""

    def renew_owner(self, now: float) -> None:
        """Say that we are alive, where a row says who owns the store; call it every `ownership.RENEW_S`.

        Raises:
            StoreBusyError: Not now.
            StoppedError: Another took it over.

        """

    def checkpoint(self) -> None:
        """Tidy up, when there is nothing else to do."""

    def take_epoch(self, cluster: bytes = b"") -> int:
        """Commit and return the next epoch, 1 or more. A transaction of its own.

        `cluster`: 16 bytes; where it is not the one of the epoch before, its workers are strangers to the broker of this one
        and never come back: they are forgotten, and what they had is NEW.
        """

    def uid(self) -> bytes:
        """Return 16 bytes that no other store has, the same as long as this one exists. After `take_epoch`."""

    def open_run(self, run_id: bytes, settings: dict[str, Any], now: float, *, whole: bool = False) -> dict[str, Any]:
        """Record the run (once) and return the settings in force: the recorded ones where the run is known.

        `whole`: Take care of every task of the store, not only of those of this run; so does the zero id, which is no run.
        """

    def others(self) -> int:
        """Return how many unfinished tasks of other runs there are, of which this one takes no care."""

    def close_run(self, run_id: bytes, now: float, status: int) -> None:
        """Note how the run ended."""

    def input_state(self) -> InputState | None:
        """Return how far the input of this run was read, or None."""

    def save_input(self, state: InputState) -> None:
        """Write it (inside the transaction that writes the lines)."""

    def add(
        self,
        tasks: Sequence[NewTask],
        bundles: Sequence[int],
        cwd: bytes,
        now: float,
        *,
        submitter: str = "",
    ) -> list[Task]:
        """Insert tasks and return them as they are dispatched.

        `bundles[i] == 0`: NEW (or REJECTED). Otherwise ASSIGNED to that bundle at once, with dispatch 1. `submitter`: the host
        where they were submitted; such tasks are of no run. "": they are the input's.
        """

    def ready(self, count: int) -> list[Ready]:
        """Return up to `count` NEW rows of the lowest group that has one, in the order of dispatch; changes nothing."""

    def left_of_group(self, group: int) -> int:
        """Return how many tasks of a group wait or are out. Looks at all tasks: not for every step."""

    def failed_group(self) -> int | None:
        """Return the lowest group with a task that finally failed or is on hold, or None: later groups have to wait for it."""

    def assign(self, bundles: Iterable[tuple[int, Sequence[Task]]], now: float) -> None:
        """NEW -> ASSIGNED with the fence in `task.dispatch`, as bundle (id, tasks)."""

    def started(self, worker: bytes, host: str, started: Sequence[Started]) -> None:
        """ASSIGNED -> RUNNING where row and dispatch match."""

    def record(
        self, worker: bytes, host: str, outcomes: Sequence[Outcome], retry: Retry, now: float
    ) -> Sequence[Applied]:
        """Apply outcomes, each at most once, by the fence of DESIGN section 3.4; insert retry rows; return what was applied."""

    def release(self, rows: Sequence[tuple[int, int]]) -> int:
        """ASSIGNED or RUNNING -> NEW for (row, dispatch) pairs that still match; return how many."""

    def held(self) -> Iterator[Held]:
        """Yield every ASSIGNED or RUNNING row, and those that were cancelled while they were, until they are settled."""

    def workers(self) -> set[bytes]:
        """Return the incarnations that were attached when the store was last written."""

    def worker_attached(self, worker: bytes, replaces: bytes, host: str, now: float) -> None:
        """Remember it, instead of `replaces`."""

    def worker_gone(self, worker: bytes) -> None:
        """Forget it."""

    def failures(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each finally failed task, in the order of input."""

    def failures_before(self, instant: float) -> int:
        """Return how many of the finally failed tasks ended before `instant` (seconds since the epoch)."""

    def submitted(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield (args, detail, group, priority) of each task, its retries left out, whatever run it is of."""

    def finished(self, rows: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """Yield the public fields of ended attempts (for --joblog): these rows, or None: all, in the order of completion."""

    def settled(self, after: int, count: int) -> list[Settled]:
        """Return up to `count` tasks of the input behind this row, in its order (for -k)."""

    def passed(self, rows: Collection[int], after: int) -> list[int]:
        """Return those of these rows in which a task ended for good whose first attempt is not behind this row (for -k)."""


class StoreBusyError(Exception):
    """The store cannot be written at this moment (locked, disk full); nothing was changed."""
