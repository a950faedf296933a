"""What a worker holds: tasks that wait, and tasks that run. No IO.

    take ──▶ waiting ──start: Spawn──▶ slot ──exited──▶ outcomes
                └── recall, cancel, drain ─────────────▶┘

Rules, checked by `check`, beside those of its parts:
1. No dispatch is held twice.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from errno import EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC, errorcode
from math import inf
from signal import SIGTERM

from hs_common import limits
from hs_common.errors import ExpansionError
from hs_common.tasks import Bundle as Contents
from hs_common.tasks import Detail, OutcomeKind, Started, Task
from hs_common.tuples import maker
from hs_worker.events import Effect, Exit, Note, Spawn
from hs_worker.settings import RECORD_BYTES, Rules
from hs_worker.tasks.end import End
from hs_worker.tasks.outcomes import Outcomes
from hs_worker.tasks.passing import LOOK_MAX, Passing
from hs_worker.tasks.pause import Pause
from hs_worker.tasks.prefetch import Prefetch
from hs_worker.tasks.rest import Rest
from hs_worker.tasks.run import Bundle, Run
from hs_worker.tasks.slots import Slots
from hs_worker.tasks.states import State, Step, after
from hs_worker.tasks.stopping import Stopping
from hs_worker.tasks.template import Templates, never_runs

UNACKNOWLEDGED_MAX = 10_000
"""Outcomes that are not committed. Then nothing is started until the scheduler answers."""
_OUTCOME_BYTES_MAX = 240
"""Of a packed outcome without its command."""
_EXPANDED_BYTES = 4 * limits.KIB
"""Set aside for a command that is not known yet; one that turns out longer needs room then."""
EXPANSION_MAX_S = 300.0
"""In which a task without a limit of its own has to be expanded."""
_LONG_S = 1.0
"""A task that runs so long is told about."""
_SIGNAL_BITS = 0x7F
"""Of a wait status."""
_spawn = maker(Spawn)
_HOST_FAULTS = frozenset({EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC, EDQUOT})


class Holding:
    """Tasks of one worker.

    Args:
        rules: Limits and options.
        recovered: (bundle, packed outcome) of what the predecessor left in the map, oldest first.
        out: Where effects are appended.
        now: Monotonic seconds.

    """

    def __init__(self, rules: Rules, recovered: Sequence[tuple[int, bytes]], out: list[Effect], now: float) -> None:
        self._rules = rules
        self._out = out
        self.prefetch = Prefetch(rules.slots)
        self.rest = Rest(rules.slots)
        self.slots = Slots(rules)
        self.passing = Passing()
        self.pause = Pause()
        self.ending = False
        """Whether somebody else is ending us, and maybe our tasks as well."""
        self.unread = False
        """Whether what tasks said lies here for who does not read it: what each more of them said would come on top."""
        self.end = End(rules.ends_at, rules.margin_s, rules.stop_wait_s)
        self.outcomes = Outcomes(rules, self.slots, self.pause, recovered, out)
        if self.outcomes.crashed:
            self.rest.doubt(self.outcomes.crashed, now)
        self.outbox = self.outcomes.outbox
        self.judgement = self.outcomes.judgement
        self.stopping = Stopping(rules, self.slots, self.rest, self.pause, self.outcomes, out)
        self.waiting: deque[tuple[Task, Bundle]] = deque()
        self._templates = Templates(rules.template)
        self._weight = _OUTCOME_BYTES_MAX + RECORD_BYTES + 2 * rules.path_bytes

    # --- In and back ---

    def take(self, number: int, contents: Contents, now: float) -> None:
        """Queue the tasks of a bundle that is not known yet."""
        bundle = self.outcomes.expect(number, contents, now)
        for task in contents.tasks:
            self.prefetch.see(task)
            self.waiting.append((task, bundle))

    def hand_back(self, count: int, reason: str) -> None:
        """Give back so many of those that would be started last."""
        for _ in range(min(count, len(self.waiting))):
            self.outcomes.drop(*self.waiting.pop(), OutcomeKind.HANDED_BACK, reason)

    def hand_back_misfits(self, now: float) -> None:
        """Give back what waits and can no longer be started in the time that is left."""
        waiting = list(self.waiting)
        self.waiting.clear()
        for task, bundle in waiting:
            if self.end.fits(self._limit_s(task.detail), now):
                self.waiting.append((task, bundle))
            else:
                self.outcomes.drop(task, bundle, OutcomeKind.HANDED_BACK, "walltime")

    def recall(self, count: int, now: float) -> None:
        """Give back up to so many of those that would be started last, but nothing that has only just come."""
        fresh: list[tuple[Task, Bundle]] = []
        while count and self.waiting:
            task, bundle = self.waiting.pop()
            # The broker's second began when it sent them.
            if now - bundle.received_at < 0.9 * limits.RECALL_AFTER_S:
                fresh.append((task, bundle))
            else:
                self.outcomes.drop(task, bundle, OutcomeKind.HANDED_BACK, "recall")
                count -= 1
        self.waiting.extend(reversed(fresh))

    def cancel(self, tasks: Collection[tuple[int, int]], now: float) -> None:
        """Forget or stop these (row, dispatch)."""
        waiting = list(self.waiting)
        self.waiting.clear()
        for task, bundle in waiting:
            if (task.row, task.dispatch) in tasks:
                self.outcomes.drop(task, bundle, OutcomeKind.CANCELLED, "")
            else:
                self.waiting.append((task, bundle))
        self.stopping.cancel(tasks, now)

    # --- Starting ---

    def start(self, now: float) -> None:
        """Fill free slots from the front of the queue, as far as the map, the host and the demands allow."""
        if self.outbox.unacknowledged >= UNACKNOWLEDGED_MAX or now < self.rest.until:
            return
        if self.pause.paused or self.judgement.pending or self.unread:
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
        """Start a task, reject it or hand it back; return whether the map had space for it."""
        detail = task.detail
        if self.end.known and not self._fits_end(task, bundle, now):
            self.outcomes.drop(task, bundle, OutcomeKind.HANDED_BACK, "walltime")
            return True
        questions: tuple[bytes, ...] = ()
        try:
            if detail is None and self._templates.plain is not None:
                command = self._templates.plain(task.args)
            else:
                command, questions = self._templates.expand(task, self.slots.next)
        except ExpansionError as exc:
            self.outcomes.drop(task, bundle, OutcomeKind.REJECTED, exc.reason)
            return True
        weight = self._weight
        if questions:
            weight += _EXPANDED_BYTES
        elif command != task.args:
            weight += len(command)
        if not self.slots.has_space(weight):
            return False
        if reason := never_runs(task.args if questions else command):
            self.outcomes.drop(task, bundle, OutcomeKind.REJECTED, reason)
            return True
        run = Run(task, bundle, command, now, now + self._limit_s(detail), weight)
        if questions:
            run.expand(now + EXPANSION_MAX_S)
        slot = self.slots.occupy(run)
        self._out.append(_spawn((slot, task, bundle.bundle, bundle.cwd, command, questions)))
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
            self.outcomes.drop(run.task, run.bundle, OutcomeKind.REJECTED, reason)
            return
        self.outcomes.drop(run.task, run.bundle, OutcomeKind.HANDED_BACK, reason)
        if self.rest.fault(now, self.slots.running):
            seconds = round(self.rest.until - now, 1)
            self._out.append(Note("warning", "worker.resting", {"reason": reason, "seconds": seconds}))
        self.hand_back(len(self.waiting) - self.rest.usable, reason)

    # --- Ending ---

    def exited(self, exits: Iterable[Exit], now: float, *, killing: bool) -> None:
        """First processes ended. `killing`: what is left of stopped ones goes with the worker, at once."""
        for exit_ in exits:
            slot = exit_.slot
            run = self._run(slot)
            run.state = after(run.state, Step.EXIT)
            if self.ending and exit_.status & _SIGNAL_BITS == SIGTERM:
                run.reason = run.reason or "halt"  # whoever ended us ended it: that is no failure of its own
            if exit_.output is not None and not exit_.output.whole:
                run.reason = run.reason or "output"
            if run.state == State.ENDED:
                self.prefetch.finish(exit_.ended_at - exit_.started_at, now)
                if self.rest.doubted:
                    self.rest.acquit()
                self.outcomes.conclude(slot, run, exit_)
            elif run.state == State.WAITING:
                self._expanded(slot, run, exit_, now)
            else:
                self.stopping.exited(slot, run, exit_, killing=killing)

    def _expanded(self, slot: int, run: Run, exit_: Exit, now: float) -> None:
        """Start a run whose command is known by now, or end it."""
        task, bundle = run.task, run.bundle
        try:
            command = self._templates.finish(task, slot, exit_.status, exit_.answer)
        except ExpansionError as exc:
            reason = exc.reason
        else:
            reason = never_runs(command)
        if reason:
            run.state = after(run.state, Step.DROP)
            self.outcomes.conclude_unstarted(slot, run, exit_, OutcomeKind.REJECTED, reason)
        elif self.pause.paused:
            # Nothing starts now: it comes back when there is somebody who waits for it.
            run.state = after(run.state, Step.DROP)
            self.outcomes.conclude_unstarted(slot, run, exit_, OutcomeKind.HANDED_BACK, "pause")
        elif self.slots.reweigh(run, self._weight + len(command)):
            run.start(command, now)
            self._out.append(Spawn(slot, task, bundle.bundle, bundle.cwd, command))
        else:
            # A very long line beside others: it comes back when there is more room.
            run.state = after(run.state, Step.DROP)
            self.outcomes.conclude_unstarted(slot, run, exit_, OutcomeKind.HANDED_BACK, "room")

    # --- Telling ---

    def long_running(self, now: float) -> list[Started]:
        """Return those that have been running for long and were not told yet."""
        since = now - _LONG_S
        found = [run for _, run in self.slots.runs() if not run.told and run.started_at <= since]
        for run in found:
            run.told = True
        return [Started(run.task.row, run.task.dispatch, run.started_at + self.outcomes.offset_s) for run in found]

    def tell_again(self) -> None:
        """Whoever was told what runs may have forgotten."""
        for _, run in self.slots.runs():
            run.told = False

    def check(self) -> None:
        """Assert the rules."""
        runs = [run for _, run in self.slots.runs()]
        keys = [(task.row, task.dispatch) for task, _ in self.waiting]
        keys += [(run.task.row, run.task.dispatch) for run in runs]
        assert len(keys) == len(set(keys))
        self.pause.check(runs)
        self.slots.check()
        self.outcomes.check([bundle for _, bundle in self.waiting] + [run.bundle for run in runs])

    # --- One dispatch ---

    def _run(self, slot: int) -> Run:
        run = self.slots[slot]
        assert run is not None
        return run

    def _limit_s(self, detail: Detail | None) -> float:
        limit_s = self._rules.task_timeout_s or inf
        if detail is not None and detail.timeout > 0:
            limit_s = min(limit_s, detail.timeout)
        return limit_s

    def _fits_end(self, task: Task, bundle: Bundle, now: float) -> bool:
        """Whether a task ends before we must; what has only just come and does not is noted."""
        if self.end.fits(self._limit_s(task.detail), now):
            self.end.fit()
            return True
        if bundle.received_at == now:
            self.end.misfit(now)
        return False
