"""What the scheduler's core is told, and what it asks its shell to do. Values only.

Effects come in the order in which they are to be performed: those of the store before those of the wire.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hs_common.messages import Demand, Message
from hs_common.tasks import Outcome, Started
from hs_common.values import dataclass
from hs_scheduler.stores.store import Applied

# --- Events: what happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The link to the broker stands: time for a Hello."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The link is gone; nothing is known to arrive until the next Welcome."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A Result, its body opened."""

    worker: bytes
    sequence: int
    oldest: int
    closed: tuple[int, ...]
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class Running:
    """A Running message, its body opened."""

    worker: bytes
    started: Sequence[Started]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The store committed outcomes; these changed a row."""

    applied: Sequence[Applied]


@dataclass(frozen=True, slots=True)
class Claimed:
    """The store committed these bundles as ASSIGNED."""

    bundles: Sequence["ClaimedBundle"]


class ClaimedBundle(NamedTuple):
    """One bundle on its way out. A tuple: by default there is one for each task."""

    bundle: int
    rows: Sequence[tuple[int, int]]
    """(row, dispatch) pairs."""
    demand: Demand
    body: bytes
    group: int = 0


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The store committed that these are not to run: a cancel, or whatever else ends a task that was handed out."""

    tasks: Sequence[tuple[int, int]]
    """(row, dispatch) pairs; those that are not out are passed over."""


@dataclass(frozen=True, slots=True)
class Sought:
    """A command is about to change tasks that are not out: those that lie here, for no worker can take them, go back before."""

    spans: Sequence[tuple[int, int]]
    """First and last row, included, among which they are."""


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """Hand out nothing more."""

    stop: bool | None = None
    """Tell all workers to leave, and whether to stop what runs; None: tell them nothing."""


Own = Connected | Disconnected | Recorded | Claimed | Withdrawn | Sought | DrainAsked
"""What did not come from the broker."""

Event = Message | Outcomes | Running | Own


# --- Effects: what to do; those of the store come before those of the wire -------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Store: apply the outcomes of a Result, then acknowledge it."""

    worker: bytes
    host: str
    sequence: int
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class Release:
    """Store: these (row, dispatch) pairs are NEW again."""

    rows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class MarkStarted:
    """Store: these tasks are RUNNING."""

    worker: bytes
    host: str
    started: Sequence[Started]


@dataclass(frozen=True, slots=True)
class RememberWorker:
    """Store: this worker is attached, in place of `replaces`."""

    worker: bytes
    replaces: bytes
    host: str


@dataclass(frozen=True, slots=True)
class ForgetWorker:
    """Store: this worker is gone for good."""

    worker: bytes


@dataclass(frozen=True, slots=True)
class Send:
    """Wire: after the commit of everything above."""

    message: Message


@dataclass(frozen=True, slots=True)
class Reopen:
    """Wire: the broker has been silent for too long: a new socket."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Log: something that an operator wants to know."""

    event: str
    reason: str
    count: int


StoreEffect = Record | Release | MarkStarted | RememberWorker | ForgetWorker
Effect = StoreEffect | Send | Reopen | Tell
