"""The sockets of the project, real ones in one thread: nothing sleeps, each wait ends at an event or fails after a minute."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from socket import create_server

import pytest
import zmq

from hs_broker.authenticator import Authenticator
from hs_broker.router import Router, receive_all, router, send_to
from hs_common.clock import monotonic
from hs_common.errors import StoppedError
from hs_common.messages import Bye, Heartbeat, Refused
from hs_common.private_files import write_private
from hs_common.security import Connection, Server, make_cluster, make_key_pair
from hs_common.sockets import Link, new_context
from hs_common.wire import OTHER_VERSION, VERSION, decode, encode

TOKEN = bytes(16)
BYE = Bye(session=TOKEN, reason="over")


class Broker:
    """A ROUTER with its ZAP handler, stepped by hand, in a context of its own as a daemon has it."""

    def __init__(self, server: Server) -> None:
        self.context = new_context()
        self.authenticator = Authenticator(self.context, server)
        self.router: Router = router(self.context, server)
        self.answers = True

    def close(self) -> None:
        """Close all, and wait until the endpoint is free again."""
        self.context.destroy(linger=0)


class World:
    """One cluster: its broker, its connections, and every socket that a test opens."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.context = new_context()
        self.server, connections = make_cluster((endpoint.format(folder=folder),), "here")
        self.broker = Broker(self.server)
        self.connections = {
            role: replace(connection, endpoints=self.broker.router.bound) for role, connection in connections.items()
        }
        self.links: list[Link] = []
        self.others: list[zmq.Socket[bytes]] = []

    def link(self, connection: Connection | None = None, path: str = "") -> Link:
        self.links.append(Link(self.context, connection or self.connections["worker"], path))
        return self.links[-1]

    def socket(self) -> "zmq.Socket[bytes]":
        """Return a DEALER with no security of its own, connected to the broker."""
        dealer: zmq.Socket[bytes] = self.context.socket(zmq.DEALER)
        self.others.append(dealer)
        return dealer

    def until(self, condition: Callable[[], object], *, wait_s: float = 60.0) -> bool:
        """Step broker and poll all sockets until the condition holds; whether it came to hold."""
        poller = zmq.Poller()
        poller.register(self.broker.router, zmq.POLLIN)
        if self.broker.answers:
            poller.register(self.broker.authenticator.socket, zmq.POLLIN)
        for socket in [socket for link in self.links for socket in link.sockets] + self.others:
            poller.register(socket, zmq.POLLIN)
        deadline = monotonic() + wait_s
        while not (holds := bool(condition())) and monotonic() < deadline:
            poller.poll(20)  # ms; not everything that a condition looks at wakes a socket
            if self.broker.answers:
                self.broker.authenticator.step()
        return holds

    def heard(self, link: Link, event: str) -> Callable[[], bool]:
        seen: list[str] = []

        def condition() -> bool:
            seen.extend(link.events())
            return event in seen

        return condition

    def received(self, count: int = 1) -> list[tuple[bytes, str, bytes]]:
        got: list[tuple[bytes, str, bytes]] = []

        def condition() -> bool:
            got.extend(receive_all(self.broker.router))
            return len(got) >= count

        assert self.until(condition)
        return got

    def close(self) -> None:
        for link in self.links:
            link.close()
        for socket in self.others:
            socket.close(0)
        self.broker.close()
        self.context.destroy(linger=0)  # also what a failed test left open


@pytest.fixture(name="world", params=["tcp://127.0.0.1:0", "ipc://{folder}/broker"], ids=["tcp", "ipc"])
def _world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, request.param)
    yield world
    world.close()


@pytest.fixture(name="tcp")
def _tcp(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, "tcp://127.0.0.1:0")
    yield world
    world.close()


@pytest.mark.parametrize("role", ["worker", "submit", "scheduler", "control"])
def test_a_message_goes_there_with_its_role_and_the_answer_comes_back(world: World, role: str) -> None:
    """The broker knows a peer, and so its role, by its key, never by what the peer says."""
    # Given a peer that is connected
    link = world.link(world.connections[role])
    assert world.until(world.heard(link, "connected"))

    # When it says something, and the broker answers
    assert link.send(BYE)
    [(peer, key, frame)] = world.received()
    assert send_to(world.broker.router, peer, encode(Heartbeat(session=TOKEN)))

    # Then both have what the other said
    assert (role, BYE) == (world.broker.authenticator.role(key), decode(frame))
    assert link.sockets[0].poll(60_000)
    assert link.receive() == [Heartbeat(session=TOKEN)]


