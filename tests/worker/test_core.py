"""The worker's core, without a process and without time passing: what becomes of its tasks."""

import errno
import signal

import msgpack
import pytest
from tests.worker.building import (
    FINISHED,
    HANDED_BACK,
    REJECTED,
    SELF,
    WALL_S,
    a_detail,
    a_task,
    a_worker,
    sent,
    spawned,
    told,
)

from hs_common import limits, messages
from hs_common.tasks import Outcome
from hs_worker import events
from hs_worker.events import Exit, Record, Release, Send, Signal, Spawn
from hs_worker.tasks.passing import PASSED_MAX, PASSING_MAX_S

# --- A task's life ---


def test_a_task_is_started_recorded_and_told() -> None:
    """Record comes before the Result that carries the same bytes, and the Result closes the bundle."""
    # Given a task in a slot
    worker = a_worker()
    assert worker.gets_tasks(5) == [Spawn(0, a_task(5), 5, b"/here", b"true")]

    # When it ends
    worker.now = 10.0
    record, result, ready = worker.ends(0, status=0x300, seconds=2.0)

    # Then its outcome is written down, and told, and so is that such tasks need no prefetching
    outcome = Outcome(5, 1, FINISHED, 0x300, "", WALL_S + 8.0, 2.0, 0.25, 0.125, 4096, b"", b"", b"")
    packed = msgpack.packb(outcome)
    assert record == Record(0, 5, packed)
    assert result == Send(
        messages.Result(
            session=worker.session, worker=SELF, sequence=1, oldest=1, tasks=1, closed=(5,), body=b"\x91" + packed
        )
    )

    assert ready == Send(messages.Ready(session=worker.session, slots=2, credit=2, cores=1, memory=0, seconds=0.0))

    # And forgotten once it is committed
    committed = messages.Committed(session=worker.session, worker=SELF, sequences=(1,))
    assert worker.takes(committed) == [Release(len(packed) + 16)]
    assert worker.takes(committed) == []


def test_slots_share_one_queue_and_the_lowest_free_slot_is_taken() -> None:
    """No task waits for a certain slot."""
    worker = a_worker(slots=3)

    assert spawned(worker.gets_tasks(1, 2, 3, 4, 5)) == [(0, 1), (1, 2), (2, 3)]
    assert spawned(worker.ends(1)) == [(1, 4)]
    assert spawned(worker.ends(2, 0)) == [(0, 5)]


def test_a_bundle_is_closed_by_the_result_that_has_its_last_task() -> None:
    """Until then its number is in the inventory only."""
    worker = a_worker(slots=1)
    worker.gets((9, (a_task(1), a_task(2))))

    first = sent(worker.ends(0), messages.Result)
    second = sent(worker.ends(0), messages.Result)

    assert [result.closed for result in first + second][-1] == (9,)
    assert sum(result.tasks for result in first + second) == 2


def test_a_template_is_recorded_where_it_changed_the_line() -> None:
    """`command` is what ran, if that is not the args themselves; a task's own template wins."""
    worker = a_worker(template=b"echo {q}")
    effects = worker.gets((1, (a_task(1, args=b"a b"), a_task(2, args=b"x", detail=a_detail(template=b"{}")))))
    commands = [effect.command for effect in effects if isinstance(effect, Spawn)]

    outcomes = told(worker.ends(0, 1))

    assert commands == [b"echo 'a b'", b"x"]
    assert [outcome.command for outcome in outcomes] == [b"echo 'a b'", b""]


@pytest.mark.parametrize(
    ("args", "reason"),
    [(b"echo \0", "NUL"), (b"x" * (2 * limits.MIB + 1), "too long")],
    ids=["nul", "long"],
)
def test_what_can_never_run_is_rejected_and_the_next_starts(args: bytes, reason: str) -> None:
    """A bad line costs no slot."""
    worker = a_worker(slots=1)

    effects = worker.gets((1, (a_task(1, args=args), a_task(2))))

    assert spawned(effects) == [(0, 2)]
    assert [(outcome.row, outcome.kind, outcome.reason) for outcome in told(effects)] == [(1, REJECTED, reason)]


