"""What the holder of remote workers decides: how they are told to end, and what it means that they ended. No IO.

    RUNNING ──asked──▶ DRAINING ──asked──▶ STOPPING
       │                  │                  │
       ├──────────────────┴── lifeline ended ┴──▶ LEAVING: stop over the wire ─▶ SIGTERM ─▶ SIGKILL
       └── run ended (DRAINING, too) ──▶ FINISHING: stop ──no output is awaited, or none comes──▶ LEAVING
    holding ended: in order ──▶ OVER, with status 0; with 3 where outputs are lost
    holding ended while RUNNING ──▶ PARTING: stop over the wire ──▶ OVER, with its reason

Workers hear of their end through the broker, which reaches them wherever they are; signals are for a launcher that stays.
The broker hears of the end of a worker whose guardian was seen to end before its time, a moment later: the worker may still be
there to stop its tasks and take its leave.

A launcher that fails at once has left nobody behind; of any other, as of one that was killed, workers may be left: PARTING.

Rules, checked by `check`:
1. From the first word on that its workers are to leave until they are OVER, it is said again and again.
2. OVER has a status.
3. Once FINISHING, LEAVING or PARTING, nobody is mourned: what ran there is wanted no more.
"""

from collections import deque
from enum import Enum, auto
from signal import SIGKILL, SIGTERM

from hs_common.values import dataclass
from hs_deploy.daemons import STATUS_STOPPED

AGAIN_S = 0.5
"""Between two words to drain: a worker that is just coming, or coming back, hears the next one."""

LEAVE_STEP_S = 3.0
"""From the word over the wire to SIGTERM, and from that to SIGKILL. Launchers take about a second to end what they started."""

PART_S = 2.0
"""For workers whose launcher is gone: to hear that they are to stop, and to hand back what obeys a signal."""

MOURN_S = 2.0
"""From the end of a guardian until its worker counts as dead. Source: by then it is gone, as it promises (`guardian.END_S`)."""

STAYED_S = 10.0
"""A launcher that ends so soon with status 0 has put its work somewhere else, most likely."""


class Phase(Enum):
    """Of the fleet; the picture is above."""

    RUNNING = auto()
    DRAINING = auto()
    STOPPING = auto()
    FINISHING = auto()
    LEAVING = auto()
    PARTING = auto()
    OVER = auto()


# --- Events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """hs-cluster wants its workers to drain; the second time: to stop."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The run has ended in order: workers are wanted no more, but all that their tasks said is."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """Outputs may be on their way. `until`: then they count as lost, unless some come; `whom`: from which hosts."""

    until: float
    whom: str


@dataclass(frozen=True, slots=True)
class Released:
    """The lifeline ended: hs-cluster wants no more of us, or is gone."""


@dataclass(frozen=True, slots=True)
class Died:
    """A guardian ended before its time, surely. `origin`: of its workers."""

    origin: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """No worker is held any more.

    `how`: what ended in which way; `status` of it, -signal where it was killed; `lost`: why outputs did not come, or "".
    """

    status: int
    how: str
    lost: str = ""


Event = Asked | Finished | Awaited | Released | Died | Ended


