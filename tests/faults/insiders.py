"""Peers that hold a valid key and misbehave. Source: RELIABILITY 8.2 H; Z7 of section 4."""

import os
from contextlib import suppress
from typing import Self, TypeVar

import zmq

from hs_common import messages
from hs_common.messages import Message
from hs_common.security import Connection
from hs_common.wire import decode, encode

HEAR_MS = 60_000

M = TypeVar("M", bound=Message)


class Insider:
    """A DEALER with the key of a role, which says whatever it is told to. Use it in a `with`."""

    def __init__(self, connection: Connection, endpoint: str, *, routing_id: bytes = b"") -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndtimeo = HEAR_MS
        self.socket.immediate = True
        if routing_id:
            self.socket.setsockopt(zmq.ROUTING_ID, routing_id)
        self.socket.curve_serverkey = connection.server_public
        self.socket.curve_publickey, self.socket.curve_secretkey = connection.keys.public, connection.keys.secret
        self.socket.connect(endpoint)
        self.incarnation = os.urandom(16)
        self.session = bytes(16)
        self.heard: list[Message] = []

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave without a word."""
        self.socket.close(0)
        self._context.term()

    def say(self, *said: Message) -> None:
        """Send messages, well-formed."""
        for message in said:
            self.socket.send(encode(message))

    def say_raw(self, *frames: bytes) -> None:
        """Send one message of these frames, whatever they are."""
        self.socket.send_multipart(frames)

    def hear(self, kind: type[M]) -> M:
        """Return the next message of a kind; others are kept in `heard`.

        Raises:
            AssertionError: None came.

        """
        while self.socket.poll(HEAR_MS):
            message = decode(self.socket.recv())
            if isinstance(message, kind):
                return message
            self.heard.append(message)
        raise AssertionError(f"no {kind.__name__} came, but {self.heard}")

    def hear_what_is_there(self) -> list[Message]:
        """Return all that has come until now."""
        with suppress(zmq.Again):
            while True:
                self.heard.append(decode(self.socket.recv(zmq.NOBLOCK)))
        return self.heard

    def register(self, *, slots: int = 1, credit: int = 0, incarnation: bytes = b"") -> bytes:
        """Say Hello as a worker; return the session."""
        self.incarnation = incarnation or self.incarnation
        self.say(self.hello(slots=slots, credit=credit))
        self.session = self.hear(messages.Welcome).session
        return self.session

    def hello(self, *, slots: int = 1, credit: int = 0) -> messages.WorkerHello:
        """Return the Hello of a worker that can take no work (unless it says so)."""
        return messages.WorkerHello(
            worker=self.incarnation,
            replaces=b"",
            version="insider",
            host="localhost",
            pid=os.getpid(),
            slots=slots,
            credit=credit,
            cores=slots,
            memory=1 << 30,
            seconds=0.0,
            confirms=True,
            inventory=(),
        )
