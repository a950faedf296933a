"""The worker's side of a session with the broker: which token counts, when to say Hello, when to give up on a socket. No IO.

    (none) ──Connected──▶ hello out ──Welcome──▶ open ──WhoAreYou──▶ hello out ...
       ▲                                          │
       └──────────────── Disconnected ────────────┘

Only the Welcome to the last Hello opens a session: an inventory that was overtaken by another must not stand behind a session in
which tasks are accepted, or the broker would give them to somebody else as well.
"""

from math import inf

from hs_common import limits
from hs_common.messages import WorkerHello
from hs_common.values import dataclass
from hs_worker.settings import Identity, Rules

_HELLO_S = 5.0
"""A Hello without an answer for so long: a new socket, since nobody knows whether it is still on its way. Then twice as long each
time, at most `limits.SILENCE_S`: its inventory may be 180 kB and the line slow, or the broker busy with all who come back."""
_AGAIN_S = 1.0
"""After a refusal that is not for ever, or a full socket, Hello is said again so late."""
_LATE_S = 5.0
"""When our own clock stood still for so long, the broker's silence in that time says nothing."""


@dataclass(slots=True)
class Session:
    """Token and timers."""

    heard_at: float
    """When the broker last said anything, or the socket was opened."""
    token: bytes = b""
    """b"": no session is open."""
    said_at: float = 0.0
    _hellos: int = 0
    """Hellos on this connection that no Welcome has answered."""
    _hello_at: float = inf
    """When to say Hello again, or to give up on the last."""
    _hello_s: float = _HELLO_S
    """How long to wait for an answer now."""
    connected: bool = False
    welcomed: bool = False
    """Whether a broker ever opened one."""

    def connect(self) -> None:
        """Note a fresh connection: whatever was under way on the old one is gone."""
        self.connected = True
        self.token = b""
        self._hellos = 0

    def disconnect(self) -> None:
        """Note the end of the connection."""
        self.connected = False
        self.token = b""
        self._hellos = 0
        self._hello_at = inf

    def give_up(self, now: float) -> None:
        """Note that the socket is given up."""
        if self._hellos:
            self._hello_s = min(2 * self._hello_s, limits.SILENCE_S)
        self.disconnect()
        self.heard_at = now

    @property
    def greeting(self) -> bool:
        """Whether a Hello is on its way."""
        return self._hellos > 0

    def greet(self, now: float) -> None:
        """Note that a Hello is sent now."""
        self.token = b""
        self._hellos += 1
        self._hello_at = now + self._hello_s
        self.said_at = now

    def welcome(self, token: bytes) -> bool:
        """Take a Welcome; return whether it opens a session."""
        self._hellos = max(0, self._hellos - 1)
        if self._hellos:
            return False
        self._hello_at = inf
        self._hello_s = _HELLO_S
        self.token = token
        self.welcomed = True
        return True

    def lose(self, now: float) -> None:
        """Close the session; say Hello on the same connection a little later."""
        self.token = b""
        self._hellos = max(0, self._hellos - 1)
        self._hello_at = now + _AGAIN_S

    def deadline(self) -> float:
        """Return when one of the three questions below becomes true."""
        beat_at = self.said_at + limits.HEARTBEAT_S if self.token else inf
        return min(beat_at, self._hello_at, self.heard_at + limits.SILENCE_S)

    def must_greet(self, now: float) -> bool:
        """Whether it is time to say Hello again."""
        return self.connected and not self._hellos and now >= self._hello_at

    def must_beat(self, now: float) -> bool:
        """Whether we said nothing for too long."""
        return bool(self.token) and now >= self.said_at + limits.HEARTBEAT_S

    def must_reopen(self, now: float) -> bool:
        """Whether the broker said nothing for too long, or nothing to our Hello."""
        return now >= self.heard_at + limits.SILENCE_S or (self._hellos > 0 and now >= self._hello_at)

    def wake(self, late_s: float) -> None:
        """Add the time in which we were away ourselves."""
        if late_s > _LATE_S:
            self.heard_at += late_s


def hello(
    identity: Identity, rules: Rules, inventory: tuple[int, ...], *, offer: tuple[int, int], seconds: float
) -> WorkerHello:
    """Return what a worker says first: the bundles that it has anything of; slots and credit; how long it still has."""
    return WorkerHello(
        worker=identity.worker,
        replaces=identity.replaces,
        version=identity.version,
        host=identity.host,
        pid=identity.pid,
        slots=offer[0],
        credit=offer[1],
        cores=rules.cores,
        memory=rules.memory,
        seconds=seconds,
        confirms=rules.confirms,
        inventory=inventory,
    )