def test_a_stranger_is_denied_and_counted(world: World) -> None:
    """A key that no role has opens nothing."""
    stranger = world.link(replace(world.connections["worker"], keys=make_key_pair()))
    assert world.until(world.heard(stranger, "denied"))
    assert not stranger.send(BYE)
    assert world.broker.authenticator.refused == 1
    assert not list(receive_all(world.broker.router))


def test_a_peer_that_expects_another_broker_is_denied(world: World) -> None:
    """A broker that squats an endpoint gets nothing: it cannot prove the key that the peer expects."""
    victim = world.link(replace(world.connections["worker"], server_public=make_key_pair().public))
    assert world.until(world.heard(victim, "denied"))
    assert not victim.send(BYE)
    assert not list(receive_all(world.broker.router))


def test_a_zap_handler_that_does_not_answer_keeps_everybody_out(world: World) -> None:
    """Fail closed: no answer is no welcome."""
    world.broker.answers = False
    link = world.link()
    assert not world.until(world.heard(link, "connected"), wait_s=0.3)
    assert not link.send(BYE)


def test_without_any_zap_handler_everybody_stays_out(tcp: World) -> None:
    """ZAP_ENFORCE_DOMAIN: CURVE alone would let every stranger in."""
    # Given a second context with a ROUTER, but no handler
    context = new_context()
    server, connections = make_cluster(("tcp://127.0.0.1:0",), "here")
    lonely = router(context, server)

    # When somebody with a good key connects
    link = tcp.link(replace(connections["worker"], endpoints=lonely.bound))

    # Then there is no handshake
    assert not tcp.until(tcp.heard(link, "connected"), wait_s=0.3)
    context.destroy(linger=0)


@pytest.mark.parametrize("mechanism", ["null", "plain"])
def test_a_peer_without_curve_is_refused(world: World, mechanism: str) -> None:
    """There is no downgrade."""
    # Given a DEALER without CURVE
    dealer = world.socket()
    if mechanism == "plain":
        dealer.plain_username, dealer.plain_password = b"worker", b"secret"
    monitor: zmq.Socket[bytes] = dealer.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED)
    world.others.append(monitor)

    # When it connects and sends
    dealer.connect(world.broker.router.bound[0])
    dealer.send(encode(BYE))

    # Then it is thrown out
    assert world.until(lambda: monitor.poll(0))
    assert not list(receive_all(world.broker.router))
    dealer.disable_monitor()


@pytest.mark.parametrize("frames", [[b"a", b"b"], [b"x"] * 50], ids=["two frames", "fifty frames"])
def test_a_message_of_more_frames_is_dropped_and_counted(world: World, frames: list[bytes]) -> None:
    """Exactly one frame is a message; what follows is not disturbed."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    link.sockets[0].send_multipart(frames)
    assert link.send(BYE)
    [(_, _, frame)] = world.received()
    assert decode(frame) == BYE
    assert world.broker.router.strange == 1


def test_an_empty_frame_is_a_message_for_the_decoder_to_refuse(world: World) -> None:
    """Transport does not judge content."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    link.sockets[0].send(b"")
    assert [b""] == [frame for _, _, frame in world.received()]


def test_what_is_no_message_is_dropped_by_a_link_and_counted(world: World) -> None:
    """Bytes of the broker that are no message harm nobody."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    assert link.send(BYE)
    [(peer, _, _)] = world.received()
    for frame in (b"", encode(BYE)[:1] + os.urandom(99), encode(BYE)):
        assert send_to(world.broker.router, peer, frame)
    got: list[object] = []

    def heard() -> bool:
        got.extend(link.receive())
        return bool(got)

    assert world.until(heard)
    assert got == [BYE]
    assert link.malformed == 2


def test_a_broker_of_another_version_is_heard_as_its_refusal(world: World) -> None:
    """What it says cannot be read, that it will not have us neither."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    assert link.send(BYE)
    [(peer, _, _)] = world.received()
    assert send_to(world.broker.router, peer, bytes([VERSION + 1]) + os.urandom(99))
    got: list[object] = []

    def heard() -> bool:
        got.extend(link.receive())
        return bool(got)

    assert world.until(heard)
    assert got == [Refused(session=bytes(16), reason=OTHER_VERSION, fatal=True, bundles=())]


