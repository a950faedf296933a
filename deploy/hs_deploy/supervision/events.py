"""What the supervisor is told, and what it asks its shell to do. Values only; effects are performed in their order."""

from hs_common.values import dataclass
from hs_deploy.daemons import Daemon

# --- Events: what happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonEnded:
    """`status`: exit status, or -signal. `words`: the last line that it wrote to stderr, or ""."""

    daemon: Daemon
    status: int
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """The scheduler reported: tasks that ended so far, and tasks that have not."""

    finished: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The scheduler's last report. `status`: 0 all succeeded, 1 some did not, 2 or 3 it could not go on (`reason`)."""

    status: int
    reason: str
    left: bool = False
    """Whether something is left to be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """hs-cluster got this signal."""

    signum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """hs-cluster goes on after it stood still for so long, seconds."""

    away_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphansGone:
    """Nothing is left of what a dead guardian had started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLost:
    """A stream of the tasks that we relay cannot be written any more."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """hs-cluster itself cannot go on (its input cannot be read or kept)."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltAsked:
    """The scheduler has seen enough failures. `now`: stop what runs, too."""

    reason: str
    now: bool


Event = DaemonEnded | Progressed | RunEnded | Interrupted | Resumed | OrphansGone | OutputLost | Failed | HaltAsked


# --- Effects: what to do, in this order ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start this daemon, with the same arguments each time."""

    daemon: Daemon


@dataclass(frozen=True, slots=True)
class Tell:
    """Send it this signal."""

    daemon: Daemon
    signum: int


@dataclass(frozen=True, slots=True)
class Release:
    """Close its lifeline: it ends what it started, and itself."""

    daemon: Daemon


@dataclass(frozen=True, slots=True)
class LetFinish:
    """Tell it that the run has ended, and that it has its time for outputs that are on their way."""

    daemon: Daemon


@dataclass(frozen=True, slots=True)
class KillOrphans:
    """Kill every child that is no daemon, and say OrphansGone when none is left."""


@dataclass(frozen=True, slots=True)
class AwaitOrphans:
    """Say OrphansGone as soon as no child is left that is no daemon."""


@dataclass(frozen=True, slots=True)
class KillAll:
    """Kill the daemons and everything that they left."""


@dataclass(frozen=True, slots=True)
class StandStill:
    """Stop this very process until somebody lets it go on; then say Resumed."""


@dataclass(frozen=True, slots=True)
class Say:
    """One line on stderr."""

    text: str


@dataclass(frozen=True, slots=True)
class Warn:
    """One line on stderr, unless less of it is wanted (-q)."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Sweep, clean up, and exit with this status; `reason` says why it could not go on, or ""."""

    status: int
    reason: str


Effect = Start | Tell | Release | LetFinish | KillOrphans | AwaitOrphans | KillAll | StandStill | Say | Warn | Finish
