"""What became of tasks: each outcome packed, recorded in the map if the task ran, and put into the outbox. No IO.

    conclude: it ran ──Record──▶ map ─┐
    drop: it never did ───────────────┴──▶ outbox ──commit──▶ forgotten

A task whose output goes to another host (`Output.sent`) stays in its slot until that is there, as if it ran: should the worker
die before, it has to run again, for what it said is lost. So whoever hears of its end finds its output.

Rules, checked by `check`, beside those of the outbox:
1. A bundle is known as long as one of its tasks has no outcome; `left` counts them.
"""

from collections import deque
from collections.abc import Iterable, Sequence

from hs_common.outcomes import join_outcomes, pack_outcome, unpack_outcomes
from hs_common.tasks import Bundle as Contents
from hs_common.tasks import Outcome, OutcomeKind, Task
from hs_common.tuples import maker
from hs_worker.events import Drop, Effect, Exit, Record
from hs_worker.settings import RECORD_BYTES, Rules
from hs_worker.tasks.judgement import Judgement
from hs_worker.tasks.outbox import Outbox
from hs_worker.tasks.pause import Pause
from hs_worker.tasks.run import Bundle, Run
from hs_worker.tasks.slots import Slots
from hs_worker.tasks.states import State, Step, after

_RECENT_MAX = 20_000
"""Bundles that are remembered after their end, so that a repeated Assign runs nothing twice."""


class Outcomes:
    """Outcomes of one worker, and the bundles that they complete.

    Args:
        rules: Limits and options.
        slots: Where a run leaves its slot.
        pause: Where it is held no longer.
        recovered: (bundle, packed outcome) of what the predecessor left in the map, oldest first.
        out: Where effects are appended.

    """

    def __init__(
        self, rules: Rules, slots: Slots, pause: Pause, recovered: Sequence[tuple[int, bytes]], out: list[Effect]
    ) -> None:
        self._judged = rules.judged
        self._slots = slots
        self._pause = pause
        self._out = out
        self.outbox = Outbox()
        self.judgement = Judgement(self.outbox)
        self.offset_s = 0.0
        """Wall clock minus monotonic time."""
        self._bundles: dict[int, Bundle] = {}
        self._recent: set[int] = set()
        self._recent_order: deque[int] = deque()
        self._forsaken = False
        """Whether nothing will arrive any more."""
        self._kept = 0
        """So many bytes of outputs have arrived."""
        self._withheld: deque[tuple[int, int, Run]] = deque()
        """(bytes, slot, run) that wait until so many have."""
        left = unpack_outcomes(join_outcomes([packed for _, packed in recovered])) if recovered else ()
        self.crashed = sum(outcome.kind == OutcomeKind.CRASHED for outcome in left)
        """Tasks that ran when the predecessor died."""
        for bundle, packed in recovered:
            slots.area += len(packed) + RECORD_BYTES
            self.outbox.add(packed, len(packed) + RECORD_BYTES)
            if bundle not in self._recent:
                self._close(bundle)

    def knows(self, bundle: int) -> bool:
        """Whether a bundle is held, or was until lately."""
        return bundle in self._bundles or bundle in self._recent

    def inventory(self) -> tuple[int, ...]:
        """Return the bundles with tasks here, or with outcomes that are not committed."""
        return tuple(dict.fromkeys((*self._bundles, *self.outbox.bundles())))

    def expect(self, number: int, contents: Contents, now: float) -> Bundle:
        """Note a bundle that is not known yet; an empty one is complete at once."""
        bundle = Bundle(number, contents.cwd, len(contents.tasks), now)
        if contents.tasks:
            self._bundles[number] = bundle
        else:
            self._close(number)
        return bundle

    def conclude(self, slot: int, run: Run, exit_: Exit) -> None:
        """End a run by what its first process came to; it waits for its output if that is on its way."""
        if exit_.output is not None and exit_.output.sent > self._kept and run.state == State.ENDED:
            if self._forsaken:
                run.reason = "halt"
                self._conclude(slot, run, exit_)
                return
            run.withhold(exit_)
            self._pause.release(run)
            self._withheld.append((exit_.output.sent, slot, run))
        else:
            self._conclude(slot, run, exit_)

    def kept(self, sent: int) -> None:
        """So many bytes of outputs have arrived: end the runs that waited for that."""
        self._kept = max(self._kept, sent)
        while self._withheld and self._withheld[0][0] <= self._kept:
            _, slot, run = self._withheld.popleft()
            self._arrive(slot, run)

    def forsake(self) -> None:
        """Hand back what waits for its output, or would have to from now on: nobody will print that."""
        self._forsaken = True
        while self._withheld:
            _, slot, run = self._withheld.popleft()
            run.reason = "halt"
            self._arrive(slot, run)

    def _arrive(self, slot: int, run: Run) -> None:
        assert run.exit is not None, "it has ended"
        run.state = after(run.state, Step.ARRIVE)
        self._conclude(slot, run, run.exit)

    def _conclude(self, slot: int, run: Run, exit_: Exit) -> None:
        if run.then_due_at is not None:
            kind = run.kind()
            reason = f"template: {run.reason} while it was expanded" if kind == OutcomeKind.REJECTED else run.reason
            self.conclude_unstarted(slot, run, exit_, kind, reason)
            return
        task = run.task
        outpath, errpath = _paths(exit_)
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
        self._record(slot, run, pack_outcome(outcome))
        if self._judged and (exit_.status or run.reason):
            self.judgement.ask()

    def conclude_unstarted(self, slot: int, run: Run, exit_: Exit, kind: OutcomeKind, reason: str) -> None:
        """End a run whose command never came to be known; what its template said on stderr may tell why."""
        self._out.append(Drop(slot))
        outpath, errpath = _paths(exit_)
        outcome = _unstarted(run.task, kind, reason)._replace(outpath=outpath, errpath=errpath)
        self._record(slot, run, pack_outcome(outcome))

    def drop(self, task: Task, bundle: Bundle, kind: OutcomeKind, reason: str) -> None:
        """End a dispatch that never ran. It is not recorded: the loss of the worker says the same of it."""
        self._gather(pack_outcome(_unstarted(task, kind, reason)), bundle, 0)

    def commit(self, sequences: Iterable[int]) -> int:
        """Forget these Results; return how many bytes of the map are free again."""
        size = self.outbox.commit(sequences)
        self._slots.area -= size
        return size

    def check(self, held: Iterable[Bundle]) -> None:
        """Assert the rules. `held`: the bundle of each task that waits or has a slot."""
        left: dict[int, int] = {}
        for bundle in held:
            left[bundle.bundle] = left.get(bundle.bundle, 0) + 1
        assert left == {bundle.bundle: bundle.left for bundle in self._bundles.values()}
        self.outbox.check()

    def _record(self, slot: int, run: Run, packed: bytes) -> None:
        if self._pause.paused:
            self._pause.release(run)
        self._slots.vacate(slot, run, lost=run.state == State.LOST)
        self._slots.area += len(packed) + RECORD_BYTES
        self._out.append(_record((slot, run.bundle.bundle, packed)))
        self._gather(packed, run.bundle, len(packed) + RECORD_BYTES)

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


_record = maker(Record)


def _paths(exit_: Exit) -> tuple[bytes, bytes]:
    """Return where the output was captured; b"": it was not."""
    return (b"", b"") if exit_.output is None else exit_.output[:2]


def _unstarted(task: Task, kind: OutcomeKind, reason: str) -> Outcome:
    return Outcome(task.row, task.dispatch, int(kind), 0, reason, 0.0, 0.0, 0.0, 0.0, 0, b"", b"", b"")
