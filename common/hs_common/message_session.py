"""Messages about the session itself: who speaks, and that he is still there.

The order of the fields of a class is their order on the wire: see `hs_common.messages`.
"""

from hs_common.values import dataclass

FITS_NOBODY = "fits nobody"
"""The reason for bundles that no present worker could ever run: the scheduler keeps them until one comes that may."""


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
    store: bytes
    """16 bytes, the same for as long as the store exists: epochs and tasks of another one are not comparable with its own."""
    database: str
    """The store as people know it, a path or a URL without any password; "": it is in memory."""


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
    """Of a Submit: these are not queued (`FITS_NOBODY`, "queue full"); else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """Peer -> broker: I leave and hold nothing."""

    session: bytes
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Either side, when it said nothing else for `limits.HEARTBEAT_S`; a peer's is answered with one, the broker's too."""

    session: bytes
