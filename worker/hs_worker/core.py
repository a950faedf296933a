"""Deciding core of the worker: events in, effects out. No IO, no clock, no processes.

    Assign ──▶ holding ──Spawn──▶ ... ──Exited──▶ holding ──Result──▶ kept ──Committed──▶ forgotten

Here: what each event means. Which task runs where: `holding`. What is said to the broker, and when: `telling`. How the worker
ends: `departure`.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

from hs_common import limits, messages
from hs_common.errors import StoppedError, WireError
from hs_common.messages import Assign, Message
from hs_common.tasks import Bundle, unpack_bundle
from hs_worker import events
from hs_worker.departure import Departure
from hs_worker.events import Effect, Event, Note
from hs_worker.settings import Identity, Rules
from hs_worker.tasks.holding import Holding
from hs_worker.telling import Telling

_WAITING = "its last results wait for a broker, and there is none; stop it once more to give them up"
_STOP_WAIT_S = 5.0
"""For the acknowledgement of the last results after the tasks were stopped."""


class WorkerCore:
    """What one worker does.

    Args:
        rules: Limits and options.
        identity: Who we are.
        recovered: (bundle, packed outcome) of what the predecessor left in the map, oldest first.
        now: Monotonic seconds.

    """

    def __init__(self, rules: Rules, identity: Identity, recovered: Sequence[tuple[int, bytes]], now: float) -> None:
        self._rules = rules
        self._identity = identity
        self._now = now
        self._out: list[Effect] = []
        self._holding = Holding(rules, recovered, self._out, now)
        self._departure = Departure()
        self._telling = Telling(
            rules=rules, identity=identity, holding=self._holding, departure=self._departure, out=self._out, now=now
        )
        self._session = self._telling.session
        self._credit = self._telling.credit
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.Exited: self._on_exited,
            events.SpawnFailed: self._on_spawn_failed,
            events.Left: self._on_left,
            events.Connected: self._on_connected,
            events.Disconnected: self._on_disconnected,
            events.Unsent: self._on_unsent,
            events.DrainAsked: self._on_drain_asked,
            events.StopAsked: self._on_stop_asked,
            events.PauseAsked: self._on_pause_asked,
            events.ResumeAsked: self._on_resume_asked,
            events.OutputKept: self._on_output_kept,
            events.OutputFull: self._on_output_full,
            events.ClockSet: self._on_clock_set,
        }
        self._message_handlers: dict[type, Callable[[Any], None]] = {
            Assign: self._on_assign,
            messages.Committed: self._on_committed,
            messages.Recall: self._on_recall,
            messages.Cancel: self._on_cancel,
            messages.NewEpoch: self._on_new_epoch,
            messages.Drain: self._on_drain,
            messages.Heartbeat: self._on_heartbeat,
        }

    @property
    def busy(self) -> bool:
        """Whether tasks run."""
        return self._holding.slots.running > 0

    # --- The face of a core ---

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event at `now` (monotonic seconds); return what to do, in this order.

        Raises:
            StoppedError: The broker will not have this worker, and never had it.

        """
        self._now = now
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)
        else:
            self._on_message(cast(Message, event))
        return self._settle()

    def expire(self, now: float) -> list[Effect]:
        """Do what time asks for."""
        self._session.wake(now - max(self._now, min(now, self.deadline())))
        self._now = now
        self._telling.expire(now)
        if now >= self._holding.slots.due_at:
            self._holding.stopping.due(now)
            self._credit.look_at = now
            if not self._holding.slots.count:
                self._on_drain_asked(events.DrainAsked(None))
        if self._holding.rest.recover(now):
            self._credit.look_at = now
        if now >= self._holding.end.due_at:
            self._on_end_near()
        if now >= self._departure.idle_until:
            self._note("info", "worker.idle", seconds=self._rules.timeout_s)
            self._on_drain_asked(events.DrainAsked(None))
        if now >= self._departure.drain_until:
            self._on_stop_asked(events.StopAsked(kill=False, wait_s=_STOP_WAIT_S))
        return self._settle()

    def deadline(self) -> float:
        """Return when `expire` has to be called next."""
        return min(
            self._telling.deadline(),
            self._holding.slots.due_at,
            self._holding.rest.deadline(),
            self._holding.end.due_at,
            self._departure.deadline(),
        )

    def check(self) -> None:
        """Assert the rules of all parts; tests call this after every step."""
        self._holding.check()
        assert not self._out
        self._departure.check(busy=self.busy)

    # --- The broker ---

    def _on_message(self, message: Message) -> None:
        self._session.heard_at = self._now
        match message:
            case messages.Welcome():
                if self._session.welcome(message.session):
                    self._telling.again(self._now)
            case messages.WhoAreYou():
                # While a Hello is on its way, this answers something older.
                if not self._session.greeting:
                    self._telling.greet(self._now)
            case messages.Refused():
                self._on_refused(message)
            case _:
                handler = self._message_handlers.get(type(message))
                token = getattr(message, "session", b"")
                if handler is None or not self._session.token or token != self._session.token:
                    self._note("info", "message.void", type=type(message).__name__)
                else:
                    handler(message)

    def _on_connected(self, _event: events.Connected) -> None:
        self._session.connect()
        self._session.heard_at = self._now
        self._telling.greet(self._now)

    def _on_disconnected(self, _event: events.Disconnected) -> None:
        self._session.disconnect()

    def _on_unsent(self, _event: events.Unsent) -> None:
        self._session.lose(self._now)

    def _on_heartbeat(self, _message: messages.Heartbeat) -> None:
        """Answer, for the broker may be asking: its lease may be shorter than our own beat."""
        if self._now >= self._session.said_at + limits.ANSWER_S:
            self._telling.beat(self._now)

    def _on_refused(self, message: messages.Refused) -> None:
        if message.fatal and not self._session.welcomed:
            raise StoppedError(f"the broker refuses this worker: {message.reason}")
        self._note("error" if message.fatal else "warning", "worker.refused", reason=message.reason)
        self._session.lose(self._now)
        if message.fatal:
            self._departure.refused = True
            self._on_stop_asked(events.StopAsked(kill=False, wait_s=0.0))

    def _on_new_epoch(self, _message: messages.NewEpoch) -> None:
        self._telling.again(self._now)

    def _on_committed(self, message: messages.Committed) -> None:
        if message.worker == self._identity.worker and (size := self._holding.outcomes.commit(message.sequences)):
            self._out.append(events.Release(size))
        self._holding.judgement.hear()

    # --- Tasks ---

    def _on_assign(self, message: Assign) -> None:
        at = 0
        for header in message.bundles:
            body = message.body[at : at + header.size]
            at += header.size
            if self._holding.outcomes.knows(header.bundle):
                continue
            try:
                contents = unpack_bundle(body)
            except WireError as exc:
                self._note("warning", "bundle.malformed", bundle=header.bundle, error=str(exc))
                contents = Bundle(b"", ())
            self._holding.take(header.bundle, contents, self._now)
        if self._departure.draining:
            self._holding.hand_back(len(self._holding.waiting), "drain")
        if self._rules.confirms:
            self._telling.reports.receive(header.bundle for header in message.bundles)

    def _on_recall(self, message: messages.Recall) -> None:
        self._holding.recall(message.tasks, self._now)

    def _on_cancel(self, message: messages.Cancel) -> None:
        if message.worker == self._identity.worker:
            self._holding.cancel(set(message.tasks), self._now)

    def _on_exited(self, event: events.Exited) -> None:
        self._holding.exited(event.exits, self._now, killing=self._departure.killing)

    def _on_output_kept(self, event: events.OutputKept) -> None:
        self._holding.outcomes.kept(event.sent)

    def _on_output_full(self, event: events.OutputFull) -> None:
        self._holding.unread = event.full

    def _on_left(self, event: events.Left) -> None:
        self._holding.stopping.left(event.slot, event.processes)

    def _on_spawn_failed(self, event: events.SpawnFailed) -> None:
        self._holding.spawn_failed(event.slot, event.error, self._now)
        self._credit.look_at = self._now

    def _on_clock_set(self, event: events.ClockSet) -> None:
        self._holding.outcomes.offset_s = event.offset_s

    # --- The end ---

    def _on_drain(self, message: messages.Drain) -> None:
        if message.worker not in (b"", self._identity.worker):
            return
        if message.now:
            self._on_stop_asked(events.StopAsked(kill=False, wait_s=_STOP_WAIT_S))
        else:
            self._on_drain_asked(events.DrainAsked(None))

    def _on_drain_asked(self, event: events.DrainAsked) -> None:
        self._departure.drain(self._now, event.grace_s)
        self._holding.ending = self._holding.ending or event.grace_s is not None
        self._credit.look_at = self._now
        self._holding.hand_back(len(self._holding.waiting), "drain")

    def _on_pause_asked(self, _event: events.PauseAsked) -> None:
        self._holding.stopping.hold(self._now)

    def _on_resume_asked(self, _event: events.ResumeAsked) -> None:
        self._holding.stopping.go_on(self._now)

    def _on_end_near(self) -> None:
        """Hand back what does not fit any more; in the very last moments, all that would run on, and leave."""
        end = self._holding.end
        self._holding.hand_back_misfits(self._now)
        if self._now >= end.drain_at:
            self._note("warning", "worker.ending", reason="its time is over", seconds=round(end.seconds(self._now), 1))
            self._departure.time_over = True
            self._holding.stopping.stop_beyond(end.ends_at, self._now)
            self._on_drain_asked(events.DrainAsked(None))
        end.pass_by(self._now)

    def _on_stop_asked(self, event: events.StopAsked) -> None:
        self._on_drain_asked(events.DrainAsked(None))
        self._departure.stop(event.wait_s, kill=event.kill)
        self._holding.stopping.stop_all(self._now, kill=event.kill)

    def _leave(self) -> None:
        """Go, if nothing is left to do or to wait for."""
        missed = self._session.welcomed and not self._session.token and not self._departure.refused
        if self.busy:
            return
        if not self._departure.leaves(self._now, committed=self._holding.outbox.empty, missed=missed):
            if missed and self._departure.begins_to_wait():
                self._note("warning", "worker.waiting", reason=_WAITING)
            return
        if self._session.token:
            self._telling.say(messages.Bye(session=self._session.token, reason="drained"), self._now)
        self._out.append(events.Leave(self._departure.refused, self._departure.time_over))

    # --- After every event ---

    def _settle(self) -> list[Effect]:
        holding = self._holding
        departure = self._departure
        if holding.waiting and holding.slots.free and not departure.draining:
            holding.start(self._now)
            if holding.end.misjudged:
                self._note("warning", "worker.leaving", reason="the broker gives what does not fit: see worker.margin")
                self._on_drain_asked(events.DrainAsked(None))
        self._telling.settle(self._now)
        if self._rules.timeout_s:
            idle = not self.busy and not holding.waiting and holding.outbox.empty
            departure.rest(self._now, self._rules.timeout_s, idle=idle)
        if departure.draining and not departure.gone:
            self._leave()
        out = self._out[:]
        self._out.clear()
        return out

    def _note(self, level: str, event: str, **keys: object) -> None:
        self._out.append(Note(level, event, keys))