def test_a_spawn_error_of_the_task_rejects_it() -> None:
    """X6: reason spawn:E2BIG; it is not told as an exit status."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1)

    effects = worker.takes(events.SpawnFailed(0, errno.E2BIG))

    assert [(outcome.kind, outcome.reason) for outcome in told(effects)] == [(REJECTED, "spawn:E2BIG")]


def test_a_fault_of_the_host_hands_back_and_rests() -> None:
    """E1, E2: nothing is counted; less is taken for a while, the pauses double, then all slots are used again."""
    # Given four slots, one of which could be filled
    worker = a_worker(slots=4)
    worker.gets_tasks(1, 2, 3, 4, 5, 6)

    # When the host makes no more processes
    effects = worker.takes(events.SpawnFailed(1, errno.EAGAIN))
    for slot in (2, 3):
        effects += worker.takes(events.SpawnFailed(slot, errno.EAGAIN))

    effects += worker.waits(0.05)

    # Then what failed and most of what waits goes back, and the broker hears of less credit
    assert {(outcome.row, outcome.kind, outcome.reason) for outcome in told(effects)} == {
        (row, HANDED_BACK, "spawn:EAGAIN") for row in (2, 3, 4, 6)
    }
    ready = sent(effects, messages.Ready)[-1]
    assert (ready.slots, ready.credit) == (4, 2)
    said = [(effect.event, effect.keys) for effect in effects if isinstance(effect, events.Note)]
    assert said == [("worker.resting", {"reason": "spawn:EAGAIN", "seconds": 0.1})], "once for all three"

    # And nothing is started for a tenth of a second, then one at a time, then two, then four
    assert worker.ends(0)[1:] == []
    usable = [worker.core._holding.rest.usable]
    for _ in range(3):
        worker.waits(0.2)
        usable.append(worker.core._holding.rest.usable)
    assert usable == [1, 2, 4, 4]


def test_tasks_run_together_only_as_far_as_their_cores_allow() -> None:
    """One that needs more than is free waits; one that needs more than there is runs alone."""
    worker = a_worker(slots=4, cores=4)
    tasks = (a_task(1, detail=a_detail(cores=3)), a_task(2, detail=a_detail(cores=2)), a_task(3))

    assert spawned(worker.gets((1, tasks))) == [(0, 1), (1, 3)]
    assert spawned(worker.ends(0)) == [(0, 2)]
    assert spawned(worker.gets((2, (a_task(4, detail=a_detail(cores=9)),)))) == []
    assert spawned(worker.ends(0, 1)) == [(1, 4)]


def test_memory_is_shared_like_cores() -> None:
    """The sum of what runs stays within the worker's."""
    worker = a_worker(slots=3, memory=1000)
    tasks = (
        a_task(1, detail=a_detail(memory=600)),
        a_task(2, detail=a_detail(memory=600)),
        a_task(3, detail=a_detail(memory=400)),
    )

    assert spawned(worker.gets((1, tasks))) == [(0, 1), (1, 3)]
    assert spawned(worker.ends(1)) == []
    assert spawned(worker.ends(0)) == [(0, 2)]


def test_a_big_task_is_passed_by_a_bounded_number_of_smaller_ones() -> None:
    """Then nothing starts before it, so it waits only for what runs by then."""
    # Given a task that waits for all cores while one runs
    worker = a_worker(slots=2, cores=2)
    small, big = a_detail(cores=1), a_detail(cores=2)
    worker.gets((1, (a_task(1, detail=small),)), (2, (a_task(2, detail=big),)))

    # When small ones keep coming
    rows = range(3, 3 + PASSED_MAX + 5)
    started = spawned(worker.gets(*((row, (a_task(row, detail=small),)) for row in rows)))
    for _ in rows[:-5]:
        started += spawned(worker.ends(1))

    # Then as many as the bound pass it, in their order; and it is next
    assert [row for _, row in started] == list(rows[:-5])
    assert spawned(worker.ends(0)) == [(0, 2)]


