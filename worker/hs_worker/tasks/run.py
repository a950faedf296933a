"""One task in a slot, and how it is stopped. No IO.

limit, cancel, halt ──▶ SIGINT ── signalwait ──▶ SIGTERM ── signalwait ──▶ SIGKILL ── UNKILLABLE_S ──▶ lost
"""

from math import inf
from signal import SIGINT, SIGKILL, SIGTERM

from hs_common.tasks import OutcomeKind, Task
from hs_worker.events import Exit
from hs_worker.tasks.states import State, Step, after

UNKILLABLE_S = 10.0
"""What lives so long after SIGKILL sits in the kernel and will not end."""
_LADDER = (SIGINT, SIGTERM, SIGKILL)


class Bundle:
    """What the worker knows of a bundle that it has tasks of."""

    __slots__ = ("bundle", "cwd", "left", "received_at")

    def __init__(self, bundle: int, cwd: bytes, left: int, received_at: float) -> None:
        self.bundle = bundle
        self.cwd = cwd
        self.left = left
        """Tasks without an outcome."""
        self.received_at = received_at


class Run:
    """One dispatch that occupies a slot. A plain class with slots: it is made once per task."""

    __slots__ = (
        "bundle",
        "command",
        "due_at",
        "exit",
        "reason",
        "rung",
        "started_at",
        "state",
        "task",
        "then_due_at",
        "told",
        "weight",
    )

    def __init__(
        self, task: Task, bundle: Bundle, command: bytes, started_at: float, due_at: float, weight: int
    ) -> None:
        self.task = task
        self.bundle = bundle
        self.command = command
        self.started_at = started_at
        self.due_at = due_at
        """When its limit ends, or the next signal is due; inf: never."""
        self.weight = weight
        """Bytes that are set aside for its outcome in the map."""
        self.state = State.RUNNING
        self.reason = ""
        """Why it was stopped: timeout, cancel, halt."""
        self.rung = 0
        """Signals sent so far, as an index into the ladder."""
        self.exit: Exit | None = None
        """How its first process ended, while others of it are left."""
        self.then_due_at: float | None = None
        """When its limit ends, while its command is still being found out; None: it runs."""
        self.told = False
        """Whether the scheduler was told that it is running."""

    def stop(self, reason: str) -> None:
        """Note why it must end. The first reason stays: it is what happened."""
        self.state = after(self.state, Step.STOP)
        self.reason = self.reason or reason

    def next_signal(self, now: float, signalwait_s: float, *, kill: bool) -> int:
        """Return the signal that is due now, and set the time of the next one."""
        rung = len(_LADDER) - 1 if kill else self.rung
        self.rung = rung + 1
        self.due_at = now + (UNKILLABLE_S if _LADDER[rung] == SIGKILL else signalwait_s)
        return _LADDER[rung]

    @property
    def out_of_signals(self) -> bool:
        """Whether SIGKILL was sent already."""
        return self.rung >= len(_LADDER)

    def kind(self) -> OutcomeKind:
        """Return what its end means, by why it was stopped."""
        return _KIND_OF[self.reason] if self.then_due_at is None else _KIND_OF_EXPANSION[self.reason]

    def expand(self, due_at: float) -> None:
        """Let its command be found out first: within its own limit, or by `due_at` where it has none."""
        self.state = after(State.WAITING, Step.EXPAND)
        self.then_due_at = self.due_at
        self.due_at = due_at if self.due_at == inf else self.due_at

    def start(self, command: bytes, now: float) -> None:
        """Let it run, now that its command is known. Its limit began when the process that was asked for that did."""
        assert self.then_due_at is not None
        self.state = after(self.state, Step.START)
        self.due_at = self.then_due_at
        self.then_due_at = None
        self.command = command
        self.started_at = now

    def withhold(self, exit_: Exit) -> None:
        """Let it count only when its output is where it belongs. No limit of it ends any more."""
        self.state = after(self.state, Step.WITHHOLD)
        self.exit = exit_
        self.due_at = inf

    @property
    def has_process(self) -> bool:
        """Whether one is there that nobody has told to end."""
        return self.state in (State.RUNNING, State.EXPANDING)

    def disarm(self) -> None:
        """Let no limit fire any more."""
        self.due_at = inf


_KIND_OF = {
    "": OutcomeKind.FINISHED,
    "timeout": OutcomeKind.FINISHED,
    "unkillable": OutcomeKind.FINISHED,
    "output": OutcomeKind.FINISHED,
    "cancel": OutcomeKind.CANCELLED,
    "halt": OutcomeKind.HANDED_BACK,
}
_KIND_OF_EXPANSION = _KIND_OF | {
    "timeout": OutcomeKind.REJECTED,
    "unkillable": OutcomeKind.REJECTED,
}
"""A task that *we* stopped to end ourselves goes back, and nothing is counted."""
