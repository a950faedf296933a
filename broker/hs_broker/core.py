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
from typing import Any

from hs_broker.backlog import Backlog
from hs_broker.dispatch import assign, recalls
from hs_broker.events import (
    Effect,
    Event,
    Heard,
    Malformed,
    PeerLeft,
    PeerUnreachable,
    SchedulerAttached,
    SchedulerLost,
    WorkerAttached,
    WorkerLost,
)
from hs_broker.peers import ECHOES_PER_S_MAX, Peer
from hs_broker.sessions import CONTROLS_MAX, Sessions
from hs_broker.workers import Worker, Workers
from hs_common import limits, messages
from hs_common.messages import Demand, Message

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

    """

    def __init__(self, *, broker: bytes, make_token: Callable[[], bytes], lease_s: float = limits.LEASE_S) -> None:
        """Start with no peers and nothing waiting."""
        self._lease_s = lease_s
        self._workers = Workers()
        self._sessions = Sessions(broker=broker, make_token=make_token, workers=self._workers)
        self._backlog = Backlog()
        self._scheduler_process: tuple[bytes, str, int] = (b"", "", 0)
        self._credit_told = -1
        self._tick_at: float | None = None
        self._unsettled = False
        self._on: dict[type[Message], Callable[[Peer, Any], None]] = {
            messages.WorkerHello: self._on_worker_hello,
            messages.SchedulerHello: self._on_scheduler_hello,
            messages.ControlHello: self._on_control_hello,
            messages.Ready: self._on_ready,
            messages.Submit: self._on_submit,
            messages.Received: self._on_received,
            messages.Running: self._on_running,
            messages.Result: self._on_result,
            messages.Committed: self._on_committed,
            messages.Cancel: self._on_cancel,
            messages.WorkerDead: self._on_worker_dead,
            messages.Drain: self._on_drain,
            messages.Bye: self._on_bye,
            messages.Heartbeat: self._on_heartbeat,
        }

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take what happened at `now` (monotonic seconds); say what to do."""
        effects = self._sessions.begin(now)
        match event:
            case PeerUnreachable():
                if peer := self._sessions.get(event.peer):
                    self._sessions.close(peer)
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
        if ticks and not self._unsettled:
            for worker, tasks in recalls(self._workers, now):
                self._sessions.to_worker(worker, messages.Recall(session=worker.token, tasks=tasks))
        return effects

    def deadline(self) -> float | None:
        """Return when `expire` has to be called next (monotonic seconds; in the past: now), or None."""
        return self._sessions.now if self._unsettled else self._tick_at

    def deserted(self) -> bool:
        """Return whether neither a scheduler nor a worker is left."""
        return self._sessions.scheduler is None and not len(self._workers)

    def check(self) -> None:
        """Assert the rules; tests call this after every step."""
        self._sessions.check()
        self._backlog.check()
        self._workers.check()
        assert not any(bundle in self._workers for bundle in self._backlog.bundles())
        assert all(worker.token or not worker.free() for worker in self._workers)
        assert self._unsettled or not self._backlog or self._workers.next() is None

    # --- Hello. ---

    def _on_worker_hello(self, peer: Peer, hello: messages.WorkerHello) -> None:
        now = self._sessions.now
        worker = self._workers.get(hello.worker)
        if worker is None and len(self._workers) >= limits.WORKERS_MAX:
            self._sessions.refuse(peer, f"{limits.WORKERS_MAX} workers are here already", fatal=False)
            return
        if worker is not None and (worker.host, worker.pid) != (hello.host, hello.pid):
            reason = f"another process ({worker.host} {worker.pid}) is this worker"
            self._sessions.refuse(peer, reason, fatal=True)
            return
        if worker is None:
            worker = Worker(id=hello.worker, host=hello.host, pid=hello.pid, heard_at=now)
            self._workers.add(worker)
        if not worker.hellos.take(now):
            self._sessions.refuse(peer, "too many sessions of one worker", fatal=True)
            return
        self._sessions.open(peer, worker)
        self._take_inventory(worker, hello)

    def _take_inventory(self, worker: Worker, hello: messages.WorkerHello) -> None:
        self._take_capacity(worker, hello)
        headers = {bundle: header for bundle in hello.inventory if (header := self._backlog.remove(bundle))}
        beyond = self._workers.hold(worker, hello.inventory, headers)
        if beyond:
            self._tell_lost(worker.id, "not in its inventory", beyond, gone=False)
        replaces = hello.replaces
        predecessor = self._workers.get(replaces)
        if predecessor is worker or (predecessor is not None and predecessor.host != worker.host):
            replaces = b""  # only the guardian of both, so on the same host, can know it
        elif predecessor is not None:
            self._lose(predecessor, "replaced")
        self._offer(worker)
        self._sessions.effects.append(WorkerAttached(worker.id, worker.host, len(worker.leases)))
        if to := self._sessions.scheduler:
            self._sessions.send(to, self._attached(to, worker, replaces))

    def _on_scheduler_hello(self, peer: Peer, hello: messages.SchedulerHello) -> None:
        sessions = self._sessions
        process = hello.scheduler, hello.host, hello.pid
        known = self._scheduler_process
        if hello.epoch < sessions.epoch:
            sessions.refuse(peer, f"stale epoch {hello.epoch}: the store is at {sessions.epoch}", fatal=True)
            return
        if known[0] and hello.epoch == sessions.epoch and process != known:
            reason = f"epoch {hello.epoch} belongs to another scheduler ({known[1]} {known[2]})"
            sessions.refuse(peer, reason, fatal=True)
            return
        if not sessions.scheduler_hellos.take(sessions.now):
            sessions.refuse(peer, "too many sessions of schedulers", fatal=True)
            return
        old = sessions.scheduler
        if old is not None and old is not peer:
            sessions.close(old)
            old.superseded = process != known
        sessions.epoch = hello.epoch
        self._scheduler_process = process
        sessions.open(peer)
        sessions.effects.append(SchedulerAttached(hello.epoch, hello.host))
        self._send_census(peer)
        for worker in self._workers:
            sessions.to_worker(worker, messages.NewEpoch(session=worker.token, epoch=hello.epoch))

    def _send_census(self, peer: Peer) -> None:
        for worker in self._workers:
            self._sessions.send(peer, self._attached(peer, worker, b""))
        queued = self._backlog.bundles()
        for at in range(0, max(1, len(queued)), limits.IDS_MAX):
            part = queued[at : at + limits.IDS_MAX]
            more = at + limits.IDS_MAX < len(queued)
            self._sessions.send(peer, messages.Census(session=peer.token, queued=part, more=more))
        self._credit_told = self._credit()
        self._sessions.send(peer, messages.Credit(session=peer.token, tasks=self._credit_told))

    def _on_control_hello(self, peer: Peer, _: messages.ControlHello) -> None:
        # Who it is does not matter: what it may do is decided by its key.
        if peer.token or self._sessions.has_room_for_control():
            self._sessions.open(peer)
        else:
            self._sessions.refuse(peer, f"{CONTROLS_MAX} control sessions are open already", fatal=False)

    # --- From a worker. ---

    def _on_ready(self, peer: Peer, ready: messages.Ready) -> None:
        worker = _worker(peer)
        self._take_capacity(worker, ready)
        self._offer(worker)

    def _on_received(self, peer: Peer, received: messages.Received) -> None:
        if (to := self._scheduler_for(peer, received.worker)) is not None:
            message = messages.Received(session=to.token, worker=received.worker, bundles=received.bundles)
            self._sessions.send(to, message)

    def _on_running(self, peer: Peer, running: messages.Running) -> None:
        if (to := self._scheduler_for(peer, running.worker)) is not None:
            message = messages.Running(session=to.token, worker=running.worker, body=running.body)
            self._sessions.send(to, message)

    def _on_result(self, peer: Peer, result: messages.Result) -> None:
        worker = _worker(peer)
        to = self._scheduler_for(peer, result.worker)
        if worker.id != result.worker:
            return
        self._workers.close(worker, result.sequence, result.tasks, result.closed)
        self._offer(worker)
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
                refused.setdefault("fits nobody", []).append(bundle)
            elif obstacle := backlog.obstacle(header):
                refused.setdefault(obstacle, []).append(bundle)
            else:
                if not backlog.knows(demand):
                    workers.unpark()
                backlog.put(header, body[start:end])
            start = end
        self._unsettled = True
        for reason, bundles in refused.items():
            self._sessions.refuse(peer, reason, fatal=False, bundles=tuple(bundles))
        if again:
            # They wait or are leased already, so they must not stand among the refused ones: those are dispatched anew.
            self._sessions.refuse(peer, f"{len(again)} bundles are here already, {again[0]} is one", fatal=False)

    def _on_committed(self, _: Peer, committed: messages.Committed) -> None:
        if worker := self._workers.get(committed.worker):
            self._workers.commit(worker, committed.sequences)
            self._offer(worker)
            message = messages.Committed(session=worker.token, worker=worker.id, sequences=committed.sequences)
            self._sessions.to_worker(worker, message)

    def _on_cancel(self, _: Peer, cancel: messages.Cancel) -> None:
        if worker := self._workers.get(cancel.worker):
            message = messages.Cancel(session=worker.token, worker=worker.id, tasks=cancel.tasks)
            self._sessions.to_worker(worker, message)

    # --- From control, and from anybody. ---

    def _on_worker_dead(self, _: Peer, dead: messages.WorkerDead) -> None:
        if worker := self._workers.get(dead.worker):
            self._lose(worker, "its guardian ended")
        else:
            # It died before it could say Hello to us: the scheduler may be waiting for its inventory.
            self._tell_lost(dead.worker, "its guardian ended", (), gone=True)

    def _on_drain(self, _: Peer, drain: messages.Drain) -> None:
        for worker in self._workers:
            if drain.worker in (b"", worker.id):
                message = messages.Drain(session=worker.token, worker=worker.id, now=drain.now)
                self._sessions.to_worker(worker, message)

    def _on_bye(self, peer: Peer, bye: messages.Bye) -> None:
        if peer.worker is not None:
            bundles = self._drop(peer.worker, bye.reason)
        else:
            bundles = 0
            if peer is self._sessions.scheduler:
                # What waits is its store's: the next scheduler does not find it in the census and dispatches it anew. That
                # one may have another store, so the epoch counts from its own.
                bundles = len(self._backlog)
                self._backlog.clear()
                self._sessions.epoch = 0
                self._scheduler_process = (b"", "", 0)
        self._sessions.effects.append(PeerLeft(peer.role, bye.reason, bundles))
        self._sessions.forget(peer)

    def _on_heartbeat(self, peer: Peer, _: messages.Heartbeat) -> None:
        peer.echoes += 1
        if peer.echoes <= ECHOES_PER_S_MAX:
            self._sessions.send(peer, messages.Heartbeat(session=peer.token))

    # --- Time. ---

    def _tick(self, now: float) -> None:
        away_s = now - (self._tick_at or now)
        if away_s > LATE_MAX_S:
            self._stretch_leases(now, away_s)
        silent = f"silent for {self._lease_s:g} s"
        for worker in list(self._workers):
            if now - worker.heard_at >= self._lease_s:
                self._lose(worker, silent)
        for peer in self._sessions:
            if now - peer.heard_at >= self._lease_s:
                if peer is self._sessions.scheduler:
                    self._sessions.effects.append(SchedulerLost(silent))
                self._sessions.forget(peer)
        self._sessions.beat()
        self._workers.unpark()
        self._refuse_what_fits_nobody()
        self._tick_at = now + TICK_S if len(self._sessions) or len(self._workers) else None

    def _stretch_leases(self, now: float, away_s: float) -> None:
        for peer in self._sessions:
            peer.heard_at = min(now, peer.heard_at + away_s)
        for worker in self._workers:
            worker.heard_at = min(now, worker.heard_at + away_s)

    def _refuse_what_fits_nobody(self) -> None:
        to = self._sessions.scheduler
        if to is None or not self._backlog:
            return
        for demand in self._backlog.demands():
            if not self._fits_somebody(demand):
                bundles = self._backlog.remove_all(demand)
                for at in range(0, len(bundles), limits.IDS_MAX):
                    self._sessions.refuse(to, "fits nobody", fatal=False, bundles=bundles[at : at + limits.IDS_MAX])

    def _settle(self, now: float) -> None:
        for worker, headers, bodies in assign(self._backlog, self._workers, now):
            message = messages.Assign(session=worker.token, bundles=tuple(headers), body=b"".join(bodies))
            self._sessions.to_worker(worker, message)
        self._unsettled = bool(self._backlog) and self._workers.next() is not None
        credit, to = self._credit(), self._sessions.scheduler
        if to is not None and credit != self._credit_told:
            self._credit_told = credit
            self._sessions.send(to, messages.Credit(session=to.token, tasks=credit))

    # --- Workers that come and go. ---

    def _take_capacity(self, worker: Worker, said: messages.WorkerHello | messages.Ready) -> None:
        self._workers.set_credit(worker, said.slots, said.credit)
        worker.cores = said.cores
        worker.memory = said.memory
        worker.ends_at = self._sessions.now + said.seconds if said.seconds else float("inf")

    def _offer(self, worker: Worker) -> None:
        self._workers.offer(worker)
        self._unsettled = True

    def _lose(self, worker: Worker, reason: str) -> None:
        if peer := self._sessions.get(worker.routing_id):
            self._sessions.close(peer)
        bundles = self._drop(worker, reason)
        self._sessions.effects.append(WorkerLost(worker.id, reason, bundles))

    def _drop(self, worker: Worker, reason: str) -> int:
        bundles = self._workers.remove(worker)
        self._unsettled = True
        self._tell_lost(worker.id, reason, bundles, gone=True)
        return len(bundles)

    def _tell_lost(self, worker: bytes, reason: str, bundles: tuple[int, ...], *, gone: bool) -> None:
        if to := self._sessions.scheduler:
            for at in range(0, max(1, len(bundles)), limits.IDS_MAX):
                part = bundles[at : at + limits.IDS_MAX]
                message = messages.Lost(session=to.token, worker=worker, gone=gone, reason=reason, bundles=part)
                self._sessions.send(to, message)

    def _attached(self, to: Peer, worker: Worker, replaces: bytes) -> messages.Attached:
        return messages.Attached(
            session=to.token,
            worker=worker.id,
            replaces=replaces,
            host=worker.host,
            slots=worker.slots,
            cores=worker.cores,
            memory=worker.memory,
            seconds=worker.seconds(self._sessions.now),
            bundles=worker.bundles(),
        )

    def _fits_somebody(self, demand: Demand) -> bool:
        """Return whether it is worth waiting: some worker could run it, or none is here yet."""
        return not len(self._workers) or any(worker.fits(demand, self._sessions.now) for worker in self._workers)

    def _credit(self) -> int:
        return min(2 * self._workers.credit, limits.QUEUE_TASKS_MAX)


def _worker(peer: Peer) -> Worker:
    assert peer.worker is not None, "a session of a worker key is always a worker's"
    return peer.worker
