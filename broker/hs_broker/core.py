"""What the broker decides: who is here, and which bundle is leased to whom. Events in, effects out; no IO, no clock.

    Submit ──▶ waiting ──Assign──▶ leased to a worker ──Result──▶ uncommitted ──Committed──▶ forgotten
                                        └── worker lost, or it says that it has it not ──▶ Lost: the scheduler's again

All of it is in memory only, and can be rebuilt from what the peers say: a worker's Hello brings its inventory. The shell calls
`handle` for whatever has arrived, then `expire` when `deadline` has come: bundles are given out there, once for all that came.

Rules, checked by `check` (with those of `sessions`, `backlog` and `workers`):
1. A bundle is in one place: waiting, or with one worker.
2. A worker without a session is offered nothing.
3. After `expire` nothing waits that could be given to a worker.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from hs_broker.attendance import Attendance
from hs_broker.backlog import Backlog
from hs_broker.dispatch import assign, recalls
from hs_broker.events import (
    Effect,
    Event,
    Heard,
    Malformed,
    PeerUnreachable,
    RoleRevoked,
    WorkerStalled,
)
from hs_broker.peers import ECHOES_PER_S_MAX, SUBMIT_VERBS, Peer
from hs_broker.sessions import VERB_CHARS_MAX, Sessions
from hs_broker.stalls import STALL_S, stalled
from hs_broker.workers import Worker, Workers
from hs_common import limits, messages
from hs_common.message_requests import AGAIN, MISUSED
from hs_common.message_session import FITS_NOBODY
from hs_common.messages import Demand, Message
from hs_common.values import replace

TICK_S = 0.25
"""How often leases, heartbeats and idle slots are looked at."""

LATE_MAX_S = 5.0
"""A tick that comes later than this means that we were away, not the peers: every lease gets that time on top (B2)."""


class BrokerCore:
    """Sessions, leases and credit of one cluster.

    Args:
        broker: Incarnation of this broker, 16 bytes.
        make_token: Gives a fresh session token, 16 random bytes.
        lease_s: A peer not heard for so long (seconds) has lost its session, a worker its bundles too.
        stall_s: A worker that was given something and says nothing of its tasks for so long (seconds) is the operator's business.
        reach_s: So has a worker whose connection broke so long ago; None: that is no reason.
        margin_s: Before the end of a worker (seconds), in which it is given no task without a time limit.

    """

    def __init__(
        self,
        *,
        broker: bytes,
        make_token: Callable[[], bytes],
        lease_s: float = limits.LEASE_S,
        stall_s: float = STALL_S,
        reach_s: float | None = None,
        margin_s: float = limits.MARGIN_S,
    ) -> None:
        """Start with no peers and nothing waiting."""
        self._workers = Workers()
        self._sessions = Sessions(broker=broker, make_token=make_token, workers=self._workers)
        self._backlog = Backlog()
        self._attendance = Attendance(
            sessions=self._sessions,
            workers=self._workers,
            backlog=self._backlog,
            lease_s=lease_s,
            reach_s=lease_s if reach_s is None else reach_s,
            margin_s=margin_s,
        )
        self._stall_s = stall_s
        # Others beat every HEARTBEAT_S by themselves; a lease that is not much longer takes a question in between.
        self._ask_s = lease_s / 3 if lease_s < 3 * limits.HEARTBEAT_S else inf
        self._tick_at: float | None = None
        self._on: dict[type[Message], Callable[[Peer, Any], None]] = {
            messages.WorkerHello: self._attendance.on_worker_hello,
            messages.SchedulerHello: self._attendance.on_scheduler_hello,
            messages.ControlHello: self._attendance.on_control_hello,
            messages.Ready: self._on_ready,
            messages.Submit: self._on_submit,
            messages.Received: self._on_received,
            messages.Running: self._on_running,
            messages.Result: self._on_result,
            messages.Committed: self._on_committed,
            messages.Cancel: self._on_cancel,
            messages.Withdraw: self._on_withdraw,
            messages.WorkerDead: self._attendance.on_worker_dead,
            messages.Drain: self._on_drain,
            messages.Request: self._on_request,
            messages.Reply: self._on_reply,
            messages.Bye: self._attendance.on_bye,
            messages.Heartbeat: self._on_heartbeat,
        }

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take what happened at `now` (monotonic seconds); say what to do."""
        effects = self._sessions.begin(now)
        match event:
            case PeerUnreachable():
                if peer := self._sessions.get(event.peer):
                    self._sessions.close(peer)
            case RoleRevoked():
                self._sessions.revoke(event.role)
            case Heard() | Malformed():
                peer = self._sessions.meet(event.peer, event.role)
                if peer is not None and (message := self._sessions.accept(peer, event)) is not None:
                    self._on[type(message)](peer, message)
        if self._tick_at is None:
            self._tick_at = now + TICK_S
        return effects

    def expire(self, now: float) -> list[Effect]:
        """Give out what waits, tell the scheduler its credit, and do what is due at `now`."""
        effects = self._sessions.begin(now)
        ticks = self._tick_at is not None and self._tick_at <= now
        if ticks:
            self._tick(now)
        self._settle(now)
        if ticks and not self._workers.touched:
            for worker, tasks in recalls(self._workers, now):
                self._sessions.to_worker(worker, messages.Recall(session=worker.token, tasks=tasks))
        return effects

    def deadline(self) -> float | None:
        """Return when `expire` has to be called next (monotonic seconds; in the past: now), or None."""
        return self._sessions.now if self._workers.touched else self._tick_at

    def deserted(self) -> bool:
        """Return whether neither a scheduler nor a worker is left, nor anybody who sees to it that late workers leave."""
        if self._sessions.scheduler is not None or len(self._workers):
            return False
        return not any(peer.drains and peer.token for peer in self._sessions)

    def check(self) -> None:
        """Assert the rules; tests call this after every step."""
        self._sessions.check()
        self._backlog.check()
        self._workers.check()
        assert not any(bundle in self._workers for bundle in self._backlog.bundles())
        assert all(worker.token or not worker.free() for worker in self._workers)
        assert self._workers.touched or not self._backlog or self._workers.next() is None

    # --- From a worker. ---

    def _on_ready(self, peer: Peer, ready: messages.Ready) -> None:
        worker = _worker(peer)
        self._attendance.take_capacity(worker, ready)
        self._workers.offer(worker)

    def _on_received(self, peer: Peer, received: messages.Received) -> None:
        if (to := self._scheduler_for(peer, received.worker)) is not None:
            message = messages.Received(session=to.token, worker=received.worker, bundles=received.bundles)
            self._sessions.send(to, message)

    def _on_running(self, peer: Peer, running: messages.Running) -> None:
        to = self._scheduler_for(peer, running.worker)
        worker = _worker(peer)
        if worker.id != running.worker:
            return
        worker.heard_of_tasks(run_long=True)
        if to is not None:
            message = messages.Running(session=to.token, worker=running.worker, body=running.body)
            self._sessions.send(to, message)

    def _on_result(self, peer: Peer, result: messages.Result) -> None:
        worker = _worker(peer)
        to = self._scheduler_for(peer, result.worker)
        if worker.id != result.worker:
            return
        worker.heard_of_tasks(run_long=False)
        self._workers.close(worker, result.sequence, result.tasks, result.closed)
        self._workers.offer(worker)
        if to is not None:  # without one it is dropped: the worker sends it again at NewEpoch
            message = messages.Result(
                session=to.token,
                worker=result.worker,
                sequence=result.sequence,
                oldest=result.oldest,
                tasks=result.tasks,
                closed=result.closed,
                body=result.body,
            )
            self._sessions.send(to, message)

    def _scheduler_for(self, peer: Peer, worker: bytes) -> Peer | None:
        """Return to whom to pass on what a worker says, if it speaks for itself."""
        if _worker(peer).id == worker:
            return self._sessions.scheduler
        self._sessions.offend(peer, "it speaks for another worker")
        return None

    # --- From the scheduler. ---

    def _on_submit(self, peer: Peer, submit: messages.Submit) -> None:
        backlog, workers, body = self._backlog, self._workers, submit.body
        refused: dict[str, list[int]] = {}
        again: list[int] = []
        fits: dict[Demand, bool] = {}
        start = 0
        for header in submit.bundles:
            bundle, _, size, demand = header
            end = start + size
            if bundle in workers or bundle in backlog:
                again.append(bundle)
            elif not (fits[demand] if demand in fits else fits.setdefault(demand, self._fits_somebody(demand))):
                refused.setdefault(FITS_NOBODY, []).append(bundle)
            elif obstacle := backlog.obstacle(header):
                refused.setdefault(obstacle, []).append(bundle)
            else:
                if not backlog.knows(demand):
                    workers.unpark()
                backlog.put(header, body[start:end])
            start = end
        workers.touched = True
        for reason, bundles in refused.items():
            self._sessions.refuse(peer, reason, fatal=False, bundles=tuple(bundles))
        if again:
            # They wait or are leased already, so they must not stand among the refused ones: those are dispatched anew.
            self._sessions.refuse(peer, f"{len(again)} bundles are here already, {again[0]} is one", fatal=False)

    def _on_committed(self, _: Peer, committed: messages.Committed) -> None:
        if worker := self._workers.get(committed.worker):
            worker.remembered = True
            self._workers.commit(worker, committed.sequences)
            self._workers.offer(worker)
            if not committed.sequences:
                return
            message = messages.Committed(session=worker.token, worker=worker.id, sequences=committed.sequences)
            self._sessions.to_worker(worker, message)

    def _on_cancel(self, _: Peer, cancel: messages.Cancel) -> None:
        if worker := self._workers.get(cancel.worker):
            message = messages.Cancel(session=worker.token, worker=worker.id, tasks=cancel.tasks)
            self._sessions.to_worker(worker, message)

    def _on_withdraw(self, peer: Peer, withdraw: messages.Withdraw) -> None:
        waiting = tuple(bundle for bundle in withdraw.bundles if self._backlog.remove(bundle))
        if waiting:
            self._sessions.refuse(peer, "withdrawn", fatal=False, bundles=waiting)
        for worker in self._workers.holders(withdraw.bundles):
            message = messages.Cancel(session=worker.token, worker=worker.id, tasks=withdraw.tasks)
            self._sessions.to_worker(worker, message)

    def _on_reply(self, _: Peer, reply: messages.Reply) -> None:
        sessions = self._sessions
        if not sessions.requests.knows(reply.client, reply.request):
            return  # its client left, or was told to ask again
        if not reply.more:
            sessions.requests.close(reply.client, reply.request)
        if (to := sessions.client(reply.client)) is not None:
            sessions.send(to, replace(reply, session=to.token))

    # --- From control, and from anybody. ---

    def _on_request(self, peer: Peer, request: messages.Request) -> None:
        sessions, to = self._sessions, self._sessions.scheduler
        if request.client != peer.client:
            sessions.offend(peer, "it speaks for another client")
        elif peer.role == "submit" and request.verb not in SUBMIT_VERBS:
            reason = f"a submit key may not ask for {request.verb[:VERB_CHARS_MAX]}"
            sessions.reply(peer.client, request.request, MISUSED, reason)
            sessions.offend(peer, reason)
        elif to is None:
            sessions.reply(peer.client, request.request, AGAIN, "no scheduler is connected to the broker")
        elif obstacle := sessions.requests.obstacle(peer.client, request.request, len(request.body)):
            sessions.reply(peer.client, request.request, AGAIN, obstacle)
        else:
            sessions.requests.put(peer.client, request.request, len(request.body))
            sessions.send(to, replace(request, session=to.token))

    def _on_drain(self, peer: Peer, drain: messages.Drain) -> None:
        peer.drains = peer.drains or not drain.worker
        for worker in self._workers:
            if drain.worker in (b"", worker.id):
                message = messages.Drain(session=worker.token, worker=worker.id, now=drain.now)
                self._sessions.to_worker(worker, message)

    def _on_heartbeat(self, peer: Peer, _: messages.Heartbeat) -> None:
        peer.echoes += 1
        if peer.echoes <= ECHOES_PER_S_MAX:
            self._sessions.send(peer, messages.Heartbeat(session=peer.token))

    # --- Time. ---

    def _tick(self, now: float) -> None:
        away_s = now - (self._tick_at or now)
        if away_s > LATE_MAX_S:
            self._attendance.stretch_leases(now, away_s)
        self._attendance.miss(now)
        for worker in stalled(self._workers, now, self._stall_s):
            self._sessions.effects.append(WorkerStalled(worker.id, worker.host, len(worker.leases)))
        self._sessions.beat(self._ask_s)
        self._workers.unpark()
        self._refuse_what_fits_nobody()
        self._tick_at = now + TICK_S if len(self._sessions) or len(self._workers) else None

    def _refuse_what_fits_nobody(self) -> None:
        to = self._sessions.scheduler
        if to is None or not self._backlog:
            return
        for demand in self._backlog.demands():
            if not self._fits_somebody(demand):
                bundles = self._backlog.remove_all(demand)
                for at in range(0, len(bundles), limits.IDS_MAX):
                    self._sessions.refuse(to, FITS_NOBODY, fatal=False, bundles=bundles[at : at + limits.IDS_MAX])

    def _settle(self, now: float) -> None:
        for worker, headers, bodies in assign(self._backlog, self._workers, now):
            message = messages.Assign(session=worker.token, bundles=tuple(headers), body=b"".join(bodies))
            self._sessions.to_worker(worker, message)
            worker.owe(now)
        self._workers.touched = bool(self._backlog) and self._workers.next() is not None
        credit, to = min(2 * self._workers.credit, limits.QUEUE_TASKS_MAX), self._sessions.scheduler
        if to is not None and credit != to.credit_told:
            to.credit_told = credit
            self._sessions.send(to, messages.Credit(session=to.token, tasks=credit))

    def _fits_somebody(self, demand: Demand) -> bool:
        """Return whether it is worth waiting: some worker could run it, or none is here yet."""
        return not len(self._workers) or any(worker.fits(demand, self._sessions.now) for worker in self._workers)


def _worker(peer: Peer) -> Worker:
    assert peer.worker is not None, "a session of a worker key is always a worker's"
    return peer.worker