def test_draining_stops_at_its_limit(world: World) -> None:
    """A flood must not keep the timers waiting."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    for _ in range(20):
        assert link.send(BYE)
    got = list(receive_all(world.broker.router, limit=5))
    while len(got) < 5:  # the first may still be on its way
        assert world.broker.router.poll(60_000)
        got += receive_all(world.broker.router, limit=5 - len(got))
    assert len(got) == 5
    assert len(world.received(15)) == 15


def test_sending_to_a_peer_that_is_gone_says_so(world: World) -> None:
    """ROUTER_MANDATORY: nothing vanishes without a word."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    assert link.send(BYE)
    [(peer, _, _)] = world.received()
    link.close()
    world.links.remove(link)
    assert world.until(lambda: not send_to(world.broker.router, peer, encode(BYE)))
    assert not send_to(world.broker.router, b"\x00none", encode(BYE))


def test_sending_to_a_peer_that_does_not_read_ends(world: World) -> None:
    """A slow reader costs a bounded number of messages and never a wait."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    assert link.send(BYE)
    [(peer, _, _)] = world.received()
    frame = bytes(100)
    sent = 0
    while sent < 1_000_000 and send_to(world.broker.router, peer, frame):
        sent += 1
    assert 0 < sent < 1_000_000


def test_nothing_is_queued_for_a_broker_that_is_not_there(tcp: World) -> None:
    """Else its successor would get it before our Hello."""
    link = tcp.link()
    assert not link.send(BYE)


def test_a_link_comes_back_to_the_successor_of_its_broker(world: World) -> None:
    """A broker that was killed and started again at its endpoint is found without our doing."""
    # Given a link
    link = world.link()
    assert world.until(world.heard(link, "connected"))

    # When the broker goes, and another comes to the same endpoint
    endpoints = world.broker.router.bound
    world.broker.close()
    world.broker = Broker(replace(world.server, endpoints=endpoints))

    # Then it says so, and is connected again
    seen: list[str] = []

    def back() -> bool:
        seen.extend(link.events())
        return "connected" in seen

    assert world.until(back)
    assert seen == ["disconnected", "connected"]
    assert link.send(BYE)
    assert len(world.received()) == 1


def test_reopening_gives_a_working_link_with_new_sockets(world: World) -> None:
    """After a refusal only a new socket helps (libzmq gives the old one up for good)."""
    link = world.link()
    assert world.until(world.heard(link, "connected"))
    before = link.sockets
    link.reopen()
    assert all(socket.closed for socket in before)
    assert world.until(world.heard(link, "connected"))
    assert link.send(BYE)
    assert len(world.received()) == 1


def test_the_last_words_of_a_process_arrive(world: World) -> None:
    """Closing with a linger waits until all has left, and only so long."""
    # Given a link in a context of its own
    link = Link(new_context(), world.connections["worker"])
    world.links.append(link)
    assert world.until(world.heard(link, "connected"))
    world.links.remove(link)

    # When it says much and closes
    for _ in range(100):
        assert link.send(BYE)
    link.close(linger_ms=5000)

    # Then nothing is missing
    assert len(world.received(100)) == 100


@pytest.mark.parametrize("dead", ["tcp://127.0.0.1:1", "tcp://no-such-host.invalid:5"])
def test_a_link_tries_the_next_endpoint_when_one_does_not_answer(tcp: World, dead: str) -> None:
    """A host has many addresses; one of them is reachable."""
    connection = tcp.connections["worker"]
    link = tcp.link(replace(connection, endpoints=(dead, *connection.endpoints)))
    assert tcp.until(tcp.heard(link, "connected"))
    assert link.endpoint == connection.endpoints[0]


def test_a_link_that_has_tried_all_endpoints_waits_before_the_next_round(tcp: World) -> None:
    """Where nobody is it fails at once: going round and round would take the processor from the broker that is starting."""
    # Given two endpoints at which each connection ends as soon as it is made
    servers = [create_server(("127.0.0.1", 0)) for _ in range(2)]
    tried = [0, 0]
    for server in servers:
        server.setblocking(False)

    def both_tried() -> bool:
        link.events()
        for place, server in enumerate(servers):
            with suppress(BlockingIOError):
                server.accept()[0].close()
                tried[place] += 1
        return min(tried) > 0

    # When a link goes there for a while
    endpoints = tuple(f"tcp://127.0.0.1:{server.getsockname()[1]}" for server in servers)
    link = tcp.link(replace(tcp.connections["worker"], endpoints=endpoints))
    assert tcp.until(both_tried)
    tcp.until(lambda: both_tried() and False, wait_s=3)

    # Then it tried both, and not more than the shortest intervals allow: after 0.2, 0.4, 0.8 and 1.6 s
    for server in servers:
        server.close()
    assert sum(tried) <= 15


def test_a_link_follows_its_file_to_where_the_broker_is_now(tcp: World, tmp_path: Path) -> None:
    """A broker that is started anew may have another port, or a role another key (C12)."""
    # Given a link to a port where nobody listens any more, and with a key that nobody knows
    current = tcp.connections["worker"]
    stale = replace(current, endpoints=("tcp://127.0.0.1:1",), keys=make_key_pair())
    path = write(tmp_path / "worker.json", stale)
    link = tcp.link(stale, path)
    assert not tcp.until(tcp.heard(link, "moved"), wait_s=1)

    # When the file says something else
    write(tmp_path / "worker.json", current)

    # Then it goes there
    assert tcp.until(tcp.heard(link, "moved"))
    link.reopen()
    assert link.endpoints == current.endpoints
    assert tcp.until(tcp.heard(link, "connected"))


@pytest.mark.parametrize("fault", ["another cluster", "gone", "open to others"])
def test_a_file_that_cannot_be_followed_changes_nothing(tcp: World, tmp_path: Path, fault: str) -> None:
    """The name may be that of another cluster by now; what others can write is no advice."""
    current = tcp.connections["worker"]
    stale = replace(current, endpoints=("tcp://127.0.0.1:1",))
    path = write(tmp_path / "worker.json", current)
    match fault:
        case "another cluster":
            write(tmp_path / "worker.json", replace(current, cluster=bytes(16)))
        case "gone":
            os.unlink(path)
        case _:
            os.chmod(path, 0o666)

    link = tcp.link(stale, path)

    assert not tcp.until(tcp.heard(link, "moved"), wait_s=1)
    assert link.endpoints == stale.endpoints


def write(path: Path, connection: Connection) -> str:
    """Make or replace a connection file."""
    path.unlink(missing_ok=True)
    write_private(str(path), json.dumps(connection.to_json()).encode())
    return str(path)


def test_a_local_socket_goes_first_where_it_exists(tcp: World, tmp_path: Path) -> None:
    """On the broker's own host there is a shorter way; on another host it is left out."""
    (tmp_path / "there").touch()
    there, away = f"ipc://{tmp_path}/there", f"ipc://{tmp_path}/away"
    connection = tcp.connections["worker"]
    endpoints = (*connection.endpoints, away)
    assert tcp.link(replace(connection, endpoints=(*endpoints, there))).endpoint == there
    assert tcp.link(replace(connection, endpoints=endpoints)).endpoint == connection.endpoints[0]


