"""Who comes and who goes: Hellos, inventories, silence, farewells, certain death, and what the scheduler is told of each.

worker:     Hello ──▶ Welcome · Lost (not in its inventory) · Lost (its predecessor's) · Attached
gone ──▶ Lost
scheduler:  Hello ──▶ Welcome · Attached for each worker · Census · Lost (who is gone)        (and NewEpoch to every worker)
"""

from collections import deque
from math import inf

from hs_broker.backlog import Backlog
from hs_broker.events import PeerLeft, SchedulerAttached, SchedulerLost, WorkerAttached, WorkerLost
from hs_broker.peers import Peer
from hs_broker.sessions import CONTROLS_MAX, Sessions
from hs_broker.workers import Worker, Workers
from hs_common import limits, messages
from hs_common.incarnation import is_named

GONE_MAX = 500
"""Workers that are gone, the last ones, of which a scheduler is told that comes: it may wait for their inventories."""


class Attendance:
    """Keeps the sessions, the workers and the backlog together when somebody comes or goes.

    Args:
        sessions: Who is connected.
        workers: Who works, and what each has.
        backlog: What waits.
        lease_s: A peer not heard for so long (seconds) is gone.
        reach_s: A worker whose connection broke, and who did not come back for so long (seconds), is gone. On one host a broken
            connection means a dead process; over a network it means nothing, so there it is the lease.
        margin_s: Before the end of a worker (seconds), in which it is given no task without a time limit.

    """

    def __init__(
        self, *, sessions: Sessions, workers: Workers, backlog: Backlog, lease_s: float, reach_s: float, margin_s: float
    ) -> None:
        self._sessions = sessions
        self._workers = workers
        self._backlog = backlog
        self._lease_s = lease_s
        self._reach_s = reach_s
        self._margin_s = margin_s
        self._scheduler_process: tuple[bytes, str, int] = (b"", "", 0)
        """Of the present epoch: incarnation, host, pid."""
        self._store, self._database = b"", ""
        """Of the last scheduler that came, also after it left: what the workers have is of that store."""
        self._gone: deque[bytes] = deque(maxlen=GONE_MAX)

    def on_worker_hello(self, peer: Peer, hello: messages.WorkerHello) -> None:
        """Open a session for a worker and take over its inventory."""
        now = self._sessions.now
        worker = self._workers.get(hello.worker)
        if worker is None and len(self._workers) >= limits.WORKERS_MAX:
            self._sessions.refuse(peer, f"{limits.WORKERS_MAX} workers are here already", fatal=False)
            return
        if worker is not None and (worker.host, worker.pid) != (hello.host, hello.pid):
            if worker.spoken or worker.host != hello.host:
                reason = f"another process ({worker.host} {worker.pid}) is this worker"
                self._sessions.refuse(peer, reason, fatal=True)
                return
            worker.pid = hello.pid  # the one before died between its Hello and our Welcome
        if worker is None:
            worker = Worker(id=hello.worker, host=hello.host, pid=hello.pid, heard_at=now, margin_s=self._margin_s)
            self._workers.add(worker)
            self._gone = deque((name for name in self._gone if not is_named(worker.id, name)), maxlen=GONE_MAX)
        if not worker.hellos.take(now):
            self._sessions.refuse(peer, "too many sessions of one worker", fatal=True)
            return
        self._sessions.open(peer, worker)
        if worker.owes_since < inf:
            worker.owes_since = now  # what it said meanwhile was lost with its connection, and comes again
        self._take_inventory(worker, hello)
        if self._reach_s < self._lease_s:
            self._probe(worker)

    def _probe(self, newcomer: Worker) -> None:
        """Find out who of the others is out of reach: this one may have come because another died, its guardian too."""
        for worker in self._workers:
            if worker is not newcomer:
                self._sessions.to_worker(worker, messages.Heartbeat(session=worker.token))

    def _take_inventory(self, worker: Worker, hello: messages.WorkerHello) -> None:
        self.take_capacity(worker, hello)
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
        self._workers.offer(worker)
        self._sessions.effects.append(WorkerAttached(worker.id, worker.host, len(worker.leases)))
        if to := self._sessions.scheduler:
            self._sessions.send(to, self._attached(to, worker, replaces))

    def on_scheduler_hello(self, peer: Peer, hello: messages.SchedulerHello) -> None:
        """Open the session of the scheduler, unless another one owns the store; tell it what is here."""
        sessions = self._sessions
        process = hello.scheduler, hello.host, hello.pid
        if hello.store != self._store:
            if reason := self._held_by_another(peer):
                sessions.refuse(peer, reason, fatal=True)
                return
            self._forget_store()
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
        if process != known:  # it may have another store
            for worker in self._workers:
                worker.remembered = False
                self._workers.withdraw(worker)
        self._scheduler_process = process
        self._store, self._database = hello.store, hello.database
        sessions.open(peer)
        sessions.effects.append(SchedulerAttached(hello.epoch, hello.host))
        self._send_census(peer)
        for worker in self._workers:
            sessions.to_worker(worker, messages.NewEpoch(session=worker.token, epoch=hello.epoch))

    def _held_by_another(self, peer: Peer) -> str:
        """Return why a scheduler of another store cannot come, "": it can.

        Tasks have the numbers of their rows. Of two stores they would be taken for each other by the workers, and their outcomes
        by the schedulers. Only where we are new ourselves, and know no store, the workers may bring such ones.
        """
        if self._store and (other := self._sessions.scheduler) is not None and other is not peer:
            # That of one which was killed stands until its lease is over.
            _, host, pid = self._scheduler_process
            return (
                f"a scheduler of another database is here ({host} {pid}): if it was killed, start it again, or stop the workers "
                f"and restart the broker; else take another broker (hs-broker --name). That database: {self._served}"
            )
        if self._store and (holding := sum(bool(worker.leases) for worker in self._workers)):
            have, them = (
                ("1 worker still has", "the worker") if holding == 1 else (f"{holding} workers still have", "them")
            )
            return (
                f"{have} tasks of another database: start its scheduler again, or stop {them}. "
                f"That database: {self._served}"
            )
        return ""

    @property
    def _served(self) -> str:
        return self._database or "none, it is in memory"

    def _forget_store(self) -> int:
        """Forget what only its own scheduler understands; return how many bundles waited.

        What waits is its store's: the next scheduler does not find it in the census and dispatches it anew. That one may have
        another store, so the epoch counts from its own.
        """
        bundles = len(self._backlog)
        self._backlog.clear()
        self._gone.clear()
        self._sessions.epoch = 0
        self._scheduler_process = (b"", "", 0)
        return bundles

    def _send_census(self, peer: Peer) -> None:
        for worker in self._workers:
            self._sessions.send(peer, self._attached(peer, worker, b""))
        queued = self._backlog.bundles()
        for at in range(0, max(1, len(queued)), limits.IDS_MAX):
            part = queued[at : at + limits.IDS_MAX]
            more = at + limits.IDS_MAX < len(queued)
            self._sessions.send(peer, messages.Census(session=peer.token, queued=part, more=more))
        for name in self._gone:
            reason = "gone before this scheduler came"
            lost = messages.Lost(session=peer.token, worker=name, gone=True, reason=reason, bundles=())
            self._sessions.send(peer, lost)

    def on_control_hello(self, peer: Peer, hello: messages.ControlHello) -> None:
        """Open a session for hs-cluster, hs status, hs submit."""
        # Who it is matters for its answers alone: what it may do is decided by its key.
        if peer.token or self._sessions.client(hello.client) or self._sessions.has_room_for_control():
            self._sessions.open(peer, client=hello.client)
        else:
            self._sessions.refuse(peer, f"{CONTROLS_MAX} control sessions are open already", fatal=False)

    def on_worker_dead(self, _: Peer, dead: messages.WorkerDead) -> None:
        """Lose a worker at once: hs-cluster saw its guardian end."""
        reason = "its guardian ended"
        named = [worker for worker in self._workers if is_named(worker.id, dead.worker)]
        for worker in named:
            self._lose(worker, reason)
        if not named:
            # It died before it could say Hello to us: the scheduler may be waiting for its inventory.
            self._tell_lost(dead.worker, reason, (), gone=True)

    def on_bye(self, peer: Peer, bye: messages.Bye) -> None:
        """End the session of somebody who leaves in order."""
        if peer.worker is not None:
            bundles = self._drop(peer.worker, bye.reason)
        else:
            bundles = self._forget_store() if peer is self._sessions.scheduler else 0
        self._sessions.effects.append(PeerLeft(peer.role, bye.reason, bundles))
        self._sessions.forget(peer)

    def take_capacity(self, worker: Worker, said: messages.WorkerHello | messages.Ready) -> None:
        """Note what a worker can take from now on."""
        self._workers.set_credit(worker, said.slots, said.credit)
        worker.cores = said.cores
        worker.memory = said.memory
        worker.ends_at = self._sessions.now + said.seconds if said.seconds else inf

    def miss(self, now: float) -> None:
        """End what belongs to peers that have been silent for a whole lease."""
        silent = f"silent for {self._lease_s:g} s"
        for worker in list(self._workers):
            if now - worker.heard_at >= self._lease_s:
                self._lose(worker, silent)
            elif now - worker.parted_at >= self._reach_s:
                self._lose(worker, f"out of reach for {self._reach_s:g} s")
        for peer in self._sessions:
            if now - peer.heard_at >= self._lease_s:
                if peer is self._sessions.scheduler:
                    self._sessions.effects.append(SchedulerLost(silent))
                self._sessions.forget(peer)

    def stretch_leases(self, now: float, away_s: float) -> None:
        """Add the time in which we heard nobody because we were away ourselves."""
        for peer in self._sessions:
            peer.heard_at = min(now, peer.heard_at + away_s)
        for worker in self._workers:
            worker.heard_at = min(now, worker.heard_at + away_s)
            worker.owes_since += away_s
            worker.parted_at = min(now, worker.parted_at + away_s) if worker.parted_at < inf else inf

    def _lose(self, worker: Worker, reason: str) -> None:
        if peer := self._sessions.get(worker.routing_id):
            self._sessions.close(peer)
        bundles = self._drop(worker, reason)
        self._sessions.effects.append(WorkerLost(worker.id, reason, bundles))

    def _drop(self, worker: Worker, reason: str) -> int:
        bundles = self._workers.remove(worker)
        self._tell_lost(worker.id, reason, bundles, gone=True)
        return len(bundles)

    def _tell_lost(self, worker: bytes, reason: str, bundles: tuple[int, ...], *, gone: bool) -> None:
        if gone:
            self._gone.append(worker)
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
