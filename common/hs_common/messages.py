"""What daemons say to each other. Values only: no sockets, no clocks, no defaults that hide.

`docs/protocol.md` is the normative text; both change in the same commit. The order of the fields of a class is their order
on the wire. Bounds are checked by `hs_common.wire` when a message is decoded, so behind it nobody checks again.

    scheduler ── SchedulerHello Submit Committed Cancel Bye ──▶ broker ── Assign Recall Cancel Committed NewEpoch ──▶ worker
              ◀─ Welcome Credit Attached Census Received Result Running Lost Refused ─        ◀─ WorkerHello Ready Received
                                                                                                 Result Running Bye ─

Every message from a peer to the broker carries the session token that Welcome gave it; every message from the broker carries
the token of the receiver, so neither a stale nor a misrouted message is ever taken for a valid one.
"""

from dataclasses import dataclass
from typing import NamedTuple


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
class WorkerHello:
    """Worker -> broker: who I am, what I have, what I hold. First message on every connection.

    The broker's leases for `worker` (and for `replaces`) become exactly `inventory`; what it leased beyond that is Lost.
    """

    worker: bytes
    """16 bytes, fresh for each process: the incarnation."""
    replaces: bytes
    """The incarnation that died in the same place (its guardian knows), or b""."""
    version: str
    host: str
    pid: int
    slots: int
    credit: int
    """Tasks it may hold at once, running ones included: absolute, so a repeated message changes nothing."""
    cores: int
    """Most cores that the tasks running together may ask for."""
    memory: int
    """Bytes, likewise."""
    seconds: float
    """Until the worker's end (batch job), 0 when it has none."""
    confirms: bool
    """Whether it sends Received (`--no-confirm` turns it off)."""
    inventory: tuple[int, ...]
    """Bundles of which it has tasks waiting, running, or finished and not yet committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerHello:
    """Scheduler -> broker: I own the store since `epoch`; whatever still comes from an older one is void."""

    scheduler: bytes
    """16 bytes, fresh for each process."""
    version: str
    host: str
    pid: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlHello:
    """hs-cluster, hs status, hs submit -> broker. What it may do afterwards depends on the role of its key."""

    client: bytes
    version: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Broker -> peer: you are known under this session from now on."""

    session: bytes
    """16 random bytes; every later message of the peer carries them."""
    broker: bytes
    """Incarnation of the broker, 16 bytes."""
    epoch: int
    """Of the present scheduler; 0 when there was none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAreYou:
    """Broker -> peer: I know no such session. Say Hello (with what you hold); keep what you have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Broker -> peer: not this. `fatal`: coming again is of no use (stale epoch, wrong version, wrong role)."""

    session: bytes
    reason: str
    fatal: bool
    bundles: tuple[int, ...]
    """Of a Submit: these are not queued ("fits nobody", "queue full"); else empty."""


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
    """Scheduler -> broker -> worker: these Results are durable (or void): forget them."""

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
    gone: bool
    reason: str
    bundles: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDead:
    """Control -> broker: I saw that worker's guardian end: do not wait for its lease."""

    session: bytes
    worker: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Control -> broker -> worker: finish what runs, take nothing new, leave. `now`: stop what runs too."""

    session: bytes
    worker: bytes
    """b"" from control: every worker."""
    now: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """Peer -> broker: I leave and hold nothing."""

    session: bytes
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Either side, when it said nothing else for `limits.HEARTBEAT_S`; a peer's is answered with one, the broker's too."""

    session: bytes


Message = (
    WorkerHello
    | SchedulerHello
    | ControlHello
    | Welcome
    | WhoAreYou
    | Refused
    | Ready
    | Credit
    | Submit
    | Assign
    | Received
    | Result
    | Committed
    | Running
    | Recall
    | Cancel
    | NewEpoch
    | Attached
    | Census
    | Lost
    | WorkerDead
    | Drain
    | Bye
    | Heartbeat
)

TYPE_OF: dict[int, type[Message]] = {
    1: WorkerHello,
    2: SchedulerHello,
    3: ControlHello,
    4: Welcome,
    5: WhoAreYou,
    6: Refused,
    7: Ready,
    8: Credit,
    9: Submit,
    10: Assign,
    11: Received,
    12: Result,
    13: Committed,
    14: Running,
    15: Recall,
    16: Cancel,
    17: NewEpoch,
    18: Attached,
    19: Census,
    20: Lost,
    21: WorkerDead,
    22: Drain,
    23: Bye,
    24: Heartbeat,
}
"""The type byte of the wire. Never reuse a number; retire it."""
