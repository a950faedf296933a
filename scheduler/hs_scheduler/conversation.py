"""The scheduler's side of its session with the broker: who speaks, what was heard, what is still to be acknowledged.

    no session ──Hello──▶ Welcome ──▶ in session ──Census, not more──▶ [census complete]
        ▲                                 └── Disconnected · WhoAreYou ──▶ no session

Values and decisions about time only: what it returns is sent by whoever asks.
"""

from hs_common import limits
from hs_common.messages import Bye, Committed, Heartbeat, SchedulerHello
from hs_common.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this scheduler is."""

    scheduler: bytes
    version: str
    host: str
    pid: int
    epoch: int
    store: bytes
    database: str


class Conversation:
    """What is known of the session, and when there is something to say in it.

    Args:
        identity: Who speaks.
        now: monotonic seconds.

    """

    def __init__(self, identity: Identity, now: float) -> None:
        self.identity = identity
        self.session = b""
        """b"" while there is none."""
        self.heard_at = now
        self.said_at = now
        self.census = False
        """The broker told all that it knows since its Welcome."""
        self.grace_until = 0.0
        """Until when workers that are known and not yet back are waited for."""
        self._acknowledged: dict[bytes, list[int]] = {}
        self._heard: dict[bytes, int] = {}
        """Worker -> sequence up to which all of its uncommitted Results were heard in this session."""

    def hello(self, now: float) -> SchedulerHello:
        """Return the first word on a connection; what session there was is over."""
        who = self.identity
        self.session, self.census, self.said_at = b"", False, now
        return SchedulerHello(
            scheduler=who.scheduler,
            version=who.version,
            host=who.host,
            pid=who.pid,
            epoch=who.epoch,
            store=who.store,
            database=who.database,
        )

    def open(self, session: bytes, now: float) -> None:
        """Begin a session. Results that were not acknowledged come again in it."""
        self.session, self.census, self.grace_until = session, False, 0.0
        self.heard_at = self.said_at = now
        self._acknowledged.clear()
        self._heard.clear()

    def close(self) -> None:
        """End the session: nothing is known to arrive."""
        self.session, self.census = b"", False

    def hear(self, now: float) -> None:
        """Note that the broker speaks. Without a session only its Welcome counts: the rest is of the session before."""
        if self.session:
            self.heard_at = now

    def follows(self, worker: bytes, sequence: int, oldest: int) -> bool:
        """Return whether a Result is the next one of its worker, and note it.

        If it is not, one before it was lost on its way (the broker had no scheduler to give it to): both come again.
        """
        heard = self._heard.get(worker, 0)
        if sequence > max(heard + 1, oldest):
            return False
        self._heard[worker] = max(heard, sequence)
        return True

    def acknowledge(self, worker: bytes, sequence: int) -> None:
        """Note that a Result is committed."""
        self._acknowledged.setdefault(worker, []).append(sequence)

    def remember(self, worker: bytes) -> None:
        """Note that the store knows a worker: it is told so with the acknowledgements, of which there may be none."""
        self._acknowledged.setdefault(worker, [])

    def committed(self, now: float) -> list[Committed]:
        """Return the acknowledgements that are due, one message for each worker."""
        if not self._acknowledged or not self.session:
            return []
        found = [
            Committed(session=self.session, worker=worker, sequences=tuple(sequences))
            for worker, sequences in self._acknowledged.items()
        ]
        self._acknowledged.clear()
        self.said_at = now
        return found

    def answer(self, now: float) -> Heartbeat | None:
        """Return the answer to a Heartbeat: the broker may be asking, for its lease may be shorter than our own beat."""
        if not self.session or now < self.said_at + limits.ANSWER_S:
            return None
        self.said_at = now
        return Heartbeat(session=self.session)

    def beat(self, now: float) -> Heartbeat | None:
        """Return a Heartbeat where nothing else was said for long enough."""
        if not self.session or now - self.said_at < limits.HEARTBEAT_S:
            return None
        self.said_at = now
        return Heartbeat(session=self.session)

    def silent(self, now: float) -> bool:
        """Return whether the broker has said nothing for too long; asked again only after as long once more."""
        if now - self.heard_at < limits.SILENCE_S:
            return False
        self.heard_at = now
        return True

    def deadline(self) -> float:
        """Return when `silent` or `beat` has to be asked next (monotonic seconds)."""
        due = self.heard_at + limits.SILENCE_S
        return min(due, self.said_at + limits.HEARTBEAT_S) if self.session else due

    def bye(self) -> list[Bye]:
        """Return the last words, if anybody hears them."""
        return [Bye(session=self.session, reason="done")] if self.session else []
