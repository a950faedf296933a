"""The worker's core under any order of events: duplicates, lost connections, stops, faults, late acknowledgements."""

import errno
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.worker.building import SELF, Worker, a_detail, a_task

from hs_common import messages
from hs_common.outcomes import unpack_outcomes
from hs_common.tasks import OutcomeKind
from hs_worker import events
from hs_worker.events import Effect, Exit, Record, Release, Send, Spawn
from hs_worker.settings import Rules
from hs_worker.tasks.end import End


class WorkerRules(RuleBasedStateMachine):
    """A broker that forgets nothing, a host with processes, and a map; the core between them."""

    @initialize(
        slots=st.integers(1, 3),
        limit=st.sampled_from([0.0, 2.0]),
        area=st.sampled_from([2_000, 10_000]),
        ends_at=st.sampled_from([inf, 15.0]),
    )
    def start(self, slots: int, limit: float, area: int, ends_at: float) -> None:
        rules = Rules(
            slots=slots, cores=2, task_timeout_s=limit, signalwait_s=1.0, area_bytes=area, ends_at=ends_at, margin_s=5.0
        )
        self.worker = Worker(rules)
        self.limit_s = limit or inf
        self.end = End(ends_at, 5.0, rules.stop_wait_s)
        self.connected = False
        self.rows = 0
        self.assigned: dict[int, tuple[int, ...]] = {}
        """Bundle -> its rows, as far as the worker accepted them."""
        self.processes: dict[int, int] = {}
        """Slot -> row, while its first process lives."""
        self.lingering: set[int] = set()
        self.ran: list[int] = []
        self.said = 0
        """So much was said by tasks."""
        self.recorded = 0
        self.results: dict[int, messages.Result] = {}
        """Every Result ever sent, by its sequence."""
        self.committed: set[int] = set()
        self.stopping = False
        self.left = False

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Spawn(slot=slot, task=task, questions=questions):
                    assert slot not in self.processes
                    assert slot not in self.lingering
                    self.processes[slot] = task.row
                    self.ran += [] if questions else [task.row]
                    timeout = task.detail.timeout if task.detail is not None else 0.0
                    # A command that had to be found out first was begun earlier.
                    limit_s = timeout or self.limit_s
                    assert self.end.fits(limit_s, self.worker.now) or (task.detail and task.detail.template)
                case Record(packed=packed):
                    self.recorded += len(packed) + 16
                case Release(size=size):
                    self.recorded -= size
                    assert self.recorded >= 0
                case events.Look(slot=slot):
                    self.lingering.add(slot)
                case events.Abandon(slot=slot):
                    self.processes.pop(slot, None)
                    self.lingering.discard(slot)
                case events.Leave():
                    self.left = True
                case Send(message=messages.Result() as result):
                    known = self.results.setdefault(result.sequence, result)
                    assert (known.body, known.closed) == (result.body, result.closed)
                    assert result.oldest <= result.sequence

    @rule()
    def connect(self) -> None:
        if not self.left:
            self.perform(self.worker.is_welcome())
            self.connected = True

    @rule()
    def disconnect(self) -> None:
        self.connected = False
        self.perform(self.worker.takes(events.Disconnected()))

    @precondition(lambda self: self.connected and not self.left)
    @rule(
        tasks=st.integers(1, 4),
        timeout=st.sampled_from([0.0, 1.0]),
        template=st.sampled_from([b"", b"", b"{= x =}"]),
        cores=st.integers(0, 3),
    )
    def assign(self, tasks: int, timeout: float, template: bytes, cores: int) -> None:
        rows = tuple(range(self.rows + 1, self.rows + tasks + 1))
        self.rows += tasks
        self.assigned[rows[0]] = rows
        detail = a_detail(timeout=timeout, template=template, cores=cores) if timeout or template or cores else None
        self.perform(self.worker.gets((rows[0], tuple(a_task(row, detail=detail) for row in rows))))

    @precondition(lambda self: self.connected and self.assigned)
    @rule(data=st.data())
    def assign_again(self, data: st.DataObject) -> None:
        bundle = data.draw(st.sampled_from(sorted(self.assigned)))
        self.perform(self.worker.gets((bundle, tuple(a_task(row) for row in self.assigned[bundle]))))

    @precondition(lambda self: self.processes)
    @rule(
        data=st.data(),
        status=st.sampled_from([0, 256, 9]),
        answer=st.sampled_from([b"", b"y\0", b"y" * 5000 + b"\0"]),
        says=st.integers(0, 1),
    )
    def exit(self, data: st.DataObject, status: int, answer: bytes, says: int) -> None:
        """A process ends; if it was asked something, it leaves an answer. It may have said something, to another host."""
        slot = data.draw(st.sampled_from(sorted(self.processes)))
        del self.processes[slot]
        self.said += says
        output = events.Output(b"", b"", whole=True, sent=self.said) if says else None
        now = self.worker.now
        self.perform(self.worker.takes(events.Exited([Exit(slot, status, now, now, 0.0, 0.0, 0, answer, output)])))

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        """The other host has some of it; it may say less than before."""
        self.perform(self.worker.takes(events.OutputKept(data.draw(st.integers(0, self.said)))))

    @precondition(lambda self: self.lingering)
    @rule(data=st.data(), processes=st.integers(0, 1))
    def look(self, data: st.DataObject, processes: int) -> None:
        slot = data.draw(st.sampled_from(sorted(self.lingering)))
        if not processes:
            self.lingering.remove(slot)
        self.perform(self.worker.takes(events.Left(slot, processes)))

    @precondition(lambda self: self.connected and self.results.keys() - self.committed)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        some = data.draw(st.sets(st.sampled_from(sorted(self.results)), min_size=1))
        self.committed |= some
        self.perform(
            self.worker.takes(messages.Committed(session=self.worker.session, worker=SELF, sequences=tuple(some)))
        )

    @precondition(lambda self: self.connected)
    @rule(tasks=st.integers(1, 5))
    def recall(self, tasks: int) -> None:
        self.perform(self.worker.takes(messages.Recall(session=self.worker.session, tasks=tasks)))

    @precondition(lambda self: self.connected and self.rows)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        rows = data.draw(st.sets(st.integers(1, self.rows), max_size=3))
        cancel = messages.Cancel(session=self.worker.session, worker=SELF, tasks=tuple((row, 1) for row in rows))
        self.perform(self.worker.takes(cancel))

    @precondition(lambda self: self.processes)
    @rule(data=st.data(), error=st.sampled_from([errno.EAGAIN, errno.E2BIG]))
    def fail_the_next_spawn(self, data: st.DataObject, error: int) -> None:
        """As the shell does: only what was just asked for can fail, so let one end and what follows it fail."""
        slot = data.draw(st.sampled_from(sorted(self.processes)))
        del self.processes[slot]
        now = self.worker.now
        effects = self.worker.takes(events.Exited([Exit(slot, 0, now, now, 0.0, 0.0, 0)]))
        self.perform(effects)
        for effect in [effect for effect in effects if isinstance(effect, Spawn)]:
            del self.processes[effect.slot]
            if not effect.questions:
                self.ran.remove(effect.task.row)
            self.perform(self.worker.takes(events.SpawnFailed(effect.slot, error)))

    @rule(seconds=st.sampled_from([0.06, 0.6, 1.1, 12.0]))
    def wait(self, seconds: float) -> None:
        self.perform(self.worker.waits(seconds))

    @rule(pause=st.booleans())
    def pause_or_resume(self, pause: bool) -> None:
        self.perform(self.worker.takes(events.PauseAsked() if pause else events.ResumeAsked()))

    @rule(full=st.booleans())
    def the_reader_stops_or_goes_on(self, full: bool) -> None:
        self.perform(self.worker.takes(events.OutputFull(full)))

    @precondition(lambda self: not self.left)
    @rule(grace=st.sampled_from([None, 1.0]))
    def drain(self, grace: float | None) -> None:
        self.stopping = True
        self.perform(self.worker.takes(events.DrainAsked(grace)))

    @precondition(lambda self: not self.left)
    @rule(kill=st.booleans())
    def stop(self, kill: bool) -> None:
        self.stopping = True
        self.perform(self.worker.takes(events.StopAsked(kill=kill, wait_s=1.0)))

    @invariant()
    def no_dispatch_runs_twice(self) -> None:
        assert len(self.ran) == len(set(self.ran))

    @invariant()
    def every_outcome_is_told_once_and_in_time_for_its_bundle(self) -> None:
        told: list[int] = []
        for _, result in sorted(self.results.items()):
            told += [outcome.row for outcome in unpack_outcomes(result.body)]
            for bundle in result.closed:
                assert set(self.assigned[bundle]) <= set(told)
        assert len(told) == len(set(told))

    def teardown(self) -> None:
        """Then everything comes to an end: all that was assigned is told, and the worker leaves."""
        if not self.left:
            self.perform(self.worker.is_welcome())
            self.perform(self.worker.takes(events.StopAsked(kill=True, wait_s=1e6)))
            for slot in sorted(self.processes):
                now = self.worker.now
                self.perform(self.worker.takes(events.Exited([Exit(slot, 9, now, now, 0.0, 0.0, 0)])))
            self.perform(self.worker.waits(0.06))
            outcomes = [outcome for result in self.results.values() for outcome in unpack_outcomes(result.body)]
            assert {outcome.row for outcome in outcomes} == {row for rows in self.assigned.values() for row in rows}
            assert all(outcome.row in self.ran for outcome in outcomes if outcome.kind == OutcomeKind.FINISHED)
            everything = messages.Committed(session=self.worker.session, worker=SELF, sequences=tuple(self.results))
            self.perform(self.worker.takes(everything))
            assert self.recorded == 0
            assert self.left


TestWorkerRules = WorkerRules.TestCase
TestWorkerRules.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
