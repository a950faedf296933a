"""IO shell of the broker: one ROUTER, one ZAP socket, one thread, one poller.

It holds nothing that its peers could not tell it again, so it may be killed at any moment.

lifeline (stdin of a local cluster) ends ──▶ deserted, or 3 s later ──▶ stop
SIGTERM, SIGINT ──▶ stop at once
SIGUSR2 ──▶ reopen the log, read the keys anew
"""

import signal
from collections import deque
from collections.abc import Callable
from math import ceil

import zmq

from hs_broker.authenticator import Authenticator
from hs_broker.core import BrokerCore
from hs_broker.events import (
    Effect,
    Heard,
    KeyRevoked,
    Malformed,
    PeerBanned,
    PeerLeft,
    PeerRefused,
    PeerUnreachable,
    RoleRevoked,
    SchedulerAttached,
    SchedulerLost,
    Send,
    WorkerAttached,
    WorkerLost,
    WorkerStalled,
)
from hs_broker.router import Router, receive_all, send_to
from hs_common import messages
from hs_common.clock import Clock, monotonic
from hs_common.crash import crash_point
from hs_common.errors import RefusedError, WireError
from hs_common.lifeline import Lifeline
from hs_common.logs import get_logger, reopen
from hs_common.messages import Message
from hs_common.notify import Notifier
from hs_common.security import Server
from hs_common.signals import SignalPipe
from hs_common.wire import VersionError, decode, encode

FAREWELL_S = 3.0
"""How long, after the end of the lifeline, others may still say what they have to say."""

WAIT_MAX_S = 60.0
"""Of one step, when nothing is due."""

DENIED_PERIOD_S = 60.0
"""How often the log counts the strangers that were turned away."""

_CRASH_POINT: dict[type[Message], str] = {
    messages.WorkerHello: "broker.hello",
    messages.SchedulerHello: "broker.hello",
    messages.Submit: "broker.submit",
    messages.Result: "broker.result",
    messages.Committed: "broker.committed",
}

log = get_logger("broker")


