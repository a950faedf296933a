"""Who is connected, under which session, and what is said to whom. Collects the effects of a step.

    no session ──Hello──▶ session ──lost, Bye, out of reach, Hello on another connection──▶ no session

A message that belongs to no session is answered with WhoAreYou (once, until the Hello comes). One with another token than that of
the connection's session was sent before its sender saw our Welcome: it is dropped, and nothing is said about it.
"""

from collections.abc import Callable, Iterator
from math import inf

from hs_broker.bucket import Bucket
from hs_broker.events import Effect, Heard, KeyRevoked, Malformed, PeerBanned, PeerRefused, Send
from hs_broker.peers import ALLOWED, ASK_PERIOD_S, COMPLAINT_PERIOD_S, OFFENCES_MAX, PEERS_MAX, Peer
from hs_broker.requests import Requests
from hs_broker.workers import HELLOS_AT_ONCE_MAX, HELLOS_PER_S_MAX, Worker, Workers
from hs_common import limits, messages
from hs_common.message_requests import AGAIN
from hs_common.messages import Message
from hs_common.wire import HELLOS, OTHER_VERSION

CONTROLS_MAX = 1_000
"""Sessions of `control` and `submit` keys. One more is Refused."""

NO_SESSION = bytes(16)
"""Stands in a Refused to a peer that has no session."""

VERB_CHARS_MAX = limits.NAME_BYTES_MAX // 4
"""Of a verb that is said back in a reason: a character may take four bytes."""


