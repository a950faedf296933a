"""Deciding core of the worker: events in, effects out. No IO, no clock, no processes.

    Assign ──▶ waiting ──Spawn──▶ slot ──Exited──▶ outcome ──Result──▶ kept ──Committed──▶ forgotten

Rules, checked by `check`:
1. A slot is free, occupied by one run, or given up.
2. A bundle is known as long as one of its tasks is waiting or in a slot; `left` counts them.
3. What was recorded and what is set aside for running tasks fits the map.
4. Nothing waits that is in a slot, and no dispatch is in two slots.
"""

from collections import deque
from collections.abc import Callable, Sequence
from errno import EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC, errorcode
from math import inf
from typing import Any, cast

import msgpack

from hs_common import limits, messages
from hs_common.errors import WireError
from hs_common.messages import Assign, Message, Received, Result, Running, WorkerHello
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task, pack_started, unpack_bundle
from hs_worker import events
from hs_worker.events import Effect, Event, Exit, Look, Note, Record, Send, Signal, Spawn
from hs_worker.outbox import Kept, Outbox
from hs_worker.prefetch import Prefetch
from hs_worker.rest import Rest
from hs_worker.run import Bundle, Run
from hs_worker.session import Session
from hs_worker.settings import Identity, Rules
from hs_worker.states import State, Step, after
from hs_worker.template import Expand, compile_template

RECORD_BYTES = 16
"""What a record in the map occupies beside its outcome."""
_OUTCOME_BYTES_MAX = 240
"""Of a packed outcome without its command."""
COMMAND_BYTES_MAX = 2 * limits.MIB
"""Of an expanded command line; a longer one is REJECTED."""
UNACKNOWLEDGED_MAX = 10_000
"""Outcomes that are not committed. Then nothing is started until the scheduler answers."""
_RECENT_MAX = 20_000
"""Bundles that are remembered after their end, so that a repeated Assign runs nothing twice."""
_TEMPLATES_MAX = 64
_TICK_S = 0.5
"""How often long tasks are looked for."""
_LONG_S = 1.0
"""A task that runs so long is told about."""
_RESULT_S = 0.05
"""Results wait at most so long for company."""
_RESULT_GAP_S = 0.005
"""Between Results that are sent because little is left to start."""
_OFFER_S = 0.01
"""Between looks at the credit."""
_STOP_WAIT_S = 5.0
"""For the acknowledgement of the last results after the tasks were stopped."""

