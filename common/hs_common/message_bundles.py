"""Messages about bundles: who can take what, who has what, and what became of it.

The order of the fields of a class is their order on the wire: see `hs_common.messages`.
"""

from typing import NamedTuple

from hs_common.values import dataclass


class Demand(NamedTuple):
    """What the largest task of a bundle needs. Zero means: nothing in particular."""

    cores: int
    """Cores."""
    memory: int
    """Bytes."""
    seconds: float
    """Its time limit, seconds; 0 when it has none."""


class BundleHeader(NamedTuple):
    """What the broker reads of a bundle; the body stays closed."""

    bundle: int
    """Unique for the cluster: epoch << 40 | counter."""
    tasks: int
    """How many tasks are in it."""
    size: int
    """Bytes of its body inside the message's body; the bodies follow each other in the order of the headers."""
    demand: Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Worker -> broker: what I can take now. Said when it changes."""

    session: bytes
    slots: int
    """Slots that still exist (an unkillable task takes one away)."""
    credit: int
    cores: int
    memory: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Broker -> scheduler: how many tasks may be outstanding (submitted and not closed) in all. Absolute, said on change."""

    session: bytes
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Scheduler -> broker: lease these bundles to workers. Their rows are committed as ASSIGNED already."""

    session: bytes
    bundles: tuple[BundleHeader, ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Assign:
    """Broker -> worker: these bundles are yours until they are closed or you fall silent. Another session's are void."""

    session: bytes
    bundles: tuple[BundleHeader, ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Worker -> broker -> scheduler: I have these bundles (one message per Assign; none with `--no-confirm`)."""

    session: bytes
    worker: bytes
    bundles: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Worker -> broker -> scheduler: outcomes of tasks (`hs_common.tasks.Outcome`), kept by the worker until Committed.

    `closed` names the bundles of which the worker now holds nothing that is not in this or an earlier Result. A row of a
    closed bundle that no Result mentions goes back to NEW.
    """

    session: bytes
    worker: bytes
    sequence: int
    """Counts up from 1 within `worker`."""
    oldest: int
    """The lowest sequence that is not yet committed: a scheduler that did not hear all from there on waits for them to come
    again. Otherwise a bundle could be closed before the outcomes that an earlier Result, lost on its way, has of it."""
    tasks: int
    """Outcomes in the body: so much credit is free again."""
    closed: tuple[int, ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Scheduler -> broker -> worker: these Results are durable (or void): forget them.

    To the broker it also says that the store knows the worker, which is given nothing before. Where that is all, without
    sequences, it goes no further.
    """

    session: bytes
    worker: bytes
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Worker -> broker -> scheduler: tasks that have been running for over a second (`hs_common.tasks.Started`)."""

    session: bytes
    worker: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Broker -> worker: another worker is idle; hand back up to `tasks` tasks that you have not started for a second.

    It answers with outcomes HANDED_BACK in a Result, like all that it gives back: so handing back survives a lost broker too.
    """

    session: bytes
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Scheduler -> broker -> worker: stop or forget this dispatch of these tasks."""

    session: bytes
    worker: bytes
    tasks: tuple[tuple[int, int], ...]
    """(row, dispatch) pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Scheduler -> broker: these tasks are not wanted any more.

    A bundle that still waits is Refused ("withdrawn") and forgotten; the workers that have others get a Cancel of `tasks`.
    """

    session: bytes
    bundles: tuple[int, ...]
    """In which the tasks went out."""
    tasks: tuple[tuple[int, int], ...]
    """(row, dispatch) pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpoch:
    """Broker -> worker: another scheduler owns the store: send again what is not yet committed."""

    session: bytes
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """Broker -> scheduler: this worker is here and holds exactly these bundles (after its Hello, and in answer to yours)."""

    session: bytes
    worker: bytes
    replaces: bytes
    host: str
    slots: int
    cores: int
    memory: int
    seconds: float
    bundles: tuple[int, ...]
    """Leased to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Broker -> scheduler, in answer to its Hello, after one Attached per worker: what is queued and leased to nobody."""

    session: bytes
    queued: tuple[int, ...]
    more: bool
    """Another Census follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Broker -> scheduler: no live worker holds these bundles any more; `gone`: nor will that worker come back by itself."""

    session: bytes
    worker: bytes
    """Or all of an origin (`incarnation`), where the broker knows none of them."""
    gone: bool
    reason: str
    bundles: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDead:
    """Control -> broker: I saw that worker's guardian end: do not wait for its lease."""

    session: bytes
    worker: bytes
    """Or all of an origin (`incarnation`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Control -> broker -> worker: finish what runs, take nothing new, leave. `now`: stop what runs too."""

    session: bytes
    worker: bytes
    """b"" from control: every worker."""
    now: bool
