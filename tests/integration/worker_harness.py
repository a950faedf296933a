"""A broker for one worker, made of the real sockets and stepped by hand, and real hs-worker processes."""

import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar

import zmq

from hs_broker.authenticator import Authenticator
from hs_broker.router import receive_all, router, send_to
from hs_common import messages
from hs_common.clock import monotonic
from hs_common.messages import BundleHeader, Demand, Message
from hs_common.outcomes import unpack_outcomes
from hs_common.security import Connection, make_cluster
from hs_common.sockets import new_context
from hs_common.tasks import (
    Bundle,
    Detail,
    Outcome,
    OutcomeKind,
    Started,
    Task,
    pack_bundle,
    unpack_started,
)
from hs_common.wire import decode, encode

M = TypeVar("M", bound=Message)
WAIT_S = 60.0
"""Nothing here takes so long unless it never comes."""


def a_task(row: int, args: bytes, *, dispatch: int = 1, attempt: int = 1, detail: Detail | None = None) -> Task:
    return Task(row, row.to_bytes(16, "big"), dispatch, attempt, args, detail)


class FakeBroker:
    """Holds the other end: says Welcome to every Hello and keeps all that it hears, in order."""

    def __init__(self, folder: Path, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        server, connections = make_cluster((f"ipc://{folder}/broker",), "here")
        self.connection: Connection = connections["worker"]
        self.authenticator = Authenticator(context, server)
        self.router = router(context, server)
        self.poller = zmq.Poller()
        self.poller.register(self.router, zmq.POLLIN)
        self.poller.register(self.authenticator.socket, zmq.POLLIN)
        self.heard: list[Message] = []
        self.peer = b""
        self.session = b""
        self.worker = b""
        self.welcomes = True
        self.commits = True
        """Whether each Result is acknowledged at once."""
        self._numbers = itertools.count(1)

    def step(self, wait_s: float) -> None:
        """Take what comes within so long."""
        for socket, _ in self.poller.poll(round(wait_s * 1000)):
            if socket is self.router:
                for peer, key, frame in receive_all(self.router):
                    assert self.authenticator.role(key) == "worker"
                    self._hear(peer, decode(frame))
            else:
                self.authenticator.step()

    def wait_for(self, kind: type[M], wanted: Callable[[M], bool] = lambda _: True) -> M:
        """Return the first message of this kind that is wanted, and forget it and all before it."""
        deadline = monotonic() + WAIT_S
        while monotonic() < deadline:
            for index, message in enumerate(self.heard):
                if isinstance(message, kind) and wanted(message):
                    del self.heard[: index + 1]
                    return message
            self.step(0.1)
        raise AssertionError(f"no {kind.__name__} came, but {self.heard}")

    def outcomes(self, count: int) -> list[Outcome]:
        """Return the next so many outcomes."""
        found: list[Outcome] = []
        while len(found) < count:
            found += unpack_outcomes(self.wait_for(messages.Result).body)
        return found

    def running(self) -> list[Started]:
        """Return what the next Running says."""
        return unpack_started(self.wait_for(messages.Running).body)

    def assign(self, *tasks: Task, cwd: bytes = b"", session: bytes | None = None) -> None:
        """Lease each task as a bundle of its own whose number is its row."""
        bodies = [pack_bundle(Bundle(cwd, [task])) for task in tasks]
        headers = tuple(
            BundleHeader(task.row, 1, len(body), Demand(0, 0, 0.0)) for task, body in zip(tasks, bodies, strict=True)
        )
        self.say(messages.Assign(session=session or self.session, bundles=headers, body=b"".join(bodies)))

    def say(self, message: Message) -> None:
        assert send_to(self.router, self.peer, encode(message))

    def commit(self, *sequences: int) -> None:
        self.say(messages.Committed(session=self.session, worker=self.worker, sequences=sequences))

    def close(self) -> None:
        self.router.close(0)
        self.authenticator.socket.close(0)

    def _hear(self, peer: bytes, message: Message) -> None:
        self.heard.append(message)
        if isinstance(message, messages.WorkerHello):
            self.peer, self.worker = peer, message.worker
            self.session = next(self._numbers).to_bytes(16, "big")
            if self.welcomes:
                self.say(messages.Welcome(session=self.session, broker=b"b" * 16, epoch=1))
        elif isinstance(message, messages.Result) and self.commits:
            self.commit(message.sequence)
        elif isinstance(message, messages.Heartbeat):
            self.say(messages.Heartbeat(session=self.session))


class WorkerProcess:
    """An hs-worker as hs-cluster starts it."""

    def __init__(self, connection: Connection, *options: str, before: Sequence[str] = (), **environment: str) -> None:
        """Start it. `before`: a program that starts it."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("HYPERSHELL_")}
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "hs_worker", "--connection", "-", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=env | environment,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"connection": connection.to_json()}).encode() + b"\n")

    @property
    def worker(self) -> int:
        """The pid of the worker behind the guardian."""
        return children(self.process.pid)[0]

    def hang_up(self) -> None:
        """Close its stdin: hs-cluster is gone."""
        if self.process.stdin is not None:
            self.process.stdin.close()
            self.process.stdin = None

    def line(self) -> bytes:
        """Return the next line of the tasks' stdout."""
        return _line(self.process.stdout)

    def log_line(self) -> bytes:
        """Return the next line of its log."""
        return _line(self.process.stderr)

    def written(self, stream: "IO[bytes] | None") -> bytes:
        """Return what stands in a pipe at this moment."""
        assert stream is not None
        found = b""
        while select.select([stream], [], [], 0)[0]:
            part = os.read(stream.fileno(), 65536)
            found += part
            if not part:
                break
        return found

    def wait(self) -> int:
        return self.process.wait(WAIT_S)

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.hang_up()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def _line(stream: "IO[bytes] | None") -> bytes:
    assert stream is not None
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([stream], [], [], WAIT_S)[0], f"nothing was written after {line!r}"
        line += stream.read(1) or b"\n"
    return line


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def gone(pid: int) -> bool:
    """Wait until a process has ended. It may be a zombie of somebody else's by then."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], WAIT_S)[0])
    finally:
        os.close(fd)


class House:
    """A fake broker and the workers of one test."""

    def __init__(self, folder: Path, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.folder = folder
        self.broker = FakeBroker(folder, context)
        self.workers: list[WorkerProcess] = []

    def start(self, *options: str, before: Sequence[str] = (), **environment: str) -> WorkerProcess:
        worker = WorkerProcess(self.broker.connection, *options, before=before, **environment)
        self.workers.append(worker)
        return worker

    def welcome(self, *options: str, before: Sequence[str] = (), **environment: str) -> WorkerProcess:
        """Start a worker and wait for its Hello."""
        worker = self.start(*options, before=before, **environment)
        self.broker.wait_for(messages.WorkerHello)
        return worker

    def run(self, *commands: bytes, cwd: bytes = b"") -> list[Outcome]:
        """Run these as tasks 1, 2, ...; return their outcomes in that order."""
        self.broker.assign(*(a_task(row, command) for row, command in enumerate(commands, 1)), cwd=cwd)
        return sorted(self.broker.outcomes(len(commands)), key=lambda outcome: outcome.row)


@contextlib.contextmanager
def a_house(folder: Path) -> Iterator[House]:
    context = new_context()
    house = House(folder, context)
    try:
        yield house
    finally:
        for worker in house.workers:
            worker.end()
        house.broker.close()
        context.term()


__all__ = ["FakeBroker", "House", "OutcomeKind", "WorkerProcess", "a_house", "a_task", "children", "gone", "signal"]
