"""Connections to the broker: what each may say, how much of it, and under which session.

unknown ──message──▶ known, no session ──Hello──▶ in session ──see `sessions`──▶ known, no session
                            └───────── too many offences ─────────▶ banned
"""

from hs_broker.bucket import Bucket
from hs_broker.workers import HELLOS_AT_ONCE_MAX, HELLOS_PER_S_MAX, Worker
from hs_common import messages
from hs_common.messages import Message
from hs_common.values import dataclass, field

ALLOWED: dict[str, frozenset[type[Message]]] = {
    "worker": frozenset(
        {
            messages.WorkerHello,
            messages.Ready,
            messages.Received,
            messages.Result,
            messages.Running,
            messages.Bye,
            messages.Heartbeat,
        }
    ),
    "scheduler": frozenset(
        {
            messages.SchedulerHello,
            messages.Submit,
            messages.Committed,
            messages.Cancel,
            messages.Drain,
            messages.Reply,
            messages.Withdraw,
            messages.Bye,
            messages.Heartbeat,
        }
    ),
    "control": frozenset(
        {
            messages.ControlHello,
            messages.WorkerDead,
            messages.Drain,
            messages.Request,
            messages.Bye,
            messages.Heartbeat,
        }
    ),
    "submit": frozenset({messages.ControlHello, messages.Request, messages.Bye, messages.Heartbeat}),
}
"""What the key of each role may say. Everything else is Refused, and counts as an offence."""

SUBMIT_VERBS = frozenset({"submit", "wait"})
"""What a `submit` key may ask for: to add tasks, and to hear of those whose ids it knows. It learns of no others."""

PEERS_MAX = 40_000
"""Connections remembered at once; what one more says is dropped until the silent ones are forgotten."""

MESSAGES_PER_S_MAX = 20_000
"""Of one connection. What is beyond is dropped, and its session with it."""

ECHOES_PER_S_MAX = 10
"""Heartbeats of one connection that are answered; the next ones count as heard and no more."""

OFFENCES_MAX = 100
"""Of one connection: malformed frames and messages that its role may not say. One more and it is banned."""

COMPLAINT_PERIOD_S = 60.0
"""How often the operator hears about the offences of one connection."""

ASK_PERIOD_S = 1.0
"""How often a connection without a session is asked who it is."""


@dataclass(slots=True, eq=False)
class Peer:
    """One connection."""

    routing_id: bytes
    role: str
    heard_at: float
    """When it last said something in its session, or anything while it had none."""
    said_at: float
    """When something was last said to it."""
    token: bytes = b""
    """Of its session; b"" while it has none."""
    worker: Worker | None = None
    client: bytes = b""
    """Of a control session: as its Hello named it."""
    credit_told: int = -1
    """To a scheduler, in its session."""
    superseded: bool = False
    """It was the scheduler until another one came."""
    drains: bool = False
    """It has told all workers to leave, and will tell those that are still to come."""
    banned: bool = False
    offences: int = 0
    untold: int = 0
    """Complaints that the operator has not heard of."""
    told_at: float = float("-inf")
    asked_at: float = float("-inf")
    """When it was last asked who it is."""
    window_at: float = 0.0
    messages: int = 0
    """Since `window_at`."""
    echoes: int = 0
    hellos: Bucket = field(default_factory=lambda: Bucket(HELLOS_AT_ONCE_MAX, HELLOS_PER_S_MAX))
    """Each is answered, and a peer that reads no answer must not fill our memory with them."""

    def admits(self, now: float) -> bool:
        """Count one more message; return whether it is within the budget."""
        if now - self.window_at >= 1.0:
            self.window_at = now
            self.messages = self.echoes = 0
        self.messages += 1
        return self.messages <= MESSAGES_PER_S_MAX
