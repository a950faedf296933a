"""IO shell of the scheduler: one link to the broker, one store, one input, one thread.

A step: hear everything that arrived, let the core judge it, commit once, then send. A commit that fails for a moment (locked,
disk full) is tried again whole; meanwhile nothing is sent, acknowledged or read.
"""

import signal
from collections.abc import Iterable, Sequence
from itertools import chain

import zmq

from hs_common import limits, messages
from hs_common.clock import monotonic, wall
from hs_common.crash import crash_point
from hs_common.errors import StoppedError, WireError
from hs_common.logs import get_logger
from hs_common.notify import Notifier
from hs_common.outcomes import unpack_outcomes
from hs_common.tasks import unpack_started
from hs_scheduler.assemble import Parts
from hs_scheduler.ending import Ending
from hs_scheduler.events import (
    Claimed,
    Connected,
    Disconnected,
    DrainAsked,
    Effect,
    Outcomes,
    Record,
    Recorded,
    RememberWorker,
    Reopen,
    Running,
    Send,
    Sought,
    Tell,
    Withdrawn,
)
from hs_scheduler.patience import STOPPED, TRY_S, Patience
from hs_scheduler.report import End, Progress
from hs_scheduler.stores.ownership import RENEW_S
from hs_scheduler.stores.store import StoreBusyError
from hs_scheduler.watched import Watched
from hs_scheduler.writing import Writing

log = get_logger("scheduler")

ORPHAN_S = 1.5
"""How long a scheduler whose hs-cluster is gone still takes results."""

UPKEEP_AGAIN_S = 1.0
"""After upkeep that the store refused."""