_HOST_FAULTS = frozenset({EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT})


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
        self._offset_s = 0.0
        self._out: list[Effect] = []
        self._session = Session(heard_at=now)
        self._outbox = Outbox()
        self._prefetch = Prefetch(rules.slots)
        self._rest = Rest(rules.slots)
        self._expand = compile_template(rules.template)
        self._templates: dict[bytes, Expand] = {}
        self._pack: Callable[[Outcome], bytes] = msgpack.Packer().pack

        self._waiting: deque[tuple[Task, Bundle]] = deque()
        self._runs: list[Run | None] = [None] * rules.slots
        self._free = list(range(rules.slots - 1, -1, -1))
        self._lost: set[int] = set()
        self._bundles: dict[int, Bundle] = {}
        self._recent: set[int] = set()
        self._recent_order: deque[int] = deque()
        self._cores = 0
        self._memory = 0
        self._area = 0
        """Bytes of the map that are recorded, or set aside for what runs."""

        self._due_at = inf
        self._tick_at = inf
        self._flush_at = inf
        self._sent_at = 0.0
        self._offer_at = 0.0
        self._told = (rules.slots, 0)
        """Slots and credit as the broker knows them."""
        self._draining = False
        self._killing = False
        self._drain_until = inf
        self._leave_wait_s = inf
        self._leave_at = inf
        self._refused = False
        self._gone = False
        for bundle, packed in recovered:
            self._area += len(packed) + RECORD_BYTES
            self._outbox.add(packed, len(packed) + RECORD_BYTES)
            if bundle not in self._recent:
                self._close(bundle)
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.Exited: self._on_exited,
            events.SpawnFailed: self._on_spawn_failed,
            events.Left: self._on_left,
            events.Connected: self._on_connected,
            events.Disconnected: self._on_disconnected,
            events.Unsent: self._on_unsent,
            events.DrainAsked: self._on_drain_asked,
            events.StopAsked: self._on_stop_asked,
            events.ClockSet: self._on_clock_set,
        }
        self._message_handlers: dict[type, Callable[[Any], None]] = {
            Assign: self._on_assign,
            messages.Committed: self._on_committed,
            messages.Recall: self._on_recall,
            messages.Cancel: self._on_cancel,
            messages.NewEpoch: self._on_new_epoch,
            messages.Drain: self._on_drain,
            messages.Heartbeat: lambda _: None,
        }

    # --- The face of a core ---

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event at `now` (monotonic seconds); return what to do, in this order."""
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
        if self._session.must_reopen(now):
            self._session.disconnect()
            self._session.heard_at = now
            self._out.append(events.Reopen())
        elif self._session.must_greet(now):
            self._greet()
        elif self._session.must_beat(now):
            self._send(messages.Heartbeat(session=self._session.token))
        if now >= self._due_at:
            self._on_due()
        if now >= self._tick_at:
            self._on_tick()
        if self._rest.recover(now):
            self._offer_at = now
        if now >= self._drain_until:
            self._on_stop_asked(events.StopAsked(kill=False, wait_s=_STOP_WAIT_S))
        return self._settle()

    def deadline(self) -> float:
        """Return when `expire` has to be called next."""
        flush_at = self._flush_at if self._session.token else inf
        return min(
            self._session.deadline(),
            self._due_at,
            self._tick_at,
            flush_at,
            self._rest.deadline(),
            self._drain_until,
            self._leave_at,
        )

    def check(self) -> None:
        """Assert the four rules; tests call this after every step."""
        occupied = {slot for slot, run in enumerate(self._runs) if run is not None}
        assert len(self._free) == len(set(self._free))
        assert occupied | set(self._free) | self._lost == set(range(self._rules.slots))
        assert len(occupied) + len(self._free) + len(self._lost) == self._rules.slots
        left: dict[int, int] = {}
        runs = [run for run in self._runs if run is not None]
        for bundle in [bundle for _, bundle in self._waiting] + [run.bundle for run in runs]:
            left[bundle.bundle] = left.get(bundle.bundle, 0) + 1
        assert left == {bundle.bundle: bundle.left for bundle in self._bundles.values()}
        assert sum(run.weight for run in runs) <= self._area <= self._rules.area_bytes
        keys = [(task.row, task.dispatch) for task, _ in self._waiting]
        keys += [(run.task.row, run.task.dispatch) for run in runs]
        assert len(keys) == len(set(keys))
        assert self._memory >= 0
        assert self._cores >= 0
        self._outbox.check()

    @property
    def busy(self) -> bool:
        """Whether tasks run."""
        return self._running > 0

    # --- The broker ---

    def _on_message(self, message: Message) -> None:
        self._session.heard_at = self._now
        match message:
            case messages.Welcome():
                if self._session.welcome(message.session):
                    self._resend()
            case messages.WhoAreYou():
                # While a Hello is on its way, this answers something older.
                if not self._session.greeting:
                    self._greet()
            case messages.Refused():
                self._on_refused(message)
            case _:
                handler = self._message_handlers.get(type(message))
                if handler is None or not self._session.token or message.session != self._session.token:  # type: ignore[union-attr]
                    self._note("info", "message.void", type=type(message).__name__)
                else:
                    handler(message)

    def _on_connected(self, _event: events.Connected) -> None:
        self._session.connect()
        self._session.heard_at = self._now
        self._greet()

    def _on_disconnected(self, _event: events.Disconnected) -> None:
        self._session.disconnect()

    def _on_unsent(self, _event: events.Unsent) -> None:
        self._session.lose(self._now)

    def _on_refused(self, message: messages.Refused) -> None:
        self._note("error" if message.fatal else "warning", "worker.refused", reason=message.reason)
        self._session.lose(self._now)
        if message.fatal:
            self._refused = True
            self._on_stop_asked(events.StopAsked(kill=False, wait_s=0.0))

    def _greet(self) -> None:
        rules = self._rules
        self._told = (self._slots, self._credit())
        self._session.greet(self._now)
        self._out.append(
            Send(
                WorkerHello(
                    worker=self._identity.worker,
                    replaces=self._identity.replaces,
                    version=self._identity.version,
                    host=self._identity.host,
                    pid=self._identity.pid,
                    slots=self._told[0],
                    credit=self._told[1],
                    cores=rules.cores,
                    memory=rules.memory,
                    seconds=0.0,
                    confirms=rules.confirms,
                    inventory=tuple(dict.fromkeys((*self._bundles, *self._outbox.bundles()))),
                )
            )
        )

    def _resend(self) -> None:
        """Send all that is not committed, in its order: the other side may never have seen it, and duplicates are harmless."""
        for kept in self._outbox.kept():
            self._send_result(kept)
        for run in self._runs:
            if run is not None:
                run.told = False
        if self._tick_at != inf:
            self._tick_at = self._now

    def _on_new_epoch(self, _message: messages.NewEpoch) -> None:
        self._resend()

    def _on_committed(self, message: messages.Committed) -> None:
        if message.worker == self._identity.worker:
            size = self._outbox.commit(message.sequences)
            if size:
                self._area -= size
                self._out.append(events.Release(size))

    # --- What comes in ---

    def _on_assign(self, message: Assign) -> None:
        at = 0
        for header in message.bundles:
            body = message.body[at : at + header.size]
            at += header.size
            if header.bundle not in self._bundles and header.bundle not in self._recent:
                self._take(header.bundle, body)
        if self._rules.confirms:
            bundles = tuple(header.bundle for header in message.bundles)
            self._send(Received(session=self._session.token, worker=self._identity.worker, bundles=bundles))

    def _take(self, number: int, body: bytes) -> None:
        try:
            cwd, tasks = unpack_bundle(body)
        except WireError as exc:
            self._note("warning", "bundle.malformed", bundle=number, error=str(exc))
            tasks = []
        if not tasks:
            self._close(number)
            return
        bundle = self._bundles[number] = Bundle(number, cwd, len(tasks), self._now)
        see = self._prefetch.see
        for task in tasks:
            see(task)
            self._waiting.append((task, bundle))
        if self._draining:
            self._hand_back(len(self._waiting), "drain")

    def _on_recall(self, message: messages.Recall) -> None:
        """Hand back what would be started last, but nothing that has only just come."""
        fresh: list[tuple[Task, Bundle]] = []
        left = message.tasks
        while left and self._waiting:
            task, bundle = self._waiting.pop()
            if self._now - bundle.received_at < 0.9 * limits.RECALL_AFTER_S:
                fresh.append((task, bundle))
            else:
                self._drop(task, bundle, OutcomeKind.HANDED_BACK, "recall")
                left -= 1
        self._waiting.extend(reversed(fresh))

    def _on_cancel(self, message: messages.Cancel) -> None:
        if message.worker != self._identity.worker:
            return
        cancelled = set(message.tasks)
        kept = [(task, bundle) for task, bundle in self._waiting if (task.row, task.dispatch) not in cancelled]
        if len(kept) < len(self._waiting):
            dropped = [(task, bundle) for task, bundle in self._waiting if (task.row, task.dispatch) in cancelled]
            self._waiting = deque(kept)
            for task, bundle in dropped:
                self._drop(task, bundle, OutcomeKind.CANCELLED, "")
        for slot, run in enumerate(self._runs):
            if run is not None and (run.task.row, run.task.dispatch) in cancelled:
                self._stop(slot, run, "cancel")

    def _hand_back(self, count: int, reason: str) -> None:
        for _ in range(min(count, len(self._waiting))):
            self._drop(*self._waiting.pop(), OutcomeKind.HANDED_BACK, reason)

    def _drop(self, task: Task, bundle: Bundle, kind: OutcomeKind, reason: str) -> None:
        """End a dispatch that never ran. It is not recorded: the loss of the worker says the same of it."""
        outcome = Outcome(task.row, task.dispatch, int(kind), 0, reason, 0.0, 0.0, 0.0, 0.0, 0, b"", b"", b"")
        self._gather(self._pack(outcome), bundle, 0)

    def _gather(self, packed: bytes, bundle: Bundle, recorded: int) -> None:
        for kept in self._outbox.add(packed, recorded):
            self._send_result(kept)
        bundle.left -= 1
        if not bundle.left:
            del self._bundles[bundle.bundle]
            self._close(bundle.bundle)

    def _close(self, bundle: int) -> None:
        self._outbox.close(bundle)
        self._recent.add(bundle)
        self._recent_order.append(bundle)
        if len(self._recent_order) > _RECENT_MAX:
            self._recent.discard(self._recent_order.popleft())

    # --- Slots ---

    @property
    def _slots(self) -> int:
        return self._rules.slots - len(self._lost)

    @property
    def _running(self) -> int:
        return self._slots - len(self._free)

    def _start(self) -> None:
        """Fill free slots from the front of the queue, as far as the map, the host and the demands allow."""
        if self._outbox.unacknowledged >= UNACKNOWLEDGED_MAX or self._now < self._rest.until:
            return
        idle = self._slots - self._rest.usable
        while self._waiting and len(self._free) > idle:
            task, bundle = self._waiting[0]
            detail = task.detail
            if detail is not None and not self._fits(detail):
                return
            command = self._command(task, detail)
            weight = _OUTCOME_BYTES_MAX + RECORD_BYTES
            if command is not task.args and command != task.args:
                weight += len(command)
            if self._area + weight > self._rules.area_bytes:
                return
            self._waiting.popleft()
            if reason := _never_runs(command):
                self._drop(task, bundle, OutcomeKind.REJECTED, reason)
                continue
            slot = self._free.pop()
            self._area += weight
            due_at = self._now + self._rules.task_timeout_s if self._rules.task_timeout_s else inf
            if detail is not None:
                due_at = self._demand(detail, due_at)
            self._due_at = min(self._due_at, due_at)
            self._runs[slot] = Run(task, bundle, command, self._now, due_at, weight)
            self._out.append(Spawn(slot, task, bundle.bundle, bundle.cwd, command))
        if self._tick_at == inf and self._running:
            self._tick_at = self._now + _TICK_S

    def _command(self, task: Task, detail: Detail | None) -> bytes:
        if detail is None or not detail.template:
            return self._expand(task.args)
        expand = self._templates.get(detail.template)
        if expand is None:
            if len(self._templates) >= _TEMPLATES_MAX:
                self._templates.clear()
            expand = self._templates[detail.template] = compile_template(detail.template)
        return expand(task.args)

    def _fits(self, detail: Detail) -> bool:
        """Whether it may run beside what runs. One that asks for more than there is runs alone: the broker judges that."""
        if not self._running:
            return True
        memory = self._rules.memory
        return self._cores + detail.cores <= self._rules.cores and (
            not memory or self._memory + detail.memory <= memory
        )

    def _demand(self, detail: Detail, due_at: float) -> float:
        self._cores += detail.cores
        self._memory += detail.memory
        return min(due_at, self._now + detail.timeout) if detail.timeout > 0 else due_at

    def _on_exited(self, event: events.Exited) -> None:
        for exit_ in event.exits:
            run = self._runs[exit_.slot]
            assert run is not None
            run.state = after(run.state, Step.EXIT)
            if run.state == State.ENDED:
                self._conclude(exit_.slot, run, exit_)
                continue
            run.exit = exit_
            if self._killing:  # what is left goes with the worker, at once
                run.state = after(run.state, Step.GONE)
                self._conclude(exit_.slot, run, exit_)
            else:
                self._out.append(Look(exit_.slot))

    def _on_left(self, event: events.Left) -> None:
        run = self._runs[event.slot]
        if run is None or run.exit is None or event.processes:
            return  # ordinary: it was asked about twice; or the next signal is due later
        run.state = after(run.state, Step.GONE)
        self._conclude(event.slot, run, run.exit)

    def _conclude(self, slot: int, run: Run, exit_: Exit) -> None:
        task = run.task
        kind = run.kind() if run.reason else OutcomeKind.FINISHED
        duration_s = exit_.ended_at - exit_.started_at
        outcome = Outcome(
            task.row,
            task.dispatch,
            int(kind),
            exit_.status,
            run.reason,
            exit_.started_at + self._offset_s,
            duration_s,
            exit_.cpu_user,
            exit_.cpu_system,
            exit_.memory_max,
            b"" if run.command == task.args else run.command,
            b"",
            b"",
        )
        if not run.reason:
            self._prefetch.finish(duration_s, self._now)
        self._free_slot(slot, run)
        self._free.append(slot)
        self._record(slot, run, outcome)

    def _record(self, slot: int, run: Run, outcome: Outcome) -> None:
        packed = self._pack(outcome)
        self._out.append(Record(slot, run.bundle.bundle, packed))
        self._area += len(packed) + RECORD_BYTES
        self._gather(packed, run.bundle, len(packed) + RECORD_BYTES)

    def _free_slot(self, slot: int, run: Run) -> None:
        self._runs[slot] = None
        self._area -= run.weight
        detail = run.task.detail
        if detail is not None:
            self._cores -= detail.cores
            self._memory -= detail.memory

    def _on_spawn_failed(self, event: events.SpawnFailed) -> None:
        run = self._runs[event.slot]
        assert run is not None
        run.state = after(run.state, Step.DROP)
        self._free_slot(event.slot, run)
        self._free.append(event.slot)
        reason = f"spawn:{errorcode.get(event.error, event.error)}"
        if event.error not in _HOST_FAULTS:
            self._drop(run.task, run.bundle, OutcomeKind.REJECTED, reason)
            return
        self._drop(run.task, run.bundle, OutcomeKind.HANDED_BACK, reason)
        self._rest.fault(self._now, self._running)
        self._hand_back(len(self._waiting) - self._rest.usable, reason)
        self._offer_at = self._now
        self._note("warning", "worker.resting", reason=reason, slots=self._rest.usable)

    # --- Ending tasks before their time ---

    def _on_due(self) -> None:
        for slot, run in enumerate(self._runs):
            if run is None or run.due_at > self._now:
                continue
            if run.state == State.RUNNING:
                self._stop(slot, run, "timeout")
            elif run.out_of_signals:
                self._give_up(slot, run)
            else:
                self._out.append(Signal(slot, run.next_signal(self._now, self._rules.signalwait_s, kill=False)))
                if run.exit is not None:
                    self._out.append(Look(slot))
        self._due_at = min((run.due_at for run in self._runs if run is not None), default=inf)

    def _stop(self, slot: int, run: Run, reason: str, *, kill: bool = False) -> None:
        """Begin to stop a run, or go straight to SIGKILL; a run that is being stopped already goes on as it does."""
        first = run.state == State.RUNNING
        run.stop(reason)
        if first or (kill and not run.out_of_signals):
            self._out.append(Signal(slot, run.next_signal(self._now, self._rules.signalwait_s, kill=kill)))
            self._due_at = min(self._due_at, run.due_at)

    def _give_up(self, slot: int, run: Run) -> None:
        """Neither signal ended it: it is recorded as failed, and the slot is lost with it."""
        run.state = after(run.state, Step.SURVIVE)
        self._note("error", "task.unkillable", row=run.task.row)
        exit_ = run.exit or Exit(slot, 0, run.started_at, self._now, 0.0, 0.0, 0)
        run.reason = "unkillable"
        task = run.task
        start = exit_.started_at + self._offset_s
        duration_s = exit_.ended_at - exit_.started_at
        command = b"" if run.command == task.args else run.command
        kind = int(OutcomeKind.FINISHED)
        outcome = Outcome(
            task.row, task.dispatch, kind, exit_.status, run.reason, start, duration_s, 0.0, 0.0, 0, command, b"", b""
        )
        self._free_slot(slot, run)
        self._lost.add(slot)
        self._rest.lose_slot()
        self._out.append(events.Abandon(slot))
        self._record(slot, run, outcome)
        self._offer_at = self._now
        if not self._slots:
            self._on_drain_asked(events.DrainAsked(None))

    # --- Ending the worker ---

    def _on_drain(self, message: messages.Drain) -> None:
        if message.worker not in (b"", self._identity.worker):
            return
        if message.now:
            self._on_stop_asked(events.StopAsked(kill=False, wait_s=_STOP_WAIT_S))
        else:
            self._on_drain_asked(events.DrainAsked(None))

    def _on_drain_asked(self, event: events.DrainAsked) -> None:
        self._draining = True
        self._offer_at = self._now
        if event.grace_s is not None:
            self._drain_until = min(self._drain_until, self._now + event.grace_s)
        self._hand_back(len(self._waiting), "drain")

    def _on_stop_asked(self, event: events.StopAsked) -> None:
        self._on_drain_asked(events.DrainAsked(None))
        self._drain_until = inf
        self._killing = self._killing or event.kill
        self._leave_wait_s = min(self._leave_wait_s, event.wait_s)
        self._leave_at = inf
        for slot, run in enumerate(self._runs):
            if run is None:
                continue
            self._stop(slot, run, "halt", kill=event.kill)
            if event.kill and run.exit is not None:
                run.state = after(run.state, Step.GONE)
                self._conclude(slot, run, run.exit)

    def _leave(self) -> None:
        """Go, if nothing is left to do or to wait for."""
        if self._running:
            return
        if self._leave_at == inf:
            self._leave_at = self._now + self._leave_wait_s
        if self._outbox.empty or self._now >= self._leave_at:
            if self._session.token:
                self._send(messages.Bye(session=self._session.token, reason="drained"))
            self._out.append(events.Leave(self._refused))
            self._gone = True

    # --- After every event ---

    def _settle(self) -> list[Effect]:
        if self._waiting and self._free and not self._draining:
            self._start()
        if self._outbox.has_pending:
            self._flush()
        if self._now >= self._offer_at and self._session.token:
            self._offer()
        if self._draining and not self._gone:
            self._leave()
        out, self._out = self._out, []
        return out

    def _flush(self) -> None:
        """Send what is pending at once when little is left to start, else when it has company or waited long enough."""
        if self._flush_at == inf:
            self._flush_at = self._now + min(self._rules.bundlewait_s, _RESULT_S)
        if not self._session.token:
            return
        waiting = len(self._waiting)
        few = 2 * waiting <= self._told[1] - self._slots and self._now >= self._sent_at + _RESULT_GAP_S
        if not waiting or few or self._now >= self._flush_at:
            self._flush_at = inf
            self._sent_at = self._now
            for kept in self._outbox.cut():
                self._send_result(kept)

    def _offer(self) -> None:
        """Tell how much we can take, when that changed by more than a fifth."""
        self._offer_at = self._now + _OFFER_S
        slots, credit = self._slots, self._credit()
        told_slots, told = self._told
        if slots == told_slots and (credit == told or (credit and 5 * abs(credit - told) <= told)):
            return
        self._told = (slots, credit)
        self._send(
            messages.Ready(
                session=self._session.token,
                slots=slots,
                credit=credit,
                cores=self._rules.cores,
                memory=self._rules.memory,
                seconds=0.0,
            )
        )

    def _credit(self) -> int:
        if self._draining:
            return 0
        usable = self._rest.usable
        ahead = self._prefetch.tasks(self._now) if usable == self._slots else usable
        return min(limits.CREDIT_MAX, usable + ahead)

    def _on_tick(self) -> None:
        """Tell which tasks have been running for long."""
        since = self._now - _LONG_S
        runs = [run for run in self._runs if run is not None]
        long = [run for run in runs if not run.told and run.started_at <= since]
        if long and self._session.token:
            started = [Started(run.task.row, run.task.dispatch, run.started_at + self._offset_s) for run in long]
            for run in long:
                run.told = True
            for at in range(0, len(started), limits.IDS_MAX):
                body = pack_started(started[at : at + limits.IDS_MAX])
                self._send(Running(session=self._session.token, worker=self._identity.worker, body=body))
        self._tick_at = self._now + _TICK_S if runs else inf

    def _on_clock_set(self, event: events.ClockSet) -> None:
        self._offset_s = event.offset_s

    def _send_result(self, kept: Kept) -> None:
        if not self._session.token:
            return  # kept: sent after the next Welcome
        self._send(
            Result(
                session=self._session.token,
                worker=self._identity.worker,
                sequence=kept.sequence,
                oldest=self._outbox.oldest,
                tasks=kept.tasks,
                closed=kept.closed,
                body=kept.body,
            )
        )

    def _send(self, message: Message) -> None:
        self._session.said_at = self._now
        self._out.append(Send(message))

    def _note(self, level: str, event: str, **keys: object) -> None:
        self._out.append(Note(level, event, keys))


def _never_runs(command: bytes) -> str:
    """Return why a command line can never run, or ""."""
    if b"\0" in command:
        return "NUL"
    if len(command) > COMMAND_BYTES_MAX:
        return "too long"
    return ""
