"""A command's client against a real broker, and a scheduler that answers as it is told."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from tests.faults.processes import until

from hs_common import messages
from hs_common.client import Client, DeadlineError, NobodyError
from hs_common.clock import monotonic
from hs_common.errors import RefusedError, StoppedError
from hs_common.message_requests import DONE, MISUSED, STOPPED
from hs_common.messages import Reply, Request
from hs_common.security import make_cluster
from hs_common.sockets import Link, new_context

pytestmark = pytest.mark.system

Answer = Callable[[Request], list[tuple[int, bool, bytes]]]
"""What a scheduler says to a request: (status, more, body) each."""


class Stage:
    """A broker as a program, its keys, and at most one scheduler in a thread."""

    def __init__(self, folder: Path) -> None:
        self.server, self.connections = make_cluster((f"ipc://{folder}/b",), "here")
        self.asked: list[Request] = []
        self.heard = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._clients: list[Client] = []
        self.broker = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        broker = subprocess.Popen([sys.executable, "-m", "hs_broker", "--connection", "-"], stdin=subprocess.PIPE)
        assert broker.stdin is not None
        broker.stdin.write(json.dumps({"server": self.server.to_json()}).encode() + b"\n")
        broker.stdin.flush()
        return broker

    def kill(self) -> None:
        self.broker.kill()
        self.broker.communicate()

    def serve(self, answer: Answer) -> None:
        self._thread = threading.Thread(target=self._schedule, args=(answer,))
        self._thread.start()

    def client(self, role: str = "control", patience_s: float = 60.0) -> Client:
        client = Client(self.connections[role], patience_s=patience_s)
        self._clients.append(client)
        return client

    def close(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for client in self._clients:
            client.close()
        self.kill()

    def _schedule(self, answer: Answer) -> None:
        context = new_context()
        link = Link(context, self.connections["scheduler"])
        poller = zmq.Poller()
        for socket in link.sockets:
            poller.register(socket, zmq.POLLIN)
        hello = messages.SchedulerHello(
            scheduler=b"s" * 16, version="1", host="here", pid=1, epoch=1, store=b"o" * 16, database=""
        )
        session = b""
        while not self._over.is_set():
            poller.poll(50)
            if "connected" in link.events():
                link.send(hello)
            for message in link.receive():
                if isinstance(message, messages.Welcome):
                    session = message.session
                if isinstance(message, Request):
                    self.asked.append(message)
                    for status, more, body in answer(message):
                        link.send(
                            Reply(
                                session=session, client=message.client, request=message.request,
                                status=status, more=more, body=body,
                            )
                        )  # fmt: skip
                    self.heard.set()
        link.close()
        context.destroy(0)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    one = Stage(tmp_path)
    yield one
    one.close()


def test_an_answer_comes_back_with_its_parts(stage: Stage) -> None:
    """One after the other on the same session."""
    stage.serve(lambda asked: [(DONE, True, b"part"), (DONE, False, asked.verb.encode() + asked.body)])
    client, parts = stage.client(), list[bytes]()
    assert client.ask("wait", b"1", hear=parts.append) == b"wait1"
    assert client.ask("status", b"2") == b"status2"
    assert parts == [b"part"]


@pytest.mark.parametrize(("status", "error"), [(MISUSED, RefusedError), (STOPPED, StoppedError)])
def test_a_refusal_is_raised_with_its_reason(stage: Stage, status: int, error: type[Exception]) -> None:
    stage.serve(lambda _: [(status, False, b"not so")])
    with pytest.raises(error, match="not so"):
        stage.client().ask("update")


def test_without_a_scheduler_it_gives_up_when_its_patience_ends(stage: Stage, tmp_path: Path) -> None:
    """And says what the broker says."""
    assert until((tmp_path / "b").exists)
    with pytest.raises(NobodyError, match="within 4 s: no scheduler is connected"):
        stage.client(patience_s=4).ask("status")


def test_without_a_broker_likewise(stage: Stage) -> None:
    stage.kill()
    with pytest.raises(NobodyError, match=r"within 0\.5 s: it does not answer"):
        stage.client(patience_s=0.5).ask("status")


def test_a_scheduler_that_is_silent_has_the_callers_time(stage: Stage) -> None:
    """Whoever is heard and does not answer is not nobody: a store may be locked for a minute."""
    stage.serve(lambda asked: [(DONE, False, b"")] if asked.verb == "status" else [])
    client = stage.client(patience_s=60)
    client.ask("status")  # so it is heard from now on
    with pytest.raises(DeadlineError):
        client.ask("wait", until=monotonic() + 1.5)
    assert until(lambda: [asked.verb for asked in stage.asked] == ["status", "wait"])


def test_a_request_is_said_again_after_a_restart_of_the_broker(stage: Stage) -> None:
    """With all that it had: by its key the scheduler knows it."""
    first_of_all = threading.Event()

    def answer(_: Request) -> list[tuple[int, bool, bytes]]:
        silent = not first_of_all.is_set()
        first_of_all.set()
        return [] if silent else [(DONE, False, b"done")]

    stage.serve(answer)
    answers: list[bytes] = []
    client = stage.client()
    asking = threading.Thread(target=lambda: answers.append(client.ask("submit", b"key")))
    asking.start()
    assert stage.heard.wait(60)

    stage.kill()
    stage.broker = stage.start()
    asking.join(60)

    assert answers == [b"done"]
    assert {(asked.verb, asked.body) for asked in stage.asked} == {("submit", b"key")}
    assert len(stage.asked) == 2


def test_it_can_be_closed_again(stage: Stage) -> None:
    """A command whose scheduler left, and that the next owner refuses, closes all that it has: the refusal is what counts."""
    stage.serve(lambda _: [(DONE, False, b"")])
    client = stage.client()
    client.ask("status")

    client.close()
    client.close()


def test_a_key_that_may_not_ask_is_told_so(stage: Stage) -> None:
    """A submit key may not look around; a worker's is no client's at all."""
    stage.serve(lambda _: [(DONE, False, b"")])
    with pytest.raises(RefusedError, match="a submit key may not ask for status"):
        stage.client("submit").ask("status")
    with pytest.raises(StoppedError, match="the broker refuses us: a worker key may not say ControlHello"):
        stage.client("worker").ask("submit")
