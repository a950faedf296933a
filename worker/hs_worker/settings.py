"""What a worker was told to be. Values only."""

from math import inf

from hs_common import limits
from hs_common.values import dataclass

AREA_BYTES = 8 * limits.MIB
"""Room in the shared map for outcomes that are not committed. It is used from its start whenever it ran empty, so that few pages
of it are ever touched: a task's peak of memory can only be told when it is above the worker's own."""

RECORD_BYTES = 16
"""What a record in the map occupies beside its outcome."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this process is on the wire."""

    worker: bytes
    """16 random bytes: the incarnation."""
    replaces: bytes
    """The incarnation that died in the same place, or b""."""
    version: str
    host: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the core decides by."""

    slots: int
    template: bytes = b"{}"
    bundlewait_s: float = 5.0
    """Results are held back no longer than this."""
    task_timeout_s: float = 0.0
    """Wall time limit of a task; 0: none."""
    signalwait_s: float = 10.0
    """Between SIGINT, SIGTERM and SIGKILL."""
    stop_wait_s: float = 10.0
    """The same where the worker itself must end: whoever ends it may not wait so long."""
    ends_at: float = inf
    """When the time of this worker is over, monotonic seconds; infinity: it has no end."""
    margin_s: float = limits.MARGIN_S
    """Before its end, in which no task without a limit is started."""
    timeout_s: float = 0.0
    """Without anything to do for so long it leaves; 0: it stays."""
    judged: bool = False
    """After a failure nothing is started until the scheduler has judged it."""
    confirms: bool = True
    cores: int = 1
    """Most that tasks running together may ask for."""
    memory: int = 0
    """Bytes, likewise; 0: not known, nothing is refused for it."""
    path_bytes: int = 0
    """Of the longest path of captured output; 0: nothing is captured."""
    area_bytes: int = AREA_BYTES
