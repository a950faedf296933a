"""`hs-broker` as a program: how it starts, where its keys are, how it ends."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from tests.faults.insiders import Insider
from tests.faults.processes import until
from tests.ports import free_port

from hs_common import addresses, messages
from hs_common.addresses import reserve_port
from hs_common.security import ROLES, Connection, make_cluster, read_connection
from hs_common.setting import KEYS
from hs_common.sockets import Link, new_context

pytestmark = pytest.mark.system

PROGRAM = [sys.executable, "-m", "hs_broker"]
WAIT_S = 60.0

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(name="start")
def _start(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start brokers in a site of their own; none outlives its test."""
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path / "site"))
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        process = subprocess.Popen([*PROGRAM, *arguments], stdin=pipe, stdout=pipe, stderr=pipe)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ends(process: "subprocess.Popen[bytes]", status: int) -> str:
    """Wait for its end; return what it wrote to stderr."""
    output, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == status, errors
    assert output == b""
    return errors.decode()


def is_welcome(connection: Connection) -> messages.Welcome:
    """Say Hello as hs-cluster does; return the answer."""
    context = new_context()
    link = Link(context, connection)
    poller = zmq.Poller()
    for each in link.sockets:
        poller.register(each, zmq.POLLIN)
    try:
        while poller.poll(int(WAIT_S * 1000)):
            if "connected" in link.events():
                link.send(messages.ControlHello(client=b"c" * 16, version="1", host="here", pid=1))
            for message in link.receive():
                assert isinstance(message, messages.Welcome)
                return message
    finally:
        link.close()
        context.destroy(0)
    pytest.fail("no broker")


@pytest.mark.parametrize("end", ["lifeline", "SIGTERM", "SIGINT"])
def test_a_local_broker_lives_as_long_as_its_lifeline(start: Start, tmp_path: Any, end: str) -> None:
    """Its keys come on stdin and are in no file; it ends with status 0, says nothing, and is called by its name."""
    # Given a broker that serves
    server, connections = make_cluster((f"ipc://{tmp_path}/b",), "here")
    broker = start("--connection", "-")
    assert broker.stdin is not None
    broker.stdin.write(json.dumps({"server": server.to_json()}).encode() + b"\n")
    broker.stdin.flush()
    is_welcome(connections["control"])
    with open(f"/proc/{broker.pid}/comm") as file:
        assert file.read() == "hs-broker\n"

    # When its lifeline ends, or it is told to stop
    if end == "lifeline":
        broker.stdin.close()
        broker.stdin = None
    else:
        broker.send_signal(getattr(signal, end))

    # Then it ends
    assert ends(broker, 0) == ""
    assert not os.path.exists(tmp_path / "site")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "descriptor 0 ended before its first line did"),  # hs-cluster died before it wrote
        (b"no json\n", "stdin: its first line is no JSON object with a server"),
        (b"[1]\n", "stdin: its first line is no JSON object with a server"),
        (b'{"server": {}}\n', "server: not an object with exactly cluster, endpoints, keys, roles"),
    ],
)
def test_without_a_server_it_does_not_start(start: Start, document: bytes, reason: str) -> None:
    """One line, status 2."""
    broker = start("--connection", "-")
    assert broker.stdin is not None
    broker.stdin.write(document)
    broker.stdin.close()
    broker.stdin = None

    assert ends(broker, 2) == f"hs-broker: {reason}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "70000"],  # no such port
        ["-H", ""],  # not everywhere
        ["--connection", "somewhere"],  # its files are its own
        ["--connection", "-", "--name", "x"],  # two ways at once
        ["--name", "../x"],  # leads out of the site
        ["--unknown"],
        ["extra"],
    ],
)
def test_misuse_is_one_line_and_status_2(start: Start, arguments: list[str]) -> None:
    """What, which value; nothing is started."""
    errors = ends(start(*arguments), 2)

    assert errors.startswith("hs-broker: ")
    assert errors.count("\n") == 1


def test_keygen_makes_private_files_and_serves_nothing(start: Start, tmp_path: Any) -> None:
    """Keys outlive the broker, so they can be made before it."""
    assert ends(start("--keygen", "--name", "lab", "--port", "50111", "--bind", "127.0.0.1"), 0) == ""

    paths = [tmp_path / "site" / "connect" / "lab" / f"{role}.json" for role in ROLES]
    paths.append(tmp_path / "site" / "keys" / "lab.json")
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    connection = read_connection(str(paths[0]))
    assert (connection.role, connection.endpoints) == ("worker", ("tcp://127.0.0.1:50111",))


def test_a_standing_broker_is_the_same_cluster_after_a_restart(start: Start, tmp_path: Any) -> None:
    """The connection file of before still opens the door."""
    port = str(free_port())
    path = str(tmp_path / "site" / "connect" / "main" / "control.json")
    ends(start("--keygen", "--bind", "127.0.0.1", "--port", port), 0)
    connection = read_connection(path)

    seen = set()
    for _ in range(2):
        broker = start("--bind", "127.0.0.1", "--port", port)
        seen.add(is_welcome(connection).broker)
        broker.terminate()
        ends(broker, 0)

    assert len(seen) == 2
    assert read_connection(path) == connection


