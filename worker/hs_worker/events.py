"""What the worker's core is told, and what it asks for. Tuples: some of these exist once per task on the hot path.

shell ── Message | Exited | SpawnFailed | Left | Connected | Disconnected | Unsent | DrainAsked | StopAsked | PauseAsked |
         ResumeAsked | OutputKept | OutputFull | ClockSet ──▶ core
      ◀─ Record Drop Spawn Signal Look Abandon Release Send Reopen Leave Note ─
"""

from collections.abc import Sequence
from typing import NamedTuple

from hs_common.messages import Message
from hs_common.tasks import Task


class Output(NamedTuple):
    """What became of the output of a task."""

    outpath: bytes
    """b"": it was not captured."""
    errpath: bytes
    whole: bool
    """Whether all of it could be kept."""
    sent: int = 0
    """It is on its way to who keeps it, who has all of it when he has so many bytes of ours; 0: it is kept."""


class Exit(NamedTuple):
    """One first process of a task ended and was reaped."""

    slot: int
    status: int
    """Raw wait status."""
    started_at: float
    """Monotonic seconds, just before it was spawned."""
    ended_at: float
    cpu_user: float
    """Seconds."""
    cpu_system: float
    memory_max: int
    """Bytes; 0: not known."""
    answer: bytes = b""
    """What is left of a process that was asked `Spawn.questions`."""
    output: Output | None = None
    """None: there is nothing to say about it."""


class Exited(NamedTuple):
    """These ended since the last look."""

    exits: Sequence[Exit]


class SpawnFailed(NamedTuple):
    """The process of this slot could not be made."""

    slot: int
    error: int
    """errno."""


class Left(NamedTuple):
    """Answer to Look: so many processes of this stopped task are still there."""

    slot: int
    processes: int


class Connected(NamedTuple):
    """A handshake with a broker succeeded; it knows nothing of us yet."""


class Disconnected(NamedTuple):
    """The connection broke; what was sent may be lost."""


class Unsent(NamedTuple):
    """The socket did not take a message: the broker is gone, or does not read."""


class DrainAsked(NamedTuple):
    """Finish what runs, start nothing more, leave; after `grace_s` seconds (None: never) stop what still runs."""

    grace_s: float | None


class StopAsked(NamedTuple):
    """Stop what runs, hand all back, leave."""

    kill: bool
    """SIGKILL at once, instead of SIGINT, SIGTERM, SIGKILL."""
    wait_s: float
    """Seconds to wait for the acknowledgement of the last results once nothing runs any more."""


class PauseAsked(NamedTuple):
    """Start nothing more, stop the tasks where they are, hold their limits."""


class ResumeAsked(NamedTuple):
    """Go on."""


class OutputKept(NamedTuple):
    """Who keeps the outputs of our tasks has so many bytes of them by now."""

    sent: int


class OutputFull(NamedTuple):
    """Whether the reader of our own streams has left so much lying there that our tasks have to wait for him."""

    full: bool


class ClockSet(NamedTuple):
    """The wall clock stands at monotonic time + `offset_s` now."""

    offset_s: float


Event = (
    Message
    | Exited
    | SpawnFailed
    | Left
    | Connected
    | Disconnected
    | Unsent
    | DrainAsked
    | StopAsked
    | PauseAsked
    | ResumeAsked
    | OutputKept
    | OutputFull
    | ClockSet
)


class Spawn(NamedTuple):
    """Start this task in this slot, or the process that is asked for its command."""

    slot: int
    task: Task
    bundle: int
    cwd: bytes
    command: bytes
    questions: tuple[bytes, ...] = ()
    """What a process must answer before the command is known: then `command` is empty, and its Exit has the answers."""


class Record(NamedTuple):
    """Write this outcome where it survives us; then the slot is empty."""

    slot: int
    bundle: int
    packed: bytes
    """The outcome as it will stand in the body of a Result."""


class Drop(NamedTuple):
    """The task in this slot will not run: what was said while its command was found out is all of its output."""

    slot: int


class Release(NamedTuple):
    """The oldest recorded outcomes, of so many bytes in all, are committed: forget them."""

    size: int


class Signal(NamedTuple):
    """Send a signal to everything that the task in this slot started."""

    slot: int
    number: int


class Look(NamedTuple):
    """The first process of this stopped task ended: is anything else of it left? Answer with Left."""

    slot: int


class Abandon(NamedTuple):
    """What is in this slot survived SIGKILL: the slot is given up."""

    slot: int


class Send(NamedTuple):
    """Send a message to the broker."""

    message: Message


class Reopen(NamedTuple):
    """The broker was silent too long: open a new socket."""


class Leave(NamedTuple):
    """Nothing is left to do here: end the process."""

    refused: bool
    """Coming back would be of no use either."""
    time_over: bool = False
    """Nor would it because the time is over in which this worker may run."""


class Note(NamedTuple):
    """Something a person may want to read in the log."""

    level: str
    event: str
    keys: dict[str, object]


Effect = Spawn | Record | Drop | Release | Signal | Look | Abandon | Send | Reopen | Leave | Note
