"""Workers that execute nothing: one process, one real socket, handshake and session for each. They speak hs_common.messages.

    Hello ──Welcome──▶ Ready ──Assign──▶ Result (all tasks DONE, status 0) ──Committed──▶ forgotten

One epoll for all: a zmq_poll over a thousand sockets would itself be the bottleneck that we measure.
"""

import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import zmq

from hs_common import messages
from hs_common.outcomes import pack_outcomes
from hs_common.security import Connection
from hs_common.sockets import new_context
from hs_common.tasks import Outcome, OutcomeKind, unpack_bundle
from hs_common.wire import decode, encode

SOCKETS_SPARE = 64
POLL_S = 0.2
"""How long the loop waits before it asks whether it shall go on."""


@dataclass(slots=True, kw_only=True)
class Simulated:
    """One of them."""

    socket: "zmq.Socket[bytes]"
    worker: bytes
    session: bytes = b""
    greeted: bool = False
    sequence: int = 0
    uncommitted: dict[int, messages.Result] = field(default_factory=dict)
    """Results that are not acknowledged yet, by their sequence: sent again to another scheduler, or to a new session of it."""


class Swarm:
    """So many workers on one broker."""

    def __init__(self, connection: Connection, *, workers: int, slots: int, credit: int) -> None:
        self._slots = slots
        self._credit = credit
        self._context = new_context()
        self._context.set(zmq.MAX_SOCKETS, workers + SOCKETS_SPARE)
        self._epoll = select.epoll()
        self._of_fd: dict[int, Simulated] = {}
        self.registered = 0
        """Workers that were welcomed."""
        self.done = 0
        """Tasks answered."""
        self.committed = 0
        """Results acknowledged."""
        self.results = 0
        self.first_at: float | None = None
        """Of the first Assign, monotonic seconds."""
        self.last_at = 0.0
        """Of the last Committed."""
        for _ in range(workers):
            one = Simulated(socket=_dealer(self._context, connection), worker=os.urandom(16))
            self._of_fd[one.socket.fileno()] = one
            # Edge-triggered: after a wake-up the socket is drained whole, as the descriptor of a zmq socket asks.
            self._epoll.register(one.socket.fileno(), select.EPOLLIN | select.EPOLLET)

    def run(self, goes_on: Callable[[], bool], *, seconds: float) -> bool:
        """Work while the condition holds, at most so long; return whether it ended by the condition."""
        deadline = time.monotonic() + seconds
        for one in self._of_fd.values():
            self._serve(one)
        while goes_on():
            if time.monotonic() > deadline:
                return False
            for descriptor, _ in self._epoll.poll(POLL_S):
                self._serve(self._of_fd[descriptor])
        return True

    def close(self) -> None:
        """Leave without a word, as a host that loses its power does."""
        self._epoll.close()
        for one in self._of_fd.values():
            one.socket.close(0)
        self._context.term()

    def _serve(self, one: Simulated) -> None:
        if not one.greeted:
            # IMMEDIATE: it can be sent once the handshake is done, and only then.
            with suppress(zmq.Again):
                one.socket.send(encode(self._hello(one)), zmq.NOBLOCK)
                one.greeted = True
        for message in _received(one.socket):
            match message:
                case messages.Welcome(session=session):
                    self.registered += not one.session
                    one.session = session
                    one.socket.send(encode(self._ready(one)))
                    self._repeat(one)
                case messages.NewEpoch():
                    self._repeat(one)
                case messages.WhoAreYou():
                    one.socket.send(encode(self._hello(one)))
                case messages.Assign(session=session) if session == one.session:
                    self._answer(one, message)
                case messages.Committed(sequences=sequences):
                    self.committed += sum(one.uncommitted.pop(sequence, None) is not None for sequence in sequences)
                    self.last_at = time.monotonic()
                case messages.Heartbeat():
                    pass
                case messages.Refused(reason=reason):
                    raise AssertionError(f"a simulated worker was refused: {reason}")
                case _:
                    pass

    def _answer(self, one: Simulated, assign: messages.Assign) -> None:
        if self.first_at is None:
            self.first_at = time.monotonic()
        ids = tuple(header.bundle for header in assign.bundles)
        outcomes = []
        start = 0
        now = time.time()
        for header in assign.bundles:
            bundle = unpack_bundle(assign.body[start : start + header.size])
            start += header.size
            outcomes += [_outcome(task.row, task.dispatch, now) for task in bundle.tasks]
        one.sequence += 1
        result = messages.Result(
            session=one.session,
            worker=one.worker,
            sequence=one.sequence,
            oldest=min(one.uncommitted, default=one.sequence),
            tasks=len(outcomes),
            closed=ids,
            body=pack_outcomes(outcomes),
        )
        one.uncommitted[one.sequence] = result
        one.socket.send(encode(result))
        self.done += len(outcomes)
        self.results += 1

    def _repeat(self, one: Simulated) -> None:
        oldest = min(one.uncommitted, default=0)
        for result in one.uncommitted.values():
            one.socket.send(encode(replace(result, session=one.session, oldest=oldest)))

    def _hello(self, one: Simulated) -> messages.WorkerHello:
        return messages.WorkerHello(
            worker=one.worker,
            replaces=b"",
            version="simulated",
            host="localhost",
            pid=os.getpid(),
            slots=self._slots,
            credit=self._credit,
            cores=self._slots,
            memory=1 << 40,
            seconds=0.0,
            confirms=True,
            inventory=tuple(bundle for result in one.uncommitted.values() for bundle in result.closed),
        )

    def _ready(self, one: Simulated) -> messages.Ready:
        return messages.Ready(
            session=one.session,
            slots=self._slots,
            credit=self._credit,
            cores=self._slots,
            memory=1 << 40,
            seconds=0.0,
        )


def _outcome(row: int, dispatch: int, now: float) -> Outcome:
    return Outcome(row, dispatch, OutcomeKind.FINISHED, 0, "", now, 0.001, 0.0, 0.0, 0, b"", b"", b"")


def _dealer(context: "zmq.Context[Any]", connection: Connection) -> "zmq.Socket[bytes]":
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    socket.immediate = True
    socket.linger = 0
    socket.curve_serverkey = connection.server_public
    socket.curve_publickey = connection.keys.public
    socket.curve_secretkey = connection.keys.secret
    socket.connect(connection.endpoints[0])
    return socket


def _received(socket: "zmq.Socket[bytes]") -> Iterator[messages.Message]:
    while True:
        try:
            frame = socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return
        yield decode(frame)
