"""The way to workers that are out of our reach: a control session with their broker, opened when there is something to say.

A Drain is said once, for whoever asks for it asks again. That workers are dead is said until the broker has heard it: a Heartbeat
follows, and the broker answers what it hears in its order.
"""

import os

from hs_common import __version__, messages
from hs_common.clock import monotonic
from hs_common.incarnation import all_of
from hs_common.messages import Message
from hs_common.security import Connection
from hs_common.sockets import Link, new_context

ANSWER_S = 5.0
"""A Hello, or a Heartbeat of ours, without an answer for so long: a new socket."""

BYE_MS = 200
"""For the last word to be on its way."""


class Caller:
    """Says what concerns the workers of one cluster. What cannot be said now is said when the broker is there again."""

    def __init__(self, connection: Connection) -> None:
        """Take a connection of the role control; nothing is opened yet."""
        self._connection = connection
        self._link: Link | None = None
        self._client = os.urandom(16)
        self._session = b""
        self._answer_by: float | None = None
        """Then we want to have heard of the broker what we asked it for."""
        self._waiting: list[bool] = []
        """Drains to be said, oldest first: whether at once."""
        self._dead: dict[bytes, bool] = {}
        """Origins of workers that are dead -> whether that was said in this session."""

    @property
    def sockets(self) -> list[object]:
        """What to poll for reading; after each `step` it may be others."""
        return [] if self._link is None else list(self._link.sockets)

    def drain(self, *, now: bool) -> None:
        """Ask all workers to drain, or to stop `now`."""
        if now not in self._waiting:
            self._waiting.append(now)
        self._speak()

    def bury(self, origin: bytes) -> None:
        """Tell the broker that the workers of this origin are dead."""
        self._dead.setdefault(origin, False)
        self._speak()

    def deadline(self) -> float | None:
        """When to call `step` next, monotonic seconds."""
        return self._answer_by

    def step(self) -> None:
        """Take what has come."""
        link = self._link
        if link is None:
            return
        for event in link.events():
            self._lose_session()
            if event == "connected":
                self._greet(link)
            elif event == "denied":
                self._answer_by = monotonic()
        for message in link.receive():
            self._hear(link, message)
        if self._answer_by is not None and self._answer_by <= monotonic():
            self._lose_session()
            self._answer_by = monotonic() + ANSWER_S
            link.reopen()
        self._say_all(link)

    def close(self) -> None:
        """Take leave, so that the broker waits for nobody."""
        if self._link is None:
            return
        if self._session:
            self._link.send(messages.Bye(session=self._session, reason="all workers have left"))
        self._link.close(linger_ms=BYE_MS)

    def _speak(self) -> None:
        if self._link is None:
            self._link = Link(new_context(), self._connection)
        self._say_all(self._link)

    def _lose_session(self) -> None:
        self._session = b""
        self._dead = dict.fromkeys(self._dead, False)

    def _greet(self, link: Link) -> None:
        self._answer_by = monotonic() + ANSWER_S
        host = os.uname().nodename
        link.send(messages.ControlHello(client=self._client, version=__version__, host=host, pid=os.getpid()))

    def _hear(self, link: Link, message: Message) -> None:
        match message:
            case messages.Welcome():
                self._session, self._answer_by = message.session, None
            case messages.WhoAreYou():
                self._lose_session()
                self._greet(link)
            case messages.Heartbeat():
                self._answer_by = None
                self._dead = {origin: said for origin, said in self._dead.items() if not said}

    def _say_all(self, link: Link) -> None:
        while self._session and self._waiting:
            if not link.send(messages.Drain(session=self._session, worker=b"", now=self._waiting[0])):
                return
            del self._waiting[0]
        fresh = [origin for origin, said in self._dead.items() if not said] if self._session else []
        for origin in fresh:
            if not link.send(messages.WorkerDead(session=self._session, worker=all_of(origin))):
                return
            self._dead[origin] = True
        if fresh:
            link.send(messages.Heartbeat(session=self._session))
            self._answer_by = monotonic() + ANSWER_S