class BrokerDaemon:
    """Feed the core from the sockets, and do what it says."""

    def __init__(
        self,
        core: BrokerCore,
        router: Router,
        authenticator: Authenticator,
        *,
        signals: SignalPipe | None = None,
        lifeline: Lifeline | None = None,
        reload: Callable[[], Server] | None = None,
        notifier: Notifier | None = None,
        clock: Clock = monotonic,
    ) -> None:
        """Take a bound router and its ZAP handler; the caller closes them. `reload` reads our keys anew (SIGUSR2)."""
        self._core = core
        self._router = router
        self._authenticator = authenticator
        self._signals = signals
        self._lifeline = lifeline
        self._reload = reload
        self._notifier = notifier or Notifier()
        self._clock = clock
        self._stop_at: float | None = None
        self._denied_told = 0
        self._denied_at = -DENIED_PERIOD_S
        self._poller = zmq.Poller()
        self._poller.register(router, zmq.POLLIN)
        self._poller.register(authenticator.socket, zmq.POLLIN)
        if signals is not None:
            self._poller.register(signals.fd, zmq.POLLIN)
        if lifeline is not None:
            self._poller.register(lifeline.fd, zmq.POLLIN)
        self.stopped = False

    def run(self) -> None:
        """Serve until told to stop."""
        self._notifier.ready(self._clock())
        while not self.stopped:
            self.step()
        self._notifier.stopping()

    def step(self, wait_max_s: float = WAIT_MAX_S) -> None:
        """Wait for something to happen or become due, then act on it. Bounded work: the drains are capped."""
        self._wait(wait_max_s)
        self._authenticator.step()
        for routing_id, key, frame in receive_all(self._router):
            role = self._authenticator.role(key)
            if role is not None:
                self._perform(self._core.handle(self._event(routing_id, role, frame), self._clock()))
        now = self._clock()
        due = self._core.deadline()
        if due is not None and due <= now:
            self._perform(self._core.expire(now))
        self._look_around(now)

    def _wait(self, wait_max_s: float) -> None:
        now = self._clock()
        dues = [due for due in (self._core.deadline(), self._stop_at) if due is not None]
        wait_s = min([wait_max_s, self._notifier.due_at - now, *(due - now for due in dues)])
        self._poller.poll(max(0, ceil(wait_s * 1000)))

    def _event(self, routing_id: bytes, role: str, frame: bytes) -> Heard | Malformed:
        try:
            message = decode(frame)
        except WireError as exc:
            return Malformed(routing_id, role, str(exc), isinstance(exc, VersionError))
        crash_point(_CRASH_POINT.get(type(message), ""))
        return Heard(routing_id, role, message)

    def _perform(self, effects: list[Effect]) -> None:
        queue = deque(effects)
        while queue:
            effect = queue.popleft()
            if not isinstance(effect, Send):
                _tell(effect)
                continue
            if not send_to(self._router, effect.peer, encode(effect.message)):
                # Each of these ends a session, so they end.
                queue.extend(self._core.handle(PeerUnreachable(effect.peer), self._clock()))
            elif isinstance(effect.message, messages.Assign):
                crash_point("broker.assign")
                if log.tells_all:
                    _tell_bundles(effect.message, effect.peer)

    def _look_around(self, now: float) -> None:
        self._notifier.beat(now)
        for number in self._signals.drain() if self._signals is not None else ():
            if number == signal.SIGUSR2:
                reopen()
                self._reload_keys(now)
            else:
                self.stopped = True
        if self._lifeline is not None and not self._lifeline.ended:
            self._lifeline.lines()
            if self._lifeline.ended:
                self._poller.unregister(self._lifeline.fd)
                self._stop_at = now + FAREWELL_S
        if self._stop_at is not None and (now >= self._stop_at or self._core.deserted()):
            self.stopped = True
        denied = self._authenticator.refused + self._router.strange
        if denied > self._denied_told and now - self._denied_at >= DENIED_PERIOD_S:
            log.warning("peer.denied", times=denied - self._denied_told)
            self._denied_told, self._denied_at = denied, now

    def _reload_keys(self, now: float) -> None:
        if self._reload is None:
            return
        try:
            server = self._reload()
        except RefusedError as exc:
            log.error("keys.refused", reason=str(exc))  # noqa: TRY400 - nothing of ours is wrong
            return
        for role in self._authenticator.reload(server):
            self._perform(self._core.handle(RoleRevoked(role), now))


def _tell_bundles(message: messages.Assign, peer: bytes) -> None:
    for header in message.bundles:
        log.debug("bundle.assigned", bundle=header.bundle, tasks=header.tasks, peer=peer)


def _tell(effect: Effect) -> None:
    match effect:
        case WorkerAttached():
            log.info("worker.attached", worker=effect.worker, host=effect.host, bundles=effect.bundles)
        case WorkerLost():
            log.warning("worker.lost", worker=effect.worker, reason=effect.reason, bundles=effect.bundles)
        case WorkerStalled():
            log.warning("worker.stalled", worker=effect.worker, host=effect.host, bundles=effect.bundles)
        case SchedulerAttached():
            log.info("scheduler.attached", host=effect.host, epoch=effect.epoch)
        case SchedulerLost():
            log.warning("scheduler.lost", reason=effect.reason)
        case PeerLeft():
            log.info("peer.left", role=effect.role, reason=effect.reason, bundles=effect.bundles)
        case PeerRefused():
            log.warning("peer.refused", role=effect.role, reason=effect.reason, times=effect.times)
        case PeerBanned():
            log.warning("peer.banned", role=effect.role, reason=effect.reason)
        case KeyRevoked():
            log.warning("key.revoked", role=effect.role, peers=effect.peers)