# --- Effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell every worker, through the broker. `now`: stop what runs, too."""

    now: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell every worker by its own session that nothing is left to run."""


@dataclass(frozen=True, slots=True)
class Bury:
    """Tell the broker that the workers of this origin are dead."""

    origin: bytes


@dataclass(frozen=True, slots=True)
class Signal:
    """Send it to what holds the workers."""

    signum: int


@dataclass(frozen=True, slots=True)
class Leave:
    """End with this status; `reason` for stderr, or ""."""

    status: int
    reason: str


Effect = Drain | Stop | Bury | Signal | Leave


class FleetCore:
    """Decides; performs nothing. Instants are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self.phase = Phase.RUNNING
        self._began = now
        self._again_at: float | None = None
        self._step_at: float | None = None
        self._steps = [SIGTERM, SIGKILL]
        self._finished_at = now
        self._awaited: Awaited | None = None
        """What FINISHING waits for."""
        self._lost = ""
        self._left: Leave | None = None
        self._parting: Leave | None = None
        """What comes at the end of PARTING."""
        self._mourned: deque[tuple[float, bytes]] = deque()
        """When to bury the workers of which origin, the next one first."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Something happened."""
        if self.phase is Phase.OVER:
            return []
        match event:
            case Asked():
                return self._on_asked(now)
            case Finished():
                return self._on_finished(now)
            case Awaited():
                return self._on_awaited(event)
            case Released():
                return self._on_released(now)
            case Died():
                return self._on_died(event, now)
            case Ended():
                return self._on_ended(event, now)

    def expire(self, now: float) -> list[Effect]:
        """Time passed."""
        effects: list[Effect] = []
        while self._mourned and self._mourned[0][0] <= now:
            effects.append(Bury(self._mourned.popleft()[1]))
        if self._again_at is not None and self._again_at <= now:
            self._again_at = now + AGAIN_S
            effects.append(Drain(now=self._parting is not None or self.phase is Phase.FINISHING))
        if self._step_at is not None and self._step_at <= now:
            if self._parting is not None:
                return [self._end(self._parting)]
            if self.phase is Phase.FINISHING:
                self._give_up()
            effects.append(Signal(self._steps.pop(0)))
            self._step_at = now + LEAVE_STEP_S if self._steps else None
        return effects

    def deadline(self) -> float | None:
        """When to call `expire` next."""
        bury_at = self._mourned[0][0] if self._mourned else None
        return min((at for at in (self._again_at, self._step_at, bury_at) if at is not None), default=None)

    def check(self) -> None:
        """Assert the invariants."""
        assert (self.phase in (Phase.RUNNING, Phase.OVER)) == (self._again_at is None)
        assert self.phase in (Phase.FINISHING, Phase.LEAVING, Phase.PARTING) or self._step_at is None
        assert self.phase is not Phase.PARTING or self._parting is not None
        assert (self.phase is Phase.OVER) == (self._left is not None)
        assert not self._mourned or self.phase in (Phase.RUNNING, Phase.DRAINING, Phase.STOPPING)

    def _on_asked(self, now: float) -> list[Effect]:
        match self.phase:
            case Phase.RUNNING:
                self.phase, self._again_at = Phase.DRAINING, now + AGAIN_S
                return [Drain(now=False)]
            case Phase.DRAINING:
                self.phase = Phase.STOPPING
                return [Drain(now=True)]
            case _:
                return []

    def _on_finished(self, now: float) -> list[Effect]:
        if self.phase not in (Phase.RUNNING, Phase.DRAINING):
            return []
        self.phase, self._again_at, self._step_at = Phase.FINISHING, now + AGAIN_S, now + LEAVE_STEP_S
        self._finished_at = now
        self._mourned.clear()
        return [Stop(), Drain(now=True)]

    def _on_awaited(self, awaited: Awaited) -> list[Effect]:
        if self.phase is Phase.FINISHING:
            # Who owes nothing has no more time than at any other end.
            self._awaited = awaited if awaited.whom else None
            self._step_at = max(self._finished_at + LEAVE_STEP_S, awaited.until if awaited.whom else 0.0)
        return []

    def _give_up(self) -> None:
        self.phase = Phase.LEAVING
        if self._awaited is not None:
            self._lost = f"outputs that were on their way from {self._awaited.whom} are lost: no more of them came"

    def _on_released(self, now: float) -> list[Effect]:
        if self.phase in (Phase.LEAVING, Phase.PARTING):
            return []
        self.phase, self._again_at, self._step_at = Phase.LEAVING, now + AGAIN_S, now + LEAVE_STEP_S
        self._mourned.clear()
        return [Drain(now=True)]

    def _on_died(self, died: Died, now: float) -> list[Effect]:
        if self.phase in (Phase.RUNNING, Phase.DRAINING, Phase.STOPPING):
            self._mourned.append((now + MOURN_S, died.origin))
        return []

    def _on_ended(self, ended: Ended, now: float) -> list[Effect]:
        if self.phase is Phase.PARTING:
            return []
        if self.phase is not Phase.RUNNING:
            if self.phase is Phase.FINISHING:
                self._lost = ended.lost
            return [self._end(Leave(STATUS_STOPPED if self._lost else 0, self._lost))]
        hint = "; it must stay in the foreground as long as its workers live (srun, not sbatch)"
        early = now - self._began < STAYED_S
        leave = Leave(STATUS_STOPPED, ended.how + (hint if early and ended.status == 0 else ""))
        if early and ended.status > 0:
            return [self._end(leave)]
        self.phase, self._again_at, self._step_at, self._parting = Phase.PARTING, now + AGAIN_S, now + PART_S, leave
        self._mourned.clear()
        return [Drain(now=True)]

    def _end(self, leave: Leave) -> Leave:
        self.phase, self._again_at, self._step_at, self._left = Phase.OVER, None, None, leave
        self._mourned.clear()
        return leave
