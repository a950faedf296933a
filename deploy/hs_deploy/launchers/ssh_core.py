"""What the holder of SSH sessions decides: who logs in when, who is tried again, and when no host is left. No IO.

    WAITING ──due, at most LOGINS_MAX at once──▶ LOGIN ──▶ UP ──▶ GONE
       ▲                                           │        │
       └── out of reach, or cut off: a little later ┴────────┘  refused, or its worker ended by itself: GONE

Rules, checked by `check`:
1. At most LOGINS_MAX hosts are in LOGIN.
2. Once leaving, nobody is WAITING.
"""

from collections.abc import Sequence
from enum import Enum, auto

from hs_common.values import dataclass
from hs_deploy.launchers.nodes import Node

LOGINS_MAX = 10
"""Logins under way at once. Source: sshd's MaxStartups, 10:30:100."""

STAGGER_S = 0.05
"""Between two logins of the start."""

RETRIES_FIRST = 2
"""Of a host that never was up, if it could not be reached; then it is left out. One second, then two."""

RETRIES_MAX = 10
"""Of a host that was up, without a minute of being up in between."""

BACKOFF_S, BACKOFF_MAX_S = 1.0, 30.0
"""Before a host is tried again, doubling."""

REACHED_S = 40.0
"""A worker that lived for so long has reached the broker, or it would have ended before. Source: twice `remote.PATIENCE_S`."""

STEADY_S = 60.0
"""Up for so long: what was before does not count any more."""


class State(Enum):
    """Of a host; the picture is above."""

    WAITING = auto()
    LOGIN = auto()
    UP = auto()
    GONE = auto()


@dataclass(frozen=True, slots=True)
class Login:
    """Log in there and start a worker."""

    node: Node


@dataclass(frozen=True, slots=True)
class Say:
    """One line for people."""

    text: str


Effect = Login | Say


@dataclass(slots=True)
class _Host:
    state: State
    due_at: float
    tries: int = 0
    up_at: float | None = None
    was_up: bool = False
    reached: bool = False
    """Whether a worker there once reached the broker, as far as is known."""
    reason: str = ""


class SshCore:
    """Decides; performs nothing. Instants are monotonic seconds."""

    def __init__(self, nodes: Sequence[Node], now: float) -> None:
        self._hosts = {node: _Host(State.WAITING, now + index * STAGGER_S) for index, node in enumerate(nodes)}
        self._leaving = False

    def expire(self, now: float) -> list[Effect]:
        """Time passed."""
        room = LOGINS_MAX - self._count(State.LOGIN)
        due = [node for node, host in self._hosts.items() if host.state is State.WAITING and host.due_at <= now]
        for node in due[:room]:
            self._hosts[node].state = State.LOGIN
        return [Login(node) for node in due[:room]]

    def deadline(self) -> float | None:
        """When to call `expire` next."""
        if self._count(State.LOGIN) >= LOGINS_MAX:
            return None  # the end of a login makes room
        return min((host.due_at for host in self._hosts.values() if host.state is State.WAITING), default=None)

    def on_up(self, node: Node, now: float) -> list[Effect]:
        """A worker was started there."""
        host = self._hosts[node]
        host.state, host.up_at, host.was_up = State.UP, now, True
        return []

    def on_failed(self, node: Node, reason: str, now: float, *, final: bool) -> list[Effect]:
        """The login failed. `final`: it would fail again (a key that is refused or not known)."""
        return self._down(self._hosts[node], node, reason, now, final=final)

    def on_ended(self, node: Node, reason: str, now: float, *, final: bool) -> list[Effect]:
        """The session ended. `final`: the worker ended by itself, or will never start there."""
        host = self._hosts[node]
        host.reached = self.has_reached(node, now)
        if host.up_at is not None and now - host.up_at >= STEADY_S:
            host.tries = 0
        host.up_at = None
        return self._down(host, node, reason, now, final=final)

    def has_reached(self, node: Node, now: float) -> bool:
        """Whether a worker there once reached the broker: then another one will, when whatever is in its way has gone."""
        host = self._hosts[node]
        return host.reached or (host.up_at is not None and now - host.up_at >= REACHED_S)

    def leave(self) -> None:
        """Start nothing any more."""
        self._leaving = True
        for host in self._hosts.values():
            if host.state is State.WAITING:
                host.state = State.GONE

    def over(self) -> str | None:
        """Return why, once no host is left; None: there are some, or will be."""
        if any(host.state is not State.GONE for host in self._hosts.values()):
            return None
        reasons = [f"{node.name}: {host.reason}" for node, host in self._hosts.items() if host.reason]
        shown = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")  # noqa: PLR2004
        return f"no host is left to run tasks ({shown})" if shown else "all workers have left"

    def check(self) -> None:
        """Assert the invariants."""
        assert self._count(State.LOGIN) <= LOGINS_MAX
        assert not (self._leaving and self._count(State.WAITING))

    def _down(self, host: _Host, node: Node, reason: str, now: float, *, final: bool) -> list[Effect]:
        host.reason = reason
        host.tries += 1
        if final or self._leaving or host.tries > (RETRIES_MAX if host.was_up else RETRIES_FIRST):
            host.state = State.GONE
            return [] if self._leaving or not reason else [Say(f"{node.name}: {reason}; going on without it")]
        wait_s = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** (host.tries - 1))
        host.state, host.due_at = State.WAITING, now + wait_s
        return [Say(f"{node.name}: {reason}; trying again in {wait_s:.0f} s")]

    def _count(self, state: State) -> int:
        return sum(host.state is state for host in self._hosts.values())