def test_a_port_that_is_taken_is_said_in_one_line(tcp: World) -> None:
    """Status 3 with a reason, not a traceback."""
    context = new_context()
    server = replace(tcp.server, endpoints=tcp.broker.router.bound)
    with pytest.raises(StoppedError, match=r"cannot listen on tcp://127\.0\.0\.1:\d+: taken"):
        router(context, server)
    context.destroy(linger=0)


def test_an_address_of_another_host_is_said_in_one_line(tcp: World) -> None:
    """Not ours to bind."""
    server = replace(tcp.server, endpoints=("tcp://192.0.2.1:0",))
    with pytest.raises(StoppedError, match="cannot listen on"):
        router(tcp.broker.context, server)


def test_the_local_socket_lets_nobody_else_in(tmp_path: Path) -> None:
    """Its mode follows the umask, so ours is strict around the bind and the user's afterwards."""
    before = os.umask(0o022)
    world = World(tmp_path, "ipc://{folder}/broker")
    try:
        assert stat.S_IMODE((tmp_path / "broker").stat().st_mode) & 0o077 == 0
        assert os.umask(before) == 0o022
    finally:
        world.close()


def test_random_bytes_on_the_port_reach_nobody(tcp: World) -> None:
    """With CURVE there is no ZMTP 1.0 peer to be mistaken for."""
    stream: zmq.Socket[bytes] = tcp.context.socket(zmq.STREAM)
    tcp.others.append(stream)
    stream.connect(tcp.broker.router.bound[0])
    peer, _ = stream.recv_multipart()  # connected
    stream.send_multipart([peer, b"\xff" * 9 + b"\x7f\x03" + os.urandom(4096)])

    def thrown_out() -> bool:
        return stream.poll(0) != 0 and stream.recv_multipart() == [peer, b""]

    assert tcp.until(thrown_out)
    assert not list(receive_all(tcp.broker.router))
