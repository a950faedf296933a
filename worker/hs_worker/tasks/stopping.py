"""How what runs is ended before its time, or held for a while. No IO.

    limit, cancel, halt ──Signal, Signal ...──▶ first process ended ──Look──▶ all gone ──▶ concluded
                                          └──▶ survived SIGKILL ──Abandon──▶ concluded, its slot lost

Rules, checked by those of `pause`:
1. While paused, no limit of a running task ends.
"""

from collections.abc import Collection
from signal import SIGCONT, SIGSTOP

from hs_worker.events import Abandon, Effect, Exit, Look, Note, Signal
from hs_worker.settings import Rules
from hs_worker.tasks.outcomes import Outcomes
from hs_worker.tasks.pause import Pause
from hs_worker.tasks.rest import Rest
from hs_worker.tasks.run import Run
from hs_worker.tasks.slots import Slots
from hs_worker.tasks.states import State, Step, after


class Stopping:
    """What one worker does to tasks that should not go on.

    Args:
        rules: Limits and options.
        slots: Who runs.
        rest: Told of slots that are lost.
        pause: Who is held.
        outcomes: Told how it ended.
        out: Where effects are appended.

    """

    def __init__(
        self, rules: Rules, slots: Slots, rest: Rest, pause: Pause, outcomes: Outcomes, out: list[Effect]
    ) -> None:
        self._signalwait_s = rules.signalwait_s
        self._stop_wait_s = rules.stop_wait_s
        self._slots = slots
        self._rest = rest
        self._pause = pause
        self._outcomes = outcomes
        self._out = out

    def due(self, now: float) -> None:
        """Enforce the limits, and send the next signals."""
        for slot, run in self._slots.due(now):
            if run.has_process:
                self._stop(slot, run, "timeout", now)
            elif run.out_of_signals:
                self._give_up(slot, run, now)
            else:
                self._signal(slot, run, now, kill=False)
                if run.exit is not None:
                    self._out.append(Look(slot))
        self._slots.rearm()

    def cancel(self, tasks: Collection[tuple[int, int]], now: float) -> None:
        """Stop these (row, dispatch), unless their processes have ended."""
        for slot, run in self._slots.runs():
            if (run.task.row, run.task.dispatch) in tasks and run.state != State.DELIVERING:
                self._stop(slot, run, "cancel", now)

    def stop_all(self, now: float, *, kill: bool) -> None:
        """Stop what runs, to hand it back; `kill`: with SIGKILL, and what is left after its first process is not waited for."""
        if kill:
            self._outcomes.forsake()
        for slot, run in self._slots.runs():
            if run.state == State.DELIVERING:
                continue
            self._stop(slot, run, "halt", now, kill=kill)
            if kill and run.exit is not None:
                self._all_gone(slot, run, run.exit)

    def stop_beyond(self, ends_at: float, now: float) -> None:
        """Stop what may run beyond an instant, to hand it back; what has a limit before it ends by itself."""
        for slot, run in self._slots.runs():
            limit_at = run.due_at if run.then_due_at is None else run.then_due_at
            if run.has_process and limit_at > ends_at:
                self._stop(slot, run, "halt", now)

    def exited(self, slot: int, run: Run, exit_: Exit, *, killing: bool) -> None:
        """The first process of a stopped run ended. `killing`: what is left goes with the worker, at once."""
        run.exit = exit_
        if killing:
            self._all_gone(slot, run, exit_)
        else:
            self._out.append(Look(slot))

    def left(self, slot: int, processes: int) -> None:
        """So much is left of a stopped task."""
        run = self._slots[slot]
        if run is not None and run.exit is not None and not processes:
            self._all_gone(slot, run, run.exit)

    def hold(self, now: float) -> None:
        """Stop what runs where it is; limits stand still. What is being ended already goes on being ended."""
        running = [(slot, run) for slot, run in self._slots.runs() if run.has_process]
        if self._pause.begin([run for _, run in running], now):
            self._out.extend(Signal(slot, SIGSTOP) for slot, _ in running)
            self._slots.rearm()

    def go_on(self, now: float) -> None:
        """Let go on what was held."""
        held = self._pause.end(now)
        self._out.extend(Signal(slot, SIGCONT) for slot, run in self._slots.runs() if run in held)
        self._slots.rearm()

    def _stop(self, slot: int, run: Run, reason: str, now: float, *, kill: bool = False) -> None:
        """Begin to stop a run, or go straight to SIGKILL; one that is being stopped already goes on as it does."""
        first = run.has_process
        run.stop(reason)
        if first or (kill and not run.out_of_signals):
            self._signal(slot, run, now, kill=kill)

    def _signal(self, slot: int, run: Run, now: float, *, kill: bool) -> None:
        wait_s = self._stop_wait_s if run.reason == "halt" else self._signalwait_s
        self._out.append(Signal(slot, run.next_signal(now, wait_s, kill=kill)))
        if self._pause.release(run):
            self._out.append(Signal(slot, SIGCONT))  # it cannot act on a signal while it is stopped
        self._slots.due_at = min(self._slots.due_at, run.due_at)

    def _all_gone(self, slot: int, run: Run, exit_: Exit) -> None:
        run.state = after(run.state, Step.GONE)
        self._outcomes.conclude(slot, run, exit_)

    def _give_up(self, slot: int, run: Run, now: float) -> None:
        """Neither signal ended it: it is recorded as failed, and the slot is lost with it."""
        run.state = after(run.state, Step.SURVIVE)
        run.reason = "unkillable"
        self._out.append(Note("error", "task.unkillable", {"row": run.task.row}))
        self._out.append(Abandon(slot))
        self._rest.lose_slot()
        self._outcomes.conclude(slot, run, run.exit or Exit(slot, 0, run.started_at, now, 0.0, 0.0, 0))
