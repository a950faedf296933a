"""A command's side of a request: ask the scheduler behind a broker, and wait for the answer.

    no session ──connected: ControlHello──▶ Welcome ──▶ in session ──ask──▶ Reply: done, refused, stopped
        ▲                                                 │    └──Reply: again ──▶ a little later once more
        └──── broker gone, silent, or it asks who we are ─┘

A request is said again whenever its answer may be lost: after each new session, and when the broker says so. So one that changes
something carries a key of its own, by which the scheduler knows it. With nobody to answer for `patience_s` the client gives up.
"""

import os
from collections.abc import Callable
from math import inf

import zmq

from hs_common import __version__, limits
from hs_common.clock import monotonic
from hs_common.errors import RefusedError, StoppedError
from hs_common.message_requests import AGAIN, MISUSED, STOPPED
from hs_common.messages import (
    Bye,
    ControlHello,
    Drain,
    Heartbeat,
    Message,
    Refused,
    Reply,
    Request,
    Welcome,
    WhoAreYou,
)
from hs_common.security import Connection
from hs_common.sockets import Link, new_context
from hs_common.values import dataclass, replace

PATIENCE_S = 10.0
"""How long a broker or scheduler that is being restarted is waited for."""

AGAIN_S = 0.1
"""Between two tries when the broker says that nobody can answer now."""

HAD_S = 1.0
"""A scheduler that has had a request for so long was there, and the next one is waited for anew."""

FAREWELL_MS = 200
"""How long the last word may take to leave."""


class NobodyError(StoppedError):
    """Neither done nor refused: nobody answered. What was asked may have been done, if somebody was there for a moment."""


class DeadlineError(StoppedError):
    """The caller's own limit came before the answer."""


@dataclass(slots=True)
class _Asked:
    """A request, and whether somebody has it."""

    request: Request
    sent_in: bytes = b""
    """The session in which it is under way, or b""."""
    sent_at: float = 0.0
    again_at: float = 0.0
    """Not to be said before."""
    alone_since: float = 0.0
    """While it is not under way: since when nobody has had it."""

    @property
    def under_way(self) -> bool:
        return bool(self.sent_in)

    def lost(self, now: float, again_at: float) -> None:
        """Take note that whoever had it is gone. One who had it only for a moment was nobody."""
        if now - self.sent_at >= HAD_S:
            self.alone_since = now
        self.sent_in, self.again_at = b"", again_at


