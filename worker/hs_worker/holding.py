"""What a worker holds: tasks that wait, tasks that run, outcomes on their way out. No IO.

    take ──▶ waiting ──start: Spawn──▶ slot ──exited: Record──▶ outbox
                └── recall, cancel, drain ───────────────────────▶┘

Rules, checked by `check`, beside those of slots and outbox:
1. A bundle is known as long as one of its tasks is waiting or in a slot; `left` counts them.
2. No dispatch is held twice.
3. While paused, no limit of a running task ends.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from errno import EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC, errorcode
from math import inf
from signal import SIGCONT, SIGSTOP

import msgpack

from hs_common import limits
from hs_common.errors import ExpansionError
from hs_common.tasks import Bundle as Contents
from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Task
from hs_worker.events import Abandon, Effect, Exit, Look, Note, Record, Signal, Spawn
from hs_worker.outbox import Outbox
from hs_worker.passing import LOOK_MAX, Passing
from hs_worker.pause import Pause
from hs_worker.prefetch import Prefetch
from hs_worker.rest import Rest
from hs_worker.run import Bundle, Run
from hs_worker.settings import RECORD_BYTES, Rules
from hs_worker.slots import Slots
from hs_worker.states import State, Step, after
from hs_worker.template import Templates, never_runs, reason_of

UNACKNOWLEDGED_MAX = 10_000
"""Outcomes that are not committed. Then nothing is started until the scheduler answers."""
_OUTCOME_BYTES_MAX = 240
"""Of a packed outcome without its command."""
_EXPANDED_BYTES = 4 * limits.KIB
"""Set aside for a command that is not known yet; one that turns out longer needs room then."""
EXPANSION_MAX_S = 300.0
"""In which a task without a limit of its own has to be expanded."""
_RECENT_MAX = 20_000
"""Bundles that are remembered after their end, so that a repeated Assign runs nothing twice."""
_LONG_S = 1.0
"""A task that runs so long is told about."""
_HOST_FAULTS = frozenset({EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT})


class Holding:
    """Tasks and outcomes of one worker.

    Args:
        rules: Limits and options.
        recovered: (bundle, packed outcome) of what the predecessor left in the map, oldest first.
        out: Where effects are appended.

    """

    def __init__(self, rules: Rules, recovered: Sequence[tuple[int, bytes]], out: list[Effect]) -> None:
        self._rules = rules
        self._out = out
        self.outbox = Outbox()
        self.prefetch = Prefetch(rules.slots)
        self.rest = Rest(rules.slots)
        self.slots = Slots(rules)
        self.passing = Passing()
        self.pause = Pause()
        self.waiting: deque[tuple[Task, Bundle]] = deque()
        self.offset_s = 0.0
        """Wall clock minus monotonic time."""
        self._templates = Templates(rules.template)
        self._weight = _OUTCOME_BYTES_MAX + RECORD_BYTES + 2 * rules.path_bytes
        self._pack: Callable[[Outcome], bytes] = msgpack.Packer().pack
        self._bundles: dict[int, Bundle] = {}
        self._recent: set[int] = set()
        self._recent_order: deque[int] = deque()
        for bundle, packed in recovered:
            self.slots.area += len(packed) + RECORD_BYTES
            self.outbox.add(packed, len(packed) + RECORD_BYTES)
            if bundle not in self._recent:
                self._close(bundle)

    def knows(self, bundle: int) -> bool:
        """Whether a bundle is held, or was until lately."""
        return bundle in self._bundles or bundle in self._recent

    def inventory(self) -> tuple[int, ...]:
        """Return the bundles with tasks here, or with outcomes that are not committed."""
        return tuple(dict.fromkeys((*self._bundles, *self.outbox.bundles())))

    # --- In and back ---

    def take(self, number: int, contents: Contents, now: float) -> None:
        """Queue the tasks of a bundle that is not known yet."""
        if not contents.tasks:
            self._close(number)
            return
        bundle = self._bundles[number] = Bundle(number, contents.cwd, len(contents.tasks), now)
        for task in contents.tasks:
            self.prefetch.see(task)
            self.waiting.append((task, bundle))

    def hand_back(self, count: int, reason: str) -> None:
        """Give back so many of those that would be started last."""
        for _ in range(min(count, len(self.waiting))):
            self._drop(*self.waiting.pop(), OutcomeKind.HANDED_BACK, reason)

    def recall(self, count: int, now: float) -> None:
        """Give back up to so many of those that would be started last, but nothing that has only just come."""
        fresh: list[tuple[Task, Bundle]] = []
        while count and self.waiting:
            task, bundle = self.waiting.pop()
            # The broker's second began when it sent them.
            if now - bundle.received_at < 0.9 * limits.RECALL_AFTER_S:
                fresh.append((task, bundle))
            else:
                self._drop(task, bundle, OutcomeKind.HANDED_BACK, "recall")
                count -= 1
        self.waiting.extend(reversed(fresh))

    def cancel(self, tasks: Collection[tuple[int, int]], now: float) -> None:
        """Forget or stop these (row, dispatch)."""
        waiting = list(self.waiting)
        self.waiting.clear()
        for task, bundle in waiting:
            if (task.row, task.dispatch) in tasks:
                self._drop(task, bundle, OutcomeKind.CANCELLED, "")
            else:
                self.waiting.append((task, bundle))
        for slot, run in self.slots.runs():
            if (run.task.row, run.task.dispatch) in tasks:
                self._stop(slot, run, "cancel", now)

    # --- Starting ---

    def start(self, now: float) -> None:
        """Fill free slots from the front of the queue, as far as the map, the host and the demands allow."""
        if self.outbox.unacknowledged >= UNACKNOWLEDGED_MAX or now < self.rest.until or self.pause.paused:
            return
        idle = self.slots.count - self.rest.usable
        while self.waiting and self.slots.free > idle:
            task, bundle = self.waiting[0]
            detail = task.detail
            if detail is not None and not self.slots.has_room(detail):
                self._pass(task, now, idle)
                return
            if not self._begin(task, bundle, now):
                return
            self.waiting.popleft()
        self.passing.blocked = 0

    def _begin(self, task: Task, bundle: Bundle, now: float) -> bool:
        """Start a task, or reject it; return whether the map had space for it."""
        detail = task.detail
        questions: tuple[bytes, ...] = ()
        try:
            if detail is None and self._templates.plain is not None:
                command = self._templates.plain(task.args)
            else:
                command, questions = self._templates.expand(task, self.slots.next)
        except ExpansionError as exc:
            self._drop(task, bundle, OutcomeKind.REJECTED, reason_of(exc))
            return True
        weight = self._weight
        if questions:
            weight += _EXPANDED_BYTES
        elif command != task.args:
            weight += len(command)
        if not self.slots.has_space(weight):
            return False
        if reason := never_runs(task.args if questions else command):
            self._drop(task, bundle, OutcomeKind.REJECTED, reason)
            return True
        run = Run(task, bundle, command, now, self._limit(detail, now), weight)
        if questions:
            run.expand(now + EXPANSION_MAX_S)
        slot = self.slots.occupy(run)
        self._out.append(Spawn(slot, task, bundle.bundle, bundle.cwd, command, questions))
        return True

    def _pass(self, first: Task, now: float, idle: int) -> None:
        """Let smaller tasks pass the first one, which has to wait for others to end, as long as that is fair."""
        self.passing.wait(first, now)
        looked: list[tuple[Task, Bundle]] = [self.waiting.popleft()]
        while self.waiting and len(looked) < LOOK_MAX and self.slots.free > idle and self.passing.fair(now):
            task, bundle = self.waiting.popleft()
            fits = task.detail is None or self.slots.has_room(task.detail)
            if fits and self._begin(task, bundle, now):
                self.passing.passed += 1
            else:
                looked.append((task, bundle))
        self.passing.blocked = len(looked)
        self.waiting.extendleft(reversed(looked))

    def spawn_failed(self, slot: int, error: int, now: float) -> None:
        """Take back what could not be started: the host's fault costs the task nothing, its own ends it."""
        run = self._run(slot)
        run.state = after(run.state, Step.DROP)
        self.slots.vacate(slot, run)
        reason = f"spawn:{errorcode.get(error, error)}"
        if error not in _HOST_FAULTS:
            self._drop(run.task, run.bundle, OutcomeKind.REJECTED, reason)
            return
        self._drop(run.task, run.bundle, OutcomeKind.HANDED_BACK, reason)
        self.rest.fault(now, self.slots.running)
        self.hand_back(len(self.waiting) - self.rest.usable, reason)
        self._out.append(Note("warning", "worker.resting", {"reason": reason, "slots": self.rest.usable}))

    # --- Ending ---

    def exited(self, exits: Iterable[Exit], now: float, *, killing: bool) -> None:
        """First processes ended. `killing`: what is left of stopped ones goes with the worker, at once."""
        for exit_ in exits:
            slot = exit_.slot
            run = self._run(slot)
            run.state = after(run.state, Step.EXIT)
            if exit_.output is not None and not exit_.output.whole:
                run.reason = run.reason or "output"
            if run.state == State.ENDED:
                self.prefetch.finish(exit_.ended_at - exit_.started_at, now)
                self._conclude(slot, run, exit_)
                continue
            if run.state == State.WAITING:
                self._expanded(slot, run, exit_, now)
                continue
            run.exit = exit_
            if killing:
                self._all_gone(slot, run, exit_)
            else:
                self._out.append(Look(slot))

    def left(self, slot: int, processes: int) -> None:
        """So much is left of a stopped task."""
        run = self.slots[slot]
        if run is not None and run.exit is not None and not processes:
            self._all_gone(slot, run, run.exit)

    def due(self, now: float) -> None:
        """Enforce the limits, and send the next signals."""
        for slot, run in self.slots.due(now):
            if run.has_process:
                self._stop(slot, run, "timeout", now)
            elif run.out_of_signals:
                self._give_up(slot, run, now)
            else:
                self._signal(slot, run, now, kill=False)
                if run.exit is not None:
                    self._out.append(Look(slot))
        self.slots.rearm()

    def stop_all(self, now: float, *, kill: bool) -> None:
        """Stop what runs, to hand it back; `kill`: with SIGKILL, and what is left after its first process is not waited for."""
        for slot, run in self.slots.runs():
            self._stop(slot, run, "halt", now, kill=kill)
            if kill and run.exit is not None:
                self._all_gone(slot, run, run.exit)

    def hold(self, now: float) -> None:
        """Stop what runs where it is; limits stand still. What is being ended already goes on being ended."""
        running = [(slot, run) for slot, run in self.slots.runs() if run.has_process]
        if self.pause.begin([run for _, run in running], now):
            self._out.extend(Signal(slot, SIGSTOP) for slot, _ in running)
            self.slots.rearm()

    def go_on(self, now: float) -> None:
        """Let go on what was held."""
        held = self.pause.end(now)
        self._out.extend(Signal(slot, SIGCONT) for slot, run in self.slots.runs() if run in held)
        self.slots.rearm()

    # --- Telling ---

    def long_running(self, now: float) -> list[Started]:
        """Return those that have been running for long and were not told yet."""
        since = now - _LONG_S
        found = [run for _, run in self.slots.runs() if not run.told and run.started_at <= since]
        for run in found:
            run.told = True
        return [Started(run.task.row, run.task.dispatch, run.started_at + self.offset_s) for run in found]

    def tell_again(self) -> None:
        """Whoever was told what runs may have forgotten."""
        for _, run in self.slots.runs():
            run.told = False

    def commit(self, sequences: Iterable[int]) -> int:
        """Forget these Results; return how many bytes of the map are free again."""
        size = self.outbox.commit(sequences)
        self.slots.area -= size
        return size

    def check(self) -> None:
        """Assert the rules."""
        left: dict[int, int] = {}
        runs = [run for _, run in self.slots.runs()]
        for bundle in [bundle for _, bundle in self.waiting] + [run.bundle for run in runs]:
            left[bundle.bundle] = left.get(bundle.bundle, 0) + 1
        assert left == {bundle.bundle: bundle.left for bundle in self._bundles.values()}
        keys = [(task.row, task.dispatch) for task, _ in self.waiting]
        keys += [(run.task.row, run.task.dispatch) for run in runs]
        assert len(keys) == len(set(keys))
        self.pause.check(runs)
        self.slots.check()
        self.outbox.check()

    # --- One dispatch ---

    def _run(self, slot: int) -> Run:
        run = self.slots[slot]
        assert run is not None
        return run

    def _limit(self, detail: Detail | None, now: float) -> float:
        limit_s = self._rules.task_timeout_s or inf
        if detail is not None and detail.timeout > 0:
            limit_s = min(limit_s, detail.timeout)
        return now + limit_s

    def _stop(self, slot: int, run: Run, reason: str, now: float, *, kill: bool = False) -> None:
        """Begin to stop a run, or go straight to SIGKILL; one that is being stopped already goes on as it does."""
        first = run.has_process
        run.stop(reason)
        if first or (kill and not run.out_of_signals):
            self._signal(slot, run, now, kill=kill)

    def _signal(self, slot: int, run: Run, now: float, *, kill: bool) -> None:
        self._out.append(Signal(slot, run.next_signal(now, self._rules.signalwait_s, kill=kill)))
        if self.pause.release(run):
            self._out.append(Signal(slot, SIGCONT))  # it cannot act on a signal while it is stopped
        self.slots.due_at = min(self.slots.due_at, run.due_at)

    def _expanded(self, slot: int, run: Run, exit_: Exit, now: float) -> None:
        """Start a run whose command is known by now, or end it."""
        task, bundle = run.task, run.bundle
        try:
            command = self._templates.finish(task, slot, exit_.status, exit_.answer)
        except ExpansionError as exc:
            reason = reason_of(exc)
        else:
            reason = never_runs(command)
        if reason:
            run.state = after(run.state, Step.DROP)
            self._conclude_unstarted(slot, run, OutcomeKind.REJECTED, reason)
        elif self.pause.paused:
            # Nothing starts now: it comes back when there is somebody who waits for it.
            run.state = after(run.state, Step.DROP)
            self._conclude_unstarted(slot, run, OutcomeKind.HANDED_BACK, "pause")
        elif self.slots.reweigh(run, self._weight + len(command)):
            run.start(command, now)
            self._out.append(Spawn(slot, task, bundle.bundle, bundle.cwd, command))
        else:
            # A very long line beside others: it comes back when there is more room.
            run.state = after(run.state, Step.DROP)
            self._conclude_unstarted(slot, run, OutcomeKind.HANDED_BACK, "room")

    def _all_gone(self, slot: int, run: Run, exit_: Exit) -> None:
        run.state = after(run.state, Step.GONE)
        self._conclude(slot, run, exit_)

    def _give_up(self, slot: int, run: Run, now: float) -> None:
        """Neither signal ended it: it is recorded as failed, and the slot is lost with it."""
        run.state = after(run.state, Step.SURVIVE)
        run.reason = "unkillable"
        self._out.append(Note("error", "task.unkillable", {"row": run.task.row}))
        self._out.append(Abandon(slot))
        self.rest.lose_slot()
        self._conclude(slot, run, run.exit or Exit(slot, 0, run.started_at, now, 0.0, 0.0, 0))

    def _conclude(self, slot: int, run: Run, exit_: Exit) -> None:
        if run.then_due_at is not None:
            kind = run.kind()
            reason = f"template: {run.reason} while it was expanded" if kind == OutcomeKind.REJECTED else run.reason
            self._conclude_unstarted(slot, run, kind, reason)
            return
        task = run.task
        outpath, errpath = (b"", b"") if exit_.output is None else exit_.output[:2]
        outcome = (  # an Outcome, but for the cost of making it one
            task.row,
            task.dispatch,
            int(run.kind()),
            exit_.status,
            run.reason,
            exit_.started_at + self.offset_s,
            exit_.ended_at - exit_.started_at,
            exit_.cpu_user,
            exit_.cpu_system,
            exit_.memory_max,
            b"" if run.command == task.args else run.command,
            outpath,
            errpath,
        )
        self._record(slot, run, self._pack(Outcome._make(outcome)))

    def _conclude_unstarted(self, slot: int, run: Run, kind: OutcomeKind, reason: str) -> None:
        """End a run whose command never came to be known."""
        self._record(slot, run, self._pack(_unstarted(run.task, kind, reason)))

    def _record(self, slot: int, run: Run, packed: bytes) -> None:
        if self.pause.paused:
            self.pause.release(run)
        self.slots.vacate(slot, run, lost=run.state == State.LOST)
        self.slots.area += len(packed) + RECORD_BYTES
        self._out.append(Record(slot, run.bundle.bundle, packed))
        self._gather(packed, run.bundle, len(packed) + RECORD_BYTES)

    def _drop(self, task: Task, bundle: Bundle, kind: OutcomeKind, reason: str) -> None:
        """End a dispatch that never ran. It is not recorded: the loss of the worker says the same of it."""
        self._gather(self._pack(_unstarted(task, kind, reason)), bundle, 0)

    def _gather(self, packed: bytes, bundle: Bundle, recorded: int) -> None:
        self.outbox.add(packed, recorded)
        bundle.left -= 1
        if not bundle.left:
            del self._bundles[bundle.bundle]
            self._close(bundle.bundle)

    def _close(self, bundle: int) -> None:
        self.outbox.close(bundle)
        self._recent.add(bundle)
        self._recent_order.append(bundle)
        if len(self._recent_order) > _RECENT_MAX:
            self._recent.discard(self._recent_order.popleft())


def _unstarted(task: Task, kind: OutcomeKind, reason: str) -> Outcome:
    return Outcome(task.row, task.dispatch, int(kind), 0, reason, 0.0, 0.0, 0.0, 0.0, 0, b"", b"", b"")
