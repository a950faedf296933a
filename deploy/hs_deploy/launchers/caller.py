"""The way to workers that are out of our reach: a control session with their broker, opened when there is something to say."""

import os

from hs_common import __version__, messages
from hs_common.clock import monotonic
from hs_common.messages import Message
from hs_common.security import Connection
from hs_common.sockets import Link, new_context

HELLO_S = 5.0
"""A Hello without an answer for so long: a new socket."""

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
        self._hello_by: float | None = None
        self._waiting: list[bool] = []
        """Drains to be said, oldest first: whether at once."""

    @property
    def sockets(self) -> list[object]:
        """What to poll for reading; after each `step` it may be others."""
        return [] if self._link is None else list(self._link.sockets)

    def drain(self, *, now: bool) -> None:
        """Ask all workers to drain, or to stop `now`."""
        if now not in self._waiting:
            self._waiting.append(now)
        if self._link is None:
            self._link = Link(new_context(), self._connection)
        self._say_all()

    def deadline(self) -> float | None:
        """When to call `step` next, monotonic seconds."""
        return self._hello_by

    def step(self) -> None:
        """Take what has come."""
        link = self._link
        if link is None:
            return
        for event in link.events():
            self._session = b""
            if event == "connected":
                self._greet(link)
            elif event == "denied":
                self._hello_by = monotonic()
        for message in link.receive():
            self._hear(link, message)
        if self._hello_by is not None and self._hello_by <= monotonic():
            self._hello_by = monotonic() + HELLO_S
            link.reopen()
        self._say_all()

    def close(self) -> None:
        """Take leave, so that the broker waits for nobody."""
        if self._link is None:
            return
        if self._session:
            self._link.send(messages.Bye(session=self._session, reason="all workers have left"))
        self._link.close(linger_ms=BYE_MS)

    def _greet(self, link: Link) -> None:
        self._hello_by = monotonic() + HELLO_S
        host = os.uname().nodename
        link.send(messages.ControlHello(client=self._client, version=__version__, host=host, pid=os.getpid()))

    def _hear(self, link: Link, message: Message) -> None:
        if isinstance(message, messages.Welcome):
            self._session, self._hello_by = message.session, None
        elif isinstance(message, messages.WhoAreYou):
            self._session = b""
            self._greet(link)

    def _say_all(self) -> None:
        while self._link is not None and self._session and self._waiting:
            if not self._link.send(messages.Drain(session=self._session, worker=b"", now=self._waiting[0])):
                return
            del self._waiting[0]