def test_a_role_without_its_file_gets_a_new_key(start: Start, tmp_path: Any) -> None:
    """Removing a connection file revokes its key; the others stay."""
    folder = tmp_path / "site" / "connect" / "main"
    ends(start("--keygen"), 0)
    before = {role: read_connection(str(folder / f"{role}.json")).keys for role in ROLES}
    (folder / "worker.json").unlink()

    ends(start("--keygen"), 0)

    after = {role: read_connection(str(folder / f"{role}.json")).keys for role in ROLES}
    assert [role for role in ROLES if after[role] != before[role]] == ["worker"]


@pytest.fixture(name="served")
def _served(start: Start, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> "subprocess.Popen[bytes]":
    """Return a standing broker on a port that nobody but it knows, its log in a file."""
    monkeypatch.setenv("HYPERSHELL_LOGGING_FILE", str(tmp_path / "log"))
    broker = start("--bind", "127.0.0.1", "--port", str(free_port()))
    assert until((tmp_path / "site" / "connect" / "main" / f"{ROLES[-1]}.json").exists, WAIT_S)  # the last
    return broker


def test_a_revoked_key_is_of_no_use_within_a_second(
    served: "subprocess.Popen[bytes]", start: Start, tmp_path: Any
) -> None:
    """Remove the file, --keygen, SIGUSR2: the old key is neither heard nor let in, the new one is, the others stay (H20)."""
    # Given a peer in session with the key of a role
    path, log = tmp_path / "site" / "connect" / "main" / "submit.json", tmp_path / "log"
    old = read_connection(str(path))
    context = new_context()
    peer = Insider(old, old.endpoints[0])
    hello = messages.ControlHello(client=b"c" * 16, version="1", host="here", pid=1)
    peer.say(hello)
    peer.hear(messages.Welcome)

    # When the key is replaced, and the log moved away
    path.unlink()
    ends(start("--keygen"), 0)
    log.rename(tmp_path / "old log")
    served.send_signal(signal.SIGUSR2)
    assert until(lambda: log.exists() and "key.revoked" in log.read_text())
    peer.say(hello)

    # Then only the new key is let in, at the port that the broker has
    new = read_connection(str(path))
    is_welcome(new)
    assert (new.endpoints, new.keys == old.keys) == (old.endpoints, False)
    assert peer.hear_what_is_there() == []
    is_welcome(read_connection(str(path.with_name("control.json"))))
    link = Link(context, old)
    assert link.sockets[1].poll(int(WAIT_S * 1000))
    assert link.events()[0] == "denied"
    link.close()
    context.destroy(0)
    peer.__exit__()


@pytest.mark.parametrize("fault", ["another cluster", "not JSON", "gone"])
def test_keys_that_cannot_be_taken_leave_the_ones_before(
    served: "subprocess.Popen[bytes]", start: Start, tmp_path: Any, fault: str
) -> None:
    """A slip of the operator is told, and ends nobody."""
    keys = tmp_path / "site" / "keys" / "main.json"
    connection = read_connection(str(tmp_path / "site" / "connect" / "main" / "control.json"))
    is_welcome(connection)
    other = make_cluster(("tcp://127.0.0.1:1",), "here")[0]
    keys.write_text({"another cluster": json.dumps(other.to_json())}.get(fault, "{"))
    if fault == "gone":
        keys.unlink()

    served.send_signal(signal.SIGUSR2)

    assert until(lambda: "keys.refused" in (tmp_path / "log").read_text(), WAIT_S)
    is_welcome(connection)
    assert keys.exists() == (fault != "gone")


def test_an_address_that_is_none_of_this_host_is_told_with_its_reason(start: Start) -> None:
    """Another port would not help. 192.0.2.1 is for documentation. Source: RFC 5737."""
    errors = ends(start("--bind", "192.0.2.1"), 3)

    assert re.fullmatch(
        r"hs-broker: cannot listen on tcp://192\.0\.2\.1:\d+: Cannot assign requested address.*\n", errors
    )


def test_a_port_that_was_asked_for_and_is_taken_is_status_3(start: Start) -> None:
    """It could not go on, and says why."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        errors = ends(start("--bind", "127.0.0.1", "--port", str(port)), 3)

    assert errors == f"hs-broker: cannot listen on tcp://127.0.0.1:{port}: taken\n"


def test_a_port_that_another_cluster_has_chosen_is_left_to_it(start: Start, tmp_path: Any) -> None:
    """Its broker may still have to start, or to come back: nobody listens there at this moment."""
    first = KEYS["broker.port"].default
    assert isinstance(first, int)
    ours = {port for port in range(first, first + 10) if reserve_port(port)}
    start("--bind", "127.0.0.1")
    path = tmp_path / "site" / "connect" / "main" / f"{ROLES[-1]}.json"  # the last that is written
    assert until(path.exists)
    (endpoint,) = read_connection(str(path)).endpoints
    while addresses._LOCKS:
        addresses._LOCKS.pop().close()

    assert ours
    assert first <= int(endpoint.rpartition(":")[2]) <= first + addresses.PORTS_MAX
    assert int(endpoint.rpartition(":")[2]) not in ours


def test_keys_that_others_can_read_are_refused(start: Start, tmp_path: Any) -> None:
    """As ssh does: by then they may have been read."""
    ends(start("--keygen"), 0)
    (tmp_path / "site" / "keys" / "main.json").chmod(0o644)

    errors = ends(start("--keygen"), 2)

    assert "mode 0644 lets others in" in errors
