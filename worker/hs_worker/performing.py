"""What the worker's core asks for, done: all of it in order, then what came of it, until nothing more comes of it.

core.handle ─┬─ Spawn, Signal, Look, Abandon ──▶ executor
core.expire  ├─ Record, Release ───────────────▶ shared map
   ▲         ├─ Drop ──────────────────────────▶ relay
   │         ├─ Send, Reopen ──────────────────▶ contact
   │         └─ Note, Leave ───────────────────▶ log, status
   └── SpawnFailed, Left, Unsent
"""

from hs_common.clock import monotonic
from hs_common.crash import crash_point
from hs_common.logs import get_logger
from hs_common.messages import Message, Result
from hs_worker import events
from hs_worker.contact import Contact
from hs_worker.core import WorkerCore
from hs_worker.events import Effect, Event
from hs_worker.execution.executor import Executor
from hs_worker.guardian import EXIT_REFUSED, EXIT_TIME_OVER
from hs_worker.output.outputs import Piped
from hs_worker.shared_map import SharedMap


class Performing:
    """Of one worker.

    Args:
        core: Decides.
        contact: With the broker.
        executor: Runs tasks.
        shared: The map; None: nothing is recorded there (null executor).
        relay: None: tasks write by themselves.

    """

    def __init__(
        self,
        core: WorkerCore,
        contact: Contact,
        executor: Executor,
        *,
        shared: SharedMap | None,
        relay: Piped | None,
    ) -> None:
        self._core = core
        self._contact = contact
        self._link = contact.link
        self._executor = executor
        self._shared = shared
        self._relay = relay
        self._log = get_logger("worker")
        self.sent = True
        """Something was sent since the socket was last read to its end, or it may have become ready unseen."""
        self.status: int | None = None
        """With which to end, once the core says that it leaves."""
        self._lingering: set[int] = set()
        """Slots of tasks of which something is left."""

    def handle(self, event: Event) -> None:
        """Have the core judge an event, and do what it says."""
        self._perform(self._core.handle(event, monotonic()))

    def expire(self, now: float) -> None:
        """Do what time asks for."""
        self._perform(self._core.expire(now))

    def look_again(self) -> None:
        """Processes have ended that were nobody's: maybe those for which the end of a task is waited for."""
        if not self._lingering:
            return
        self._executor.forget_snapshot()
        for slot in list(self._lingering):
            self.handle(events.Left(slot, self._executor.left(slot)))

    def _perform(self, effects: list[Effect]) -> None:
        """Do it all, in order; then what came of it, until nothing more comes of it."""
        steps = [effects]
        for step in steps:
            self._executor.forget_snapshot()
            answers: list[Event] = []
            for effect in step:
                # The two that every task brings; all else goes through the table.
                if type(effect) is events.Spawn:
                    self._spawn(effect, answers)
                elif type(effect) is events.Record:
                    self._record(effect)
                else:
                    self._do(effect, answers)
            if answers:
                steps.extend(self._core.handle(answer, monotonic()) for answer in answers)

    def _spawn(self, effect: events.Spawn, answers: list[Event]) -> None:
        if error := self._executor.spawn(effect):
            answers.append(events.SpawnFailed(effect.slot, error))

    def _record(self, effect: events.Record) -> None:
        if self._shared is not None:
            self._shared.append(effect.bundle, effect.packed)
            self._shared.clear(effect.slot)
        if self._lingering:
            self._lingering.discard(effect.slot)

    def _do(self, effect: Effect, answers: list[Event]) -> None:
        match effect:
            case events.Send(message):
                self._send(message, answers)
            case events.Drop(slot):
                if self._relay is not None:
                    self._relay.drop(slot)
            case events.Release(size):
                if self._shared is not None:
                    self._shared.release(size)
            case events.Signal() | events.Look() | events.Abandon():
                self._stop(effect, answers)
            case events.Reopen():
                self._contact.reopen()
                self.sent = True
            case events.Leave(refused, time_over):
                self.status = EXIT_REFUSED if refused else EXIT_TIME_OVER if time_over else 0
            case events.Note(level, event, keys):
                getattr(self._log, level)(event, **keys)

    def _stop(self, effect: events.Signal | events.Look | events.Abandon, answers: list[Event]) -> None:
        match effect:
            case events.Signal(slot, number):
                self._executor.signal(slot, number)
            case events.Look(slot):
                count = self._executor.left(slot)
                if count:
                    self._lingering.add(slot)
                answers.append(events.Left(slot, count))
            case events.Abandon(slot):
                self._executor.abandon(slot)

    def _send(self, message: Message, answers: list[Event]) -> None:
        is_result = type(message) is Result
        if is_result:
            crash_point("worker.before_result")
        self.sent = True
        if not self._link.send(message):
            answers.append(events.Unsent())
        if is_result:
            crash_point("worker.after_result")