def test_a_big_task_is_passed_for_a_bounded_time() -> None:
    """However long those take that pass it."""
    worker = a_worker(slots=2, cores=2)
    small, big = a_detail(cores=1), a_detail(cores=2)
    worker.gets((1, (a_task(1, detail=small),)), (2, (a_task(2, detail=big),)), (3, (a_task(3, detail=small),)))

    worker.waits(PASSING_MAX_S)

    assert spawned(worker.gets((4, (a_task(4, detail=small),)))) == []
    assert spawned(worker.ends(1)) == []
    assert spawned(worker.ends(0)) == [(0, 2)]


def test_a_worker_asks_for_more_while_big_tasks_wait() -> None:
    """Or the smaller ones that could pass would never get here."""
    worker = a_worker(slots=2, cores=2)
    big = a_detail(cores=2)
    worker.gets((1, (a_task(1, detail=a_detail(cores=1)),)))
    worker.now = 2.0
    before = sent(worker.waits(0.02), messages.Ready)

    worker.gets((2, (a_task(2, detail=big),)))
    ready = sent(worker.waits(0.02), messages.Ready)

    assert [message.credit for message in before] == []
    assert [message.credit for message in ready] == [5]


def test_nothing_starts_while_the_map_has_no_room_for_its_outcome() -> None:
    """A task whose outcome could not be written down is not run yet."""
    worker = a_worker(slots=2, area_bytes=300)

    assert spawned(worker.gets_tasks(1, 2)) == [(0, 1)]
    result = sent(worker.ends(0), messages.Result)
    assert spawned(
        worker.takes(messages.Committed(session=worker.session, worker=SELF, sequences=(result[0].sequence,)))
    ) == [(0, 2)]


# --- Pauses ---


def test_a_pause_stops_what_runs_and_holds_its_limit() -> None:
    """A minute of standing still is none of a task's time."""
    # Given a task with a limit of 10 s that has run for 4
    worker = a_worker(slots=2, task_timeout_s=10.0)
    worker.gets_tasks(1)
    worker.waits(4.0)

    # When its user presses Ctrl-Z
    assert worker.takes(events.PauseAsked()) == [Signal(0, signal.SIGSTOP)]
    assert worker.takes(events.PauseAsked()) == []

    # Then nothing starts and nothing times out, but we go on beating
    assert spawned(worker.gets_tasks(2)) == []
    effects = worker.waits(9.0) + worker.waits(3.0) + worker.waits(48.0)
    assert sent(effects, messages.Heartbeat)
    assert not [effect for effect in effects if isinstance(effect, Signal)]

    # And afterwards it has its 6 s
    assert worker.takes(events.ResumeAsked()) == [Signal(0, signal.SIGCONT), Spawn(1, a_task(2), 2, b"/here", b"true")]
    assert Signal(0, signal.SIGINT) not in worker.waits(5.9)
    assert Signal(0, signal.SIGINT) in worker.waits(0.2)


def test_a_task_that_is_cancelled_while_paused_goes_on_in_order_to_end() -> None:
    """A stopped process does not act on a signal."""
    worker = a_worker(slots=2)
    worker.gets_tasks(1, 2)
    worker.takes(events.PauseAsked())

    effects = worker.takes(messages.Cancel(session=worker.session, worker=SELF, tasks=((1, 1),)))

    assert effects == [Signal(0, signal.SIGINT), Signal(0, signal.SIGCONT)]
    assert worker.takes(events.ResumeAsked()) == [Signal(1, signal.SIGCONT)]


# --- Captured output ---


def test_captured_output_is_told_by_its_paths() -> None:
    """And a task of which not all could be kept has failed, whatever its status."""
    worker = a_worker(slots=2, path_bytes=10)
    worker.gets_tasks(1, 2)
    whole, cut = events.Output(b"/a.out", b"/a.err", whole=True), events.Output(b"/b.out", b"/b.err", whole=False)

    exits = [Exit(slot, 0, 0.0, 0.0, 0.0, 0.0, 0, output=output) for slot, output in enumerate((whole, cut))]
    outcomes = told(worker.takes(events.Exited(exits)))

    assert [(outcome.kind, outcome.reason, outcome.outpath, outcome.errpath) for outcome in outcomes] == [
        (FINISHED, "", b"/a.out", b"/a.err"),
        (FINISHED, "output", b"/b.out", b"/b.err"),
    ]