class Sessions:
    """Connections and their sessions.

    Args:
        broker: Incarnation of this broker, 16 bytes.
        make_token: Gives a fresh session token, 16 random bytes.
        workers: From whose rings a worker goes when it has no session any more.

    """

    def __init__(self, *, broker: bytes, make_token: Callable[[], bytes], workers: Workers) -> None:
        self.now = 0.0
        self.effects: list[Effect] = []
        """Of the present step."""
        self.scheduler: Peer | None = None
        self.scheduler_hellos = Bucket(HELLOS_AT_ONCE_MAX, HELLOS_PER_S_MAX)
        self.epoch = 0
        """Of the present scheduler; 0 before the first and after a Bye."""
        self._broker = broker
        self._make_token = make_token
        self._workers = workers
        self._peers: dict[bytes, Peer] = {}
        self._controls = 0
        self._clients: dict[bytes, Peer] = {}
        """Control sessions by the name in their Hello."""
        self.requests = Requests()

    def __len__(self) -> int:
        """Return how many connections are remembered."""
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        """Yield every connection; they may be forgotten meanwhile."""
        return iter(list(self._peers.values()))

    def begin(self, now: float) -> list[Effect]:
        """Start a step; return the list that its effects will be in."""
        self.now = now
        self.effects = []
        return self.effects

    def get(self, routing_id: bytes) -> Peer | None:
        """Return the connection."""
        return self._peers.get(routing_id)

    def meet(self, routing_id: bytes, role: str) -> Peer | None:
        """Return the connection, a new one if need be; None when there are too many."""
        peer = self._peers.get(routing_id)
        if peer is not None and peer.role != role:
            # A peer may choose its routing id: this one has that of somebody who left, and none of its rights.
            self.forget(peer)
            peer = None
        if peer is None and len(self._peers) < PEERS_MAX:
            peer = self._peers[routing_id] = Peer(routing_id, role, heard_at=self.now, said_at=self.now)
        return peer

    def accept(self, peer: Peer, event: Heard | Malformed) -> Message | None:
        """Return the message if it may be acted on: a Hello, or one in the session of the connection."""
        if not peer.token:
            peer.heard_at = self.now
        if peer.banned:
            return None
        if not peer.admits(self.now):
            self.close(peer)  # its next Hello settles what is lost here
            self._complain(peer, "too many messages")
            return None
        if isinstance(event, Malformed):
            if event.other_version:
                self.refuse(peer, OTHER_VERSION, fatal=True)
            self.offend(peer, event.reason)
            return None
        message = event.message
        kind = type(message)
        if kind not in ALLOWED.get(peer.role, ()):
            reason = f"a {peer.role} key may not say {kind.__name__}"
            self.refuse(peer, reason, fatal=True)
            self.offend(peer, reason)
        elif kind in HELLOS:
            if peer.hellos.take(self.now):
                return message
            self.offend(peer, "too many Hellos")
        elif peer.superseded:
            self.refuse(peer, f"stale epoch: the store is at {self.epoch}", fatal=True)
        elif not peer.token:
            self._ask(peer)
        elif message.session == peer.token:  # type: ignore[union-attr]
            peer.heard_at = self.now
            if peer.worker is not None:
                peer.worker.heard_at = self.now
                peer.worker.spoken = True
            return message
        return None

    def open(self, peer: Peer, worker: Worker | None = None, client: bytes = b"") -> None:
        """Begin a new session and say Welcome. The one that the connection had, or the worker or client elsewhere, is void."""
        if worker is not None and worker.routing_id not in (b"", peer.routing_id):
            self.forget(self._peers[worker.routing_id])
        if client in self._clients and self._clients[client] is not peer:
            self.forget(self._clients[client])
        self.close(peer)
        peer.token = self._make_token()
        peer.heard_at = self.now
        peer.asked_at = float("-inf")
        peer.superseded = False
        if worker is not None:
            peer.worker = worker
            worker.routing_id = peer.routing_id
            worker.token = peer.token
            worker.parted_at = inf
            worker.heard_at = self.now
        elif peer.role == "scheduler":
            self.scheduler = peer
            peer.credit_told = -1
            self._workers.touched = True
        else:
            self._controls += 1
            peer.client = client
            self._clients[client] = peer
        self.send(peer, messages.Welcome(session=peer.token, broker=self._broker, epoch=self.epoch))

    def close(self, peer: Peer) -> None:
        """Void the session. A worker keeps its bundles, and the clock of its lease runs on."""
        if peer.worker is not None:
            self._workers.withdraw(peer.worker)
            peer.worker.token = peer.worker.routing_id = b""
            peer.worker.parted_at = self.now
            peer.worker = None
        elif peer is self.scheduler:
            self.scheduler = None
            for client, request in self.requests.take_all():
                self.reply(client, request, AGAIN, "the scheduler left before it answered")
        elif peer.token:
            self._controls -= 1
            del self._clients[peer.client]
            if self.requests.drop(peer.client) and self.scheduler is not None:
                self.send(self.scheduler, messages.ClientGone(session=self.scheduler.token, client=peer.client))
        peer.token = b""

    def forget(self, peer: Peer) -> None:
        """Void the session and forget the connection."""
        self.close(peer)
        del self._peers[peer.routing_id]

    def revoke(self, role: str) -> None:
        """Forget every connection of a role: its key is of no use any more. Leases of workers run on."""
        peers = [peer for peer in self if peer.role == role]
        for peer in peers:
            self.forget(peer)
        self.effects.append(KeyRevoked(role, len(peers)))

    def has_room_for_control(self) -> bool:
        """Return whether one more control session may be opened."""
        return self._controls < CONTROLS_MAX

    # --- Saying. ---

    def send(self, peer: Peer, message: Message) -> None:
        """Say something to a connection."""
        peer.said_at = self.now
        self.effects.append(Send(peer.routing_id, message))

    def to_worker(self, worker: Worker, message: Message) -> None:
        """Say something to a worker that has a session; else it is dropped (its Hello settles what it missed)."""
        if worker.token:
            self.send(self._peers[worker.routing_id], message)

    def client(self, client: bytes) -> Peer | None:
        """Return the control session of this name."""
        return self._clients.get(client)

    def reply(self, client: bytes, request: int, status: int, reason: str) -> None:
        """Answer a request ourselves."""
        if (peer := self._clients.get(client)) is not None:
            body = reason.encode()
            message = messages.Reply(
                session=peer.token, client=client, request=request, status=status, more=False, body=body
            )
            self.send(peer, message)

    def refuse(self, peer: Peer, reason: str, *, fatal: bool, bundles: tuple[int, ...] = ()) -> None:
        """Say no. The operator hears of it too, but for bundles: those are the scheduler's to tell."""
        session = peer.token or NO_SESSION
        # The name of a host, or of a database, may be as long as the reason itself.
        reason = reason.encode()[: limits.NAME_BYTES_MAX].decode(errors="ignore")
        self.send(peer, messages.Refused(session=session, reason=reason, fatal=fatal, bundles=bundles))
        if not bundles:
            self._complain(peer, reason)

    def beat(self, ask_s: float) -> None:
        """Say Heartbeat to those to whom nothing was said for long, and to those not heard for `ask_s`: they answer."""
        for peer in self._peers.values():
            if peer.token and (self.now - peer.said_at >= limits.HEARTBEAT_S or self.now - peer.heard_at >= ask_s):
                self.send(peer, messages.Heartbeat(session=peer.token))

    def offend(self, peer: Peer, reason: str) -> None:
        """Count something that only a faulty or hostile peer does."""
        peer.offences += 1
        if peer.offences <= OFFENCES_MAX:
            self._complain(peer, reason)
            return
        self.close(peer)
        peer.banned = True
        self.effects.append(PeerBanned(peer.role, reason))

    def check(self) -> None:
        """Assert that each session belongs to one connection."""
        tokens = [peer.token for peer in self._peers.values() if peer.token]
        assert len(set(tokens)) == len(tokens)
        controls = 0
        for routing_id, peer in self._peers.items():
            assert peer.routing_id == routing_id
            assert not (peer.token and peer.banned)
            if peer.role == "scheduler":
                assert bool(peer.token) == (peer is self.scheduler)
            elif peer.role == "worker":
                assert bool(peer.token) == (peer.worker is not None)
                assert peer.worker is None or (peer.worker.routing_id, peer.worker.token) == (routing_id, peer.token)
            else:
                controls += bool(peer.token)
                assert not peer.token or self._clients[peer.client] is peer
        assert controls == self._controls == len(self._clients)
        self.requests.check()
        assert self.scheduler is not None or not len(self.requests)
        assert self.requests.clients() <= self._clients.keys()
        assert self.scheduler is None or self._peers[self.scheduler.routing_id] is self.scheduler

    def _ask(self, peer: Peer) -> None:
        # Connections lose nothing in between: one question is enough, and each could bring one more Hello.
        if self.now - peer.asked_at >= ASK_PERIOD_S:
            peer.asked_at = self.now
            self.send(peer, messages.WhoAreYou())

    def _complain(self, peer: Peer, reason: str) -> None:
        peer.untold += 1
        if self.now - peer.told_at >= COMPLAINT_PERIOD_S:
            self.effects.append(PeerRefused(peer.role, reason, peer.untold))
            peer.untold = 0
            peer.told_at = self.now