class SchedulerDaemon:
    """Feed the core from the link, and do what it says."""

    def __init__(self, parts: Parts, notifier: Notifier) -> None:
        self._notifier = notifier
        self._parts = parts
        self._store = parts.store
        self._core = parts.core
        self._feed = parts.feed
        self._link = parts.link
        self._desk = parts.desk
        self._ending = Ending(parts)
        self._writing = Writing(parts, Patience(self._wait_for_store))
        self._poller = zmq.Poller()
        self._registered: list[object] = []
        self._input = Watched(self._poller)
        self._session = Watched(self._poller)
        self._effects: list[Effect] = []
        self._idle = False
        self._upkeep_at = 0.0
        self._end_by: float | None = None
        self._leaves = False
        self._store.wait_with(self._wait_for_store)

    def run(self) -> End:
        """Work until nothing is left, or nothing can go on; return how it ended.

        Raises:
            StoppedError: The store is lost, or the broker will never have this scheduler.

        """
        self._register_link()
        self._poller.register(self._parts.signals.fd, zmq.POLLIN)
        if self._parts.lifeline is not None:
            self._poller.register(self._parts.lifeline.fd, zmq.POLLIN)
        self._notifier.ready(monotonic())
        while not self._over():
            self.step()
        self._notifier.stopping()
        self._perform(self._core.farewell())
        return self._ending.end()

    def step(self) -> None:
        """Wait for something to do, do all of it, commit once, send."""
        self._wait()
        now = monotonic()
        self._hear_signals(self._parts.signals.drain())
        self._hear_lifeline(now)
        self._effects += self._hear_link(now)
        self._effects += self._core.expire(now)
        self._commit()
        self._read_for_others()
        now = monotonic()
        self._effects += self._judge_failures(now)
        self._notifier.beat(now)
        if now >= self._upkeep_at:
            self._keep_up(now)
        if self._parts.report.due(now):
            self._tell(now)

    # --- Hearing ---

    def _wait(self) -> None:
        # A piped input only while its lines are wanted: otherwise its producer has to wait.
        self._input.watch(self._parts.control.input_fd if self._feed.wants_lines() else None)
        # The session with a server may end while we are idle, and others may submit before we have another.
        self._session.watch(self._store.fd)
        now = monotonic()
        until = min(self._core.deadline(), self._upkeep_at, self._notifier.due_at, self._desk.looks.due_at())
        if (held := self._feed.held_until()) is not None:
            until = min(until, held)
        if not self._parts.report.due(now):
            until = min(until, self._parts.report.deadline())
        if self._end_by is not None:
            until = min(until, self._end_by)
        # With lines left to read there is no waiting; but they are read ahead only in steps in which nothing else is to do.
        wait_ms = 0 if self._effects or self._feed.available() else max(0, int((until - now) * 1000) + 1)
        # A pipe that polls readable is nothing to do: its lines are wanted when there is room, or nothing else is to do.
        found = [source for source, _ in self._poller.poll(wait_ms)]
        self._idle = all(source == self._input.fd for source in found)
        if self._session.fd in found:
            self._upkeep_at = 0.0

    def _hear_signals(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                self._leaves = self._leaves or self._may_leave(number)
                self._effects += self._core.handle(DrainAsked(), monotonic())

    def _may_leave(self, number: int) -> bool:
        """Whether a signal ends this scheduler though tasks are out, which hs-cluster never asks for.

        Those of a standing queue are the next scheduler's. A service that is restarted must not wait for them: tasks may take
        hours, and its broker may be away meanwhile. Asked for the second time, everybody leaves.
        """
        if self._parts.lifeline is not None:
            return False
        return self._core.draining or (self._parts.forever and number in (signal.SIGTERM, signal.SIGHUP))

    def _hear_lifeline(self, now: float) -> None:
        lifeline = self._parts.lifeline
        if lifeline is None:
            return
        for line in lifeline.lines():
            self._parts.control.hear(line)
        if lifeline.ended and self._end_by is None:
            self._end_by = now + ORPHAN_S
            self._poller.unregister(lifeline.fd)
            self._effects += self._core.handle(DrainAsked(), now)

    def _hear_link(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for event in self._link.events():
            if event == "connected":
                effects += self._core.handle(Connected(), now)
            elif event == "disconnected":
                effects += self._core.handle(Disconnected(), now)
            elif event == "moved":
                effects += self._core.handle(Disconnected(), now)
                self._reopen()
                log.warning("broker.moved", endpoints=" ".join(self._link.endpoints))
        for message in self._link.receive():
            effects += self._hear_message(message, now)
        return effects

    def _hear_message(self, message: messages.Message, now: float) -> list[Effect]:
        try:
            if isinstance(message, messages.Result):
                outcomes = unpack_outcomes(message.body)
                if log.tells_all:
                    log.debug(
                        "result.received", worker=message.worker, tasks=len(outcomes), closed=list(message.closed)
                    )
                event = Outcomes(message.worker, message.sequence, message.oldest, message.closed, outcomes)
                return self._core.handle(event, now)
            if isinstance(message, messages.Running):
                return self._core.handle(Running(message.worker, unpack_started(message.body)), now)
        except WireError as exc:
            log.warning("message.malformed", error=str(exc))
            return []
        match message:
            case messages.Request():
                self._desk.hear(message)
            case messages.ClientGone():
                self._desk.forget(message.client)
            case messages.Welcome():
                self._desk.open(message.session)
        return self._core.handle(message, now)

    # --- Committing ---

    def _commit(self) -> None:
        """Write what the core asked for and fill the room; then send."""
        effects, self._effects = self._effects, []
        if sought := self._desk.sought:
            effects += self._core.handle(Sought(sought), monotonic())
        writes = _writes(effects)
        room = self._core.room()
        read = self._feed.take(room, ahead=self._idle)
        now = monotonic()
        if writes or read or self._desk.has_writes or self._wants_claim(room, now):
            applied, claimed = self._writing.commit(writes, room, now)
            self._desk.looks.worked(monotonic())
            if rejected := self._feed.committed():
                self._parts.report.reject(rejected, self._store)
                if self._parts.joblog is not None:
                    self._parts.joblog.write_rows([row for row, _ in rejected])
            crash_point("scheduler.after_commit")
            self._acknowledge(writes)
            self._writing.tell(applied)
            judged = self._judge_failures(now)
            for some in applied:
                judged += self._core.handle(Recorded(some), now)
            if claimed:
                judged += self._core.handle(Claimed(claimed), now)
            if unwanted := self._desk.committed(chain.from_iterable(applied)):
                judged += self._core.handle(Withdrawn(unwanted), now)
            effects += judged
            self._effects += _writes(judged)  # by the next transaction
        effects += self._desk.replies()
        crash_point("scheduler.before_send")
        self._perform(effects)
        self._perform(self._core.settle(monotonic()))
        crash_point("scheduler.after_send")

    def _read_for_others(self) -> None:
        """Give whoever looks into the database a page, if somebody's turn has come."""
        if monotonic() >= self._desk.looks.due_at():
            self._desk.read(monotonic)
            self._perform(self._desk.replies())

    def _wants_claim(self, room: int, now: float) -> bool:
        held = self._feed.held_until()
        return room > 0 and self._store.counts.new > 0 and (held is None or now >= held) and not self._feed.shut

    def _wait_for_store(self) -> None:
        """Let the store recover; keep the broker's patience, and hear who ends us.

        Raises:
            StoppedError: A signal lets us leave with tasks out, or hs-cluster is gone. What was not committed comes again.

        """
        self._perform(self._core.beat(monotonic()))
        self._notifier.beat(monotonic())
        self._hear_signals(self._parts.signals.wait(TRY_S))
        lifeline = self._parts.lifeline
        if lifeline is not None and not lifeline.ended:
            for line in lifeline.lines():
                self._parts.control.hear(line)
        if self._leaves or (lifeline is not None and lifeline.ended):
            raise StoppedError(STOPPED)

    def _keep_up(self, now: float) -> None:
        """Tell other hosts that the store is ours, drop old answers; write the log back while nothing is under way."""
        self._upkeep_at = now + RENEW_S
        try:
            self._store.renew_owner(wall())
            self._desk.tidy(now, wall())
            if not self._core.tasks_out:
                self._store.checkpoint()
        except StoreBusyError as exc:
            self._upkeep_at = now + UPKEEP_AGAIN_S
            log.info("upkeep.postponed", reason=str(exc))

    def _acknowledge(self, writes: Sequence[Effect]) -> None:
        for effect in writes:
            match effect:
                case Record(worker=worker, sequence=sequence):
                    self._core.acknowledge(worker, sequence)
                case RememberWorker(worker=worker):
                    self._core.remembered(worker)

    # --- Sending ---

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message=message):
                    if not self._link.send(message):
                        # Not connected, or the broker does not read. The next Welcome settles what became of it; without
                        # one within the silence allowed, a new socket is opened.
                        self._core.handle(Disconnected(), monotonic())
                case Reopen():
                    log.warning("broker.silent", silence_max_s=limits.SILENCE_S)
                    self._reopen()
                case Tell(event=event, reason=reason, count=count):
                    log.warning(event, reason=reason, count=count)
                case _:
                    pass

    def _register_link(self) -> None:
        for socket in self._link.sockets:
            self._poller.register(socket, zmq.POLLIN)
        self._registered = list(self._link.sockets)

    def _reopen(self) -> None:
        for socket in self._registered:
            self._poller.unregister(socket)
        self._link.reopen()
        self._register_link()

    # --- The end ---

    def _over(self) -> bool:
        if self._leaves or (self._end_by is not None and monotonic() >= self._end_by):
            return True
        # What goes back to the store is written first: the next scheduler need not ask who has it.
        return not self._effects and self._ending.over()

    def _judge_failures(self, now: float) -> list[Effect]:
        halt = self._ending.halts()
        if halt is None:
            return []
        # hs-cluster hears of it first: it must not wonder why its workers leave.
        self._parts.report.halt(self._ending.reason(), now=halt.now)
        # What is in the workers' hands already is theirs to hand back.
        return self._core.handle(DrainAsked(stop=halt.now), now)

    def _tell(self, now: float) -> None:
        if held := self._ending.newly_held():
            log.warning("group.held", reason=held)
        progress = Progress(
            total_known=self._feed.ended,
            workers=self._core.workers,
            slots=self._core.slots,
            read_bytes=self._feed.read_bytes,
            kept_bytes=self._feed.kept_bytes,
            half_line=self._parts.control.half_line,
        )
        self._parts.report.progress(self._store.counts, progress, now)


def _writes(effects: Iterable[Effect]) -> list[Effect]:
    """Return those of the store."""
    return [effect for effect in effects if not isinstance(effect, Send | Reopen | Tell)]