class Client:
    """One session with a broker, for requests one after the other.

    Args:
        connection: With the key of a role that may ask: control or submit.
        patience_s: How long nobody may be there, seconds.

    """

    def __init__(self, connection: Connection, *, patience_s: float = PATIENCE_S) -> None:
        self._connection = connection
        self._patience_s = patience_s
        self._link = Link(new_context(), connection)
        self._poller = zmq.Poller()
        self._watch()
        self._client = os.urandom(16)
        self._session = b""
        self._request = 0
        self._denied = False
        self._hello_at = inf
        """When to say Hello once more."""
        self._reason = "it does not answer"
        self._heard_at = self._said_at = monotonic()

    def ask(
        self, verb: str, body: bytes = b"", *, until: float = inf, hear: Callable[[bytes], None] | None = None
    ) -> bytes:
        """Return the answer; `hear` gets each part that comes before the last one.

        Args:
            verb: What is asked for.
            body: As the verb defines it.
            until: When to give up, monotonic seconds.
            hear: Takes the body of a part.

        Raises:
            RefusedError: The scheduler takes it for a mistake of the user.
            StoppedError: It says that it cannot be done.
            NobodyError: Nobody answers.
            DeadlineError: `until` came.

        """
        self._request += 1
        asked = _Asked(Request(session=b"", client=self._client, request=self._request, verb=verb, body=body))
        asked.alone_since = monotonic()
        while True:
            now = monotonic()
            if asked.under_way and asked.sent_in != self._session:
                asked.lost(now, now)
            if self._session and not asked.under_way and now >= asked.again_at:
                self._say(asked, now)
            self._give_up(now, inf if asked.under_way else asked.alone_since, until)
            for heard in self._hear(now, min(until, inf if asked.under_way else self._next_at(asked, now))):
                if not isinstance(heard, Reply) or heard.request != self._request or not asked.under_way:
                    continue
                if heard.status == AGAIN:
                    asked.lost(now, now + AGAIN_S)
                    self._reason = heard.body.decode(errors="replace")
                elif not heard.more:
                    return _answer(heard)
                elif hear is not None:
                    hear(heard.body)

    def _say(self, asked: "_Asked", now: float) -> None:
        if self._send(replace(asked.request, session=self._session), now):
            asked.sent_in, asked.sent_at = self._session, now

    def _next_at(self, asked: "_Asked", now: float) -> float:
        """Return when there is something to do about a request that nobody has."""
        give_up_at = asked.alone_since + self._patience_s
        return min(give_up_at, asked.again_at) if self._session and asked.again_at > now else give_up_at

    def drain(self, worker: bytes, *, now: bool) -> None:
        """Tell the broker that a worker is to leave; `now`: without finishing what runs.

        Raises:
            NobodyError: There is no broker.

        """
        since = monotonic()
        while True:
            if self._session and self._send(Drain(session=self._session, worker=worker, now=now), monotonic()):
                return
            self._give_up(monotonic(), since, inf)
            self._hear(monotonic(), since + self._patience_s)

    def close(self) -> None:
        """Say goodbye, if there is somebody to say it to; do nothing where that was done."""
        if self._link.closed:
            return
        if self._session:
            self._link.send(Bye(session=self._session, reason="done"))
        self._link.close(linger_ms=FAREWELL_MS)

    def _give_up(self, now: float, alone_since: float, until: float) -> None:
        where = f"the cluster at {self._link.endpoint}"
        if now >= until:
            raise DeadlineError("the time given for it is over")
        if now - alone_since >= self._patience_s:
            why = "it denies our key" if self._denied else self._reason
            raise NobodyError(f"{where} gave no answer within {self._patience_s:g} s: {why}")

    def _hear(self, now: float, wake_at: float) -> list[Message]:
        """Wait until something comes, or for `wake_at`; return what is not about the session alone."""
        due = min(wake_at, self._heard_at + limits.SILENCE_S, self._said_at + limits.HEARTBEAT_S, self._hello_at)
        self._poller.poll(max(0, int((due - now) * 1000) + 1))
        now = monotonic()
        for event in self._link.events():
            if event == "connected":
                self._denied = False
                self._say_hello(now)
            else:
                self._session = b""
                self._denied = event == "denied"
        messages = self._link.receive()
        if messages:
            self._heard_at = now
        found = [message for message in messages if not self._on_session(message, now)]
        if self._denied or now - self._heard_at >= limits.SILENCE_S:
            self._reopen(now)
        elif self._session and now - self._said_at >= limits.HEARTBEAT_S:
            self._send(Heartbeat(session=self._session), now)
        elif now >= self._hello_at:
            self._say_hello(now)
        return found

    def _on_session(self, message: Message, now: float) -> bool:
        """Take what concerns the session; return whether that was all."""
        match message:
            case Welcome():
                self._session, self._hello_at = message.session, inf
            case WhoAreYou():
                self._say_hello(now)
            case Refused(fatal=True):
                raise StoppedError(f"the broker refuses us: {message.reason}")
            case Refused():
                self._reason, self._hello_at = message.reason, now + 1.0
            case Heartbeat():
                if self._session and now - self._said_at >= limits.ANSWER_S:
                    self._send(Heartbeat(session=self._session), now)
            case _:
                return False
        return True

    def _say_hello(self, now: float) -> None:
        self._session, self._hello_at = b"", inf
        host = os.uname().nodename
        self._send(ControlHello(client=self._client, version=__version__, host=host, pid=os.getpid()), now)

    def _send(self, message: Message, now: float) -> bool:
        self._said_at = now
        return self._link.send(message)

    def _reopen(self, now: float) -> None:
        for socket in self._link.sockets:
            self._poller.unregister(socket)
        self._link.reopen()
        self._watch()
        self._session, self._heard_at, self._hello_at = b"", now, inf

    def _watch(self) -> None:
        for socket in self._link.sockets:
            self._poller.register(socket, zmq.POLLIN)


def _answer(reply: Reply) -> bytes:
    if reply.status == MISUSED:
        raise RefusedError(reply.body.decode(errors="replace"))
    if reply.status == STOPPED:
        raise StoppedError(reply.body.decode(errors="replace"))
    return reply.body
