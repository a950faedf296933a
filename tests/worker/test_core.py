"""The worker's core, without a process and without time passing."""

import errno
import signal

import msgpack
import pytest
from tests.worker.building import OTHER, SELF, WALL_S, Worker, a_detail, a_task, sent, spawned, told

from hs_common import limits, messages
from hs_common.errors import StoppedError
from hs_common.tasks import Outcome, OutcomeKind, unpack_started
from hs_worker import events
from hs_worker.events import Abandon, Exit, Leave, Look, Note, Record, Release, Reopen, Send, Signal, Spawn
from hs_worker.settings import Rules
from hs_worker.tasks.passing import PASSED_MAX, PASSING_MAX_S

FINISHED, HANDED_BACK = OutcomeKind.FINISHED, OutcomeKind.HANDED_BACK
CRASHED, REJECTED, CANCELLED = OutcomeKind.CRASHED, OutcomeKind.REJECTED, OutcomeKind.CANCELLED


def a_worker(**rules: object) -> Worker:
    """Return one that was welcomed."""
    worker = Worker(Rules(**{"slots": 2, "confirms": False, **rules}))  # type: ignore[arg-type]
    worker.is_welcome()
    return worker


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


# --- Output for another host ---


def says(slot: int, sent: int, *, at: float = 0.0) -> events.Exited:
    """The process in a slot has ended, and its output ends where so many bytes were sent."""
    output = events.Output(b"", b"", whole=True, sent=sent)
    return events.Exited([Exit(slot, 0, at, at, 0.0, 0.0, 0, output=output)])


def test_a_task_counts_when_its_output_is_there() -> None:
    """Until then it keeps its slot, and nobody hears of its end."""
    # Given two tasks that said something, and a third that waits
    worker = a_worker(slots=2)
    worker.gets_tasks(1, 2, 3)
    assert worker.takes(says(0, 10)) == []
    assert worker.takes(says(1, 25)) == []

    # When the output of the first is there, and the beginning of the other's
    effects = worker.takes(events.OutputKept(24))

    # Then the first counts, and what waited has its slot
    assert [outcome.row for outcome in told(effects)] == [1]
    assert spawned(effects) == [(0, 3)]
    assert [outcome.row for outcome in told(worker.takes(events.OutputKept(25)))] == [2]


def test_nothing_ends_a_task_whose_output_is_on_its_way() -> None:
    """Neither its limit, nor a cancellation, nor an order to stop: it has ended already, and drained means delivered."""
    worker = a_worker(slots=1, task_timeout_s=5.0)
    worker.gets_tasks(1)
    worker.takes(says(0, 10, at=1.0))

    effects = worker.takes(messages.Cancel(session=worker.session, worker=SELF, tasks=((1, 1),)))
    effects += worker.takes(events.PauseAsked()) + worker.takes(events.ResumeAsked())
    effects += worker.waits(6.0) + worker.takes(events.StopAsked(kill=False, wait_s=5.0)) + worker.waits(12.0)

    assert not [effect for effect in effects if not isinstance(effect, Send)]
    assert told(effects) == []
    (outcome,) = told(worker.takes(events.OutputKept(10)))
    assert (outcome.kind, outcome.reason) == (FINISHED, "")


def test_a_task_whose_output_will_never_be_there_goes_back() -> None:
    """Who would have printed it is gone: it has to run again."""
    worker = a_worker(slots=2)
    worker.gets_tasks(1, 2)
    worker.takes(says(0, 10))

    effects = worker.takes(events.StopAsked(kill=True, wait_s=1.0)) + worker.takes(says(1, 20))

    assert [(outcome.row, outcome.kind) for outcome in told(effects)] == [
        (1, OutcomeKind.HANDED_BACK),
        (2, OutcomeKind.HANDED_BACK),
    ]


def test_a_task_that_was_stopped_waits_for_its_output_too() -> None:
    """When nothing of it is left."""
    worker = a_worker(slots=1, task_timeout_s=1.0)
    worker.gets_tasks(1)
    assert Signal(0, signal.SIGINT) in worker.waits(1.0)
    assert Look(0) in worker.takes(says(0, 10))

    assert told(worker.takes(events.Left(0, 0))) == []
    (outcome,) = told(worker.takes(events.OutputKept(10)))

    assert (outcome.kind, outcome.reason) == (FINISHED, "timeout")


def test_nothing_starts_while_the_map_has_no_room_for_its_outcome() -> None:
    """A task whose outcome could not be written down is not run yet."""
    worker = a_worker(slots=2, area_bytes=300)

    assert spawned(worker.gets_tasks(1, 2)) == [(0, 1)]
    result = sent(worker.ends(0), messages.Result)
    assert spawned(
        worker.takes(messages.Committed(session=worker.session, worker=SELF, sequences=(result[0].sequence,)))
    ) == [(0, 2)]


# --- Templates that ask ---

ASKS = b"echo {= x + 1 =} {slot}"
ASKED = (b"=x + 1",)


def an_expanding_worker(**rules: object) -> Worker:
    """Return one whose only task is asked for its command, since monotonic 0, in slot 0."""
    worker = a_worker(**{"template": ASKS, "signalwait_s": 1.0, **rules})
    assert worker.gets_tasks(1) == [Spawn(0, a_task(1), 1, b"/here", b"", ASKED)]
    return worker


def answers(worker: Worker, answer: bytes, status: int = 0) -> list[events.Effect]:
    """The process in slot 0 ends and leaves this."""
    return worker.takes(events.Exited([events.Exit(0, status, 0.0, worker.now, 0.0, 0.0, 0, answer)]))


def test_what_a_template_asks_is_answered_in_the_slot_and_then_the_task_runs() -> None:
    """The slot is taken all the time; the task begins when its command is known, and that is recorded."""
    worker = an_expanding_worker()
    worker.now = 3.0

    assert answers(worker, b"7\0") == [Spawn(0, a_task(1), 1, b"/here", b"echo 7 1")]
    worker.now = 10.0
    effects = worker.ends(0, seconds=7.0)

    (outcome,) = told(effects)
    assert (outcome.kind, outcome.command, outcome.start, outcome.duration) == (
        FINISHED,
        b"echo 7 1",
        WALL_S + 3.0,
        7.0,
    )


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (0x100, b"0 NameError: no such name", "template: {= x + 1 =}: NameError: no such name"),
        (0, b"", "template: its process ended with wait status 0 before it had answered"),
        (0, b"y" * 2 * limits.MIB + b"\0", "too long"),
    ],
    ids=["failed", "silent", "long"],
)
def test_a_task_that_cannot_be_expanded_is_rejected_and_the_next_starts(
    status: int, answer: bytes, reason: str
) -> None:
    """It is written down, for its slot was taken; nothing of it ran."""
    worker = an_expanding_worker(slots=1)
    worker.gets_tasks(2)

    effects = answers(worker, answer, status)

    assert [type(effect) for effect in effects[:2]] == [Record, Spawn]
    assert spawned(effects) == [(0, 2)]
    effects += worker.waits(0.06)
    (outcome,) = told(effects)
    assert (outcome.row, outcome.kind, outcome.reason, outcome.start) == (1, REJECTED, reason, 0.0)


def test_a_bad_template_that_a_task_brings_costs_no_slot() -> None:
    """Nor does an index that is out of range."""
    worker = a_worker(slots=1)
    tasks = (
        a_task(1, detail=a_detail(template=b"{% %}")),
        a_task(2, args=b"a b", detail=a_detail(template=b"{[2]}")),
        a_task(3),
    )

    effects = worker.gets((1, tasks))

    assert spawned(effects) == [(0, 3)]
    assert [(outcome.row, outcome.kind, outcome.reason) for outcome in told(effects)] == [
        (1, REJECTED, "template: {% %} is empty"),
        (2, REJECTED, "template: {[2]} is out of range: 2 arguments"),
    ]


@pytest.mark.parametrize(("limit_s", "waits_s"), [(7.0, 7.0), (900.0, 900.0), (0.0, 300.0)])
def test_an_endless_expansion_is_ended_by_the_limit_of_the_task_and_rejected(limit_s: float, waits_s: float) -> None:
    """Or by ours, where it has none; signals, and then what it left, as for a task."""
    worker = an_expanding_worker(task_timeout_s=limit_s)
    assert not any(isinstance(effect, Signal) for effect in worker.waits(waits_s - 0.1))

    assert Signal(0, signal.SIGINT) in worker.waits(0.1)
    assert answers(worker, b"7\0", 2) == [Look(0)]
    (outcome,) = told(worker.takes(events.Left(0, 0)))

    assert (outcome.kind, outcome.reason) == (REJECTED, "template: timeout while it was expanded")


def test_expanding_and_running_share_one_limit() -> None:
    """It begins when the first process of the task does."""
    worker = an_expanding_worker(task_timeout_s=10.0)
    worker.waits(6.0)
    answers(worker, b"7\0")

    assert Signal(0, signal.SIGINT) not in worker.waits(3.9)
    assert Signal(0, signal.SIGINT) in worker.waits(0.1)
    worker.ends(0, status=2)
    (outcome,) = told(worker.takes(events.Left(0, 0)))
    assert (outcome.kind, outcome.reason) == (FINISHED, "timeout")


def test_our_limit_ends_with_the_expansion() -> None:
    """A task without a limit has none of ours once it runs."""
    worker = an_expanding_worker()
    answers(worker, b"7\0")

    assert not any(isinstance(effect, Signal) for effect in worker.waits(3600.0))


@pytest.mark.parametrize(("kill", "number"), [(False, signal.SIGINT), (True, signal.SIGKILL)])
def test_a_stop_hands_back_what_is_being_expanded(kill: bool, number: int) -> None:
    """It never ran."""
    worker = an_expanding_worker()

    assert Signal(0, number) in worker.takes(events.StopAsked(kill=kill, wait_s=1.0))
    effects = answers(worker, b"", int(number)) + worker.takes(events.Left(0, 0))

    assert [(outcome.kind, outcome.reason, outcome.start) for outcome in told(effects)] == [(HANDED_BACK, "halt", 0.0)]


def test_a_cancelled_expansion_is_cancelled() -> None:
    """Whatever the answer would have been."""
    worker = an_expanding_worker()

    assert worker.takes(messages.Cancel(session=worker.session, worker=SELF, tasks=((1, 1),))) == [
        Signal(0, signal.SIGINT)
    ]
    answers(worker, b"7\0")
    (outcome,) = told(worker.takes(events.Left(0, 0)))
    assert outcome.kind == CANCELLED


def test_an_expander_that_cannot_be_spawned_is_a_fault_of_the_host() -> None:
    """The task goes back and nothing is counted."""
    worker = an_expanding_worker()

    (outcome,) = told(worker.takes(events.SpawnFailed(0, errno.EAGAIN)))

    assert (outcome.kind, outcome.reason) == (HANDED_BACK, "spawn:EAGAIN")


def test_a_line_for_which_the_map_has_no_room_goes_back() -> None:
    """Unlike a plain one, which waits, it is only known when it has a slot already."""
    worker = an_expanding_worker(area_bytes=5000)

    (outcome,) = told(answers(worker, b"y" * 5000 + b"\0"))

    assert (outcome.kind, outcome.reason) == (HANDED_BACK, "room")


# --- Sessions ---


def test_hello_carries_what_is_held() -> None:
    """Waiting, running, ended but not sent, sent but not committed: each bundle once."""
    worker = a_worker(slots=1)
    worker.gets((1, (a_task(1), a_task(2))), (3, (a_task(3),)), (4, (a_task(4),)))
    worker.ends(0)
    worker.ends(0)
    worker.takes(events.Disconnected())
    worker.ends(0)

    (hello,) = sent(worker.takes(events.Connected()), messages.WorkerHello)

    assert sorted(hello.inventory) == [1, 3, 4]
    assert (hello.worker, hello.replaces, hello.slots, hello.confirms) == (SELF, b"", 1, False)


def test_after_a_welcome_all_uncommitted_results_are_sent_again_in_order() -> None:
    """Same sequences, same bodies, the new token."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2)
    first = sent(worker.ends(0), messages.Result)
    worker.now += 1
    first += sent(worker.ends(0), messages.Result)

    again = sent(worker.is_welcome(), messages.Result)

    assert [(one.sequence, one.body, one.closed) for one in again] == [
        (one.sequence, one.body, one.closed) for one in first
    ]
    assert {one.session for one in again} == {worker.session}


def test_tasks_go_on_without_a_broker_and_are_told_later() -> None:
    """P3: the death of a broker stops nothing."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2)
    worker.takes(events.Disconnected())

    assert spawned(worker.ends(0)) == [(0, 2)]
    assert worker.ends(0)[1:] == []
    assert sorted(outcome.row for outcome in told(worker.is_welcome())) == [1, 2]


@pytest.mark.parametrize("session", [b"\xff" * 16, b"\0" * 15 + b"\x01"], ids=["strange", "older"])
def test_an_assign_of_another_session_is_void(session: bytes) -> None:
    """A stale Assign would start what was given to somebody else meanwhile."""
    worker = a_worker()
    worker.is_welcome()

    assert worker.gets((1, (a_task(1),)), session=session) == [Note("info", "message.void", {"type": "Assign"})]


def test_between_hello_and_welcome_nothing_is_accepted() -> None:
    """The inventory in the Hello would be overtaken; a WhoAreYou to something older is answered once."""
    worker = a_worker()
    (hello,) = worker.takes(messages.WhoAreYou())
    assert isinstance(hello, Send)

    assert worker.takes(messages.WhoAreYou()) == []
    assert spawned(worker.gets_tasks(1)) == []


def test_a_repeated_assign_is_dropped_even_after_its_end() -> None:
    """I8: a worker runs a dispatch once."""
    worker = a_worker()
    worker.gets_tasks(1)

    assert worker.gets_tasks(1) == []
    result = sent(worker.ends(0), messages.Result)
    worker.takes(messages.Committed(session=worker.session, worker=SELF, sequences=(result[0].sequence,)))
    assert worker.gets_tasks(1) == []


def test_bundles_are_confirmed_in_one_message_where_that_is_asked() -> None:
    """One Received for each Assign."""
    worker = a_worker(confirms=True)

    effects = worker.gets_tasks(1, 2, 3)

    assert sent(effects, messages.Received) == [
        messages.Received(session=worker.session, worker=SELF, bundles=(1, 2, 3))
    ]


def test_a_malformed_bundle_is_closed_unread() -> None:
    """Its rows go back by that; the scheduler decides what to do with them."""
    worker = a_worker()
    header = messages.BundleHeader(7, 1, 3, messages.Demand(0, 0, 0.0))

    effects = worker.takes(messages.Assign(session=worker.session, bundles=(header,), body=b"???"))

    assert [result.closed for result in sent(effects, messages.Result)] == [(7,)]


def test_silence_opens_a_new_socket_and_a_pause_of_our_own_does_not() -> None:
    """RELIABILITY 4.1, B2: time in which we did not run ourselves says nothing about the broker."""
    worker = a_worker()
    worker.waits(10)
    worker.waits(10)

    assert Reopen() in worker.waits(10)
    worker.is_welcome()
    assert Reopen() not in worker.waits(3600)


def test_a_hello_without_an_answer_opens_a_new_socket() -> None:
    """Nobody knows whether it is still on its way, and two on one connection could cross."""
    worker = Worker()
    worker.takes(events.Connected())

    assert worker.waits(5) == [Reopen()]


def test_an_answer_is_waited_for_longer_each_time_until_one_comes() -> None:
    """A long inventory on a slow line would be begun anew for ever."""
    worker = Worker()
    for wait_s in (5, 10, 20, 30, 30):
        worker.takes(events.Connected())
        assert worker.waits(wait_s - 1) == []
        assert worker.waits(1) == [Reopen()]

    worker.is_welcome()
    worker.takes(events.Connected())
    assert worker.waits(5) == [Reopen()]


def test_heartbeats_are_sent_only_where_nothing_else_was_said() -> None:
    """Every ten seconds of saying nothing."""
    worker = a_worker()
    assert worker.waits(9) == []
    worker.is_welcome()

    assert worker.waits(9) == []
    assert worker.waits(1) == [Send(messages.Heartbeat(session=worker.session))]


def test_a_heartbeat_is_answered_unless_something_was_just_said() -> None:
    """The broker asks where its lease is shorter than our beat; but what it says may be its own answer to us."""
    worker = a_worker()
    heartbeat = messages.Heartbeat(session=worker.session)

    assert worker.takes(heartbeat) == []
    assert worker.waits(1) == []
    assert worker.takes(heartbeat) == [Send(heartbeat)]
    assert worker.takes(heartbeat) == []


def test_a_refusal_that_is_not_for_ever_is_followed_by_another_hello() -> None:
    """That there are too many workers may pass."""
    worker = Worker()
    worker.takes(events.Connected())
    refused = messages.Refused(session=b"\0" * 16, reason="full", fatal=False, bundles=())

    assert worker.takes(refused) == [Note("warning", "worker.refused", {"reason": "full"})]
    assert len(sent(worker.waits(1), messages.WorkerHello)) == 1


def test_a_refusal_for_ever_ends_the_worker() -> None:
    """Whoever started it hears why; one that had begun leaves like any other, for its launcher would take that for a failure."""
    refused = messages.Refused(session=b"\0" * 16, reason="not you", fatal=True, bundles=())
    new, old = Worker(), Worker()
    new.takes(events.Connected())
    old.takes(events.Connected())
    old.is_welcome()

    with pytest.raises(StoppedError, match="refuses this worker: not you"):
        new.takes(refused)
    assert old.takes(refused)[-1] == Leave(refused=True)


def test_the_successor_tells_what_its_predecessor_left() -> None:
    """Recovered outcomes are in the first Hello's inventory and follow its Welcome; their bundles are closed."""
    crashed = Outcome(3, 2, CRASHED, 0, "", 5.0, 0.0, 0.0, 0.0, 0, b"", b"", b"")
    worker = Worker(recovered=((8, msgpack.packb(crashed)), (8, msgpack.packb(crashed._replace(row=4)))))
    (hello,) = sent(worker.takes(events.Connected()), messages.WorkerHello)

    effects = worker.takes(messages.Welcome(session=b"s" * 16, broker=b"b" * 16, epoch=1))

    assert hello.inventory == (8,)
    (result,) = sent(effects, messages.Result)
    assert (result.closed, result.tasks) == ((8,), 2)
    assert told(effects) == [crashed, crashed._replace(row=4)]


# --- Credit and pace ---


def test_a_new_kind_is_prefetched_one_per_slot_and_short_tasks_as_many_as_end_in_a_tenth_of_a_second() -> None:
    """So short tasks stream, and nobody waits behind a long one."""
    worker = Worker()
    (hello,) = sent(worker.takes(events.Connected()), messages.WorkerHello)
    assert hello.credit == 4
    worker.takes(messages.Welcome(session=b"s" * 16, broker=b"b" * 16, epoch=1))
    worker.session = b"s" * 16
    worker.gets_tasks(1, 2)

    worker.now = 1.0
    ready = sent(worker.ends(0, 1, seconds=0.001), messages.Ready)

    assert [one.credit for one in ready] == [2 + 200]

    # Another kind: back to one per slot
    worker.now = 1.1
    effects = worker.gets((3, (a_task(3, detail=a_detail(tags=(("size", "big"),))),)))
    assert [one.credit for one in sent(effects, messages.Ready)] == [4]


def test_small_changes_of_credit_are_not_told() -> None:
    """A fifth more or less is noise."""
    worker = a_worker()
    worker.gets_tasks(1, 2, 3)
    worker.now = 1.0
    worker.ends(0, seconds=0.001)
    worker.now = 2.0

    assert sent(worker.ends(1, seconds=0.0014), messages.Ready) == []


def test_results_have_company_while_enough_waits_and_are_sent_at_once_when_nothing_does() -> None:
    """A Result costs a message: it is worth it only for a worker that would fall idle, or after 80 ms."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1)
    worker.now = 1.0
    worker.ends(0, seconds=0.001)  # the credit is 101 now
    worker.now = 2.0
    worker.gets_tasks(*range(2, 102))

    assert told(worker.ends(0, seconds=0.001)) == []
    worker.now += 0.07
    assert told(worker.ends(0, seconds=0.001)) == []
    assert [outcome.row for outcome in told(worker.waits(0.02))] == [2, 3]


def test_after_a_failure_nothing_starts_until_it_was_judged_where_that_is_asked() -> None:
    """`--halt`: of what was prefetched nothing runs after the failure that was one too many."""
    # Given a worker with tasks in hand, one of them running
    worker = a_worker(slots=2, judged=True)
    worker.gets_tasks(1, 2, 3, 4)
    assert spawned(worker.ends(0)) == [(0, 3)]

    # When one fails, it is told at once, and nothing starts, also when others end
    failed = worker.ends(0, status=0x100)
    assert spawned(failed) == []
    (result,) = sent(failed, messages.Result)
    later = worker.ends(1)
    assert spawned(later) == []

    # Then the acknowledgement of an older Result changes nothing, its own lets all go on
    older = messages.Committed(session=worker.session, worker=SELF, sequences=(result.sequence - 1,))
    assert spawned(worker.takes(older)) == []
    own = messages.Committed(session=worker.session, worker=SELF, sequences=(result.sequence,))
    assert spawned(worker.takes(own)) == [(1, 4)]


def test_a_failure_that_was_one_too_many_is_the_last_thing_that_runs() -> None:
    """The word to leave comes before the acknowledgement."""
    worker = a_worker(slots=1, judged=True)
    worker.gets_tasks(1, 2)
    (result,) = sent(worker.ends(0, status=0x100), messages.Result)

    effects = worker.takes(messages.Drain(session=worker.session, worker=SELF, now=False))
    effects += worker.takes(messages.Committed(session=worker.session, worker=SELF, sequences=(result.sequence,)))

    assert spawned(effects) == []
    assert [(outcome.row, outcome.kind) for outcome in told(effects)] == [(2, HANDED_BACK)]


def test_tasks_that_run_for_over_a_second_are_told_once() -> None:
    """The census of what runs: for long tasks, once, and again to a new scheduler."""
    worker = a_worker()
    worker.gets_tasks(1)
    assert sent(worker.waits(0.5), messages.Running) == []

    (running,) = sent(worker.waits(0.5), messages.Running)
    assert unpack_started(running.body) == [(1, 1, WALL_S)]
    assert sent(worker.waits(0.5), messages.Running) == []
    again = worker.takes(messages.NewEpoch(session=worker.session, epoch=2))
    assert [one.body for one in sent(again, messages.Running)] == [running.body]


def test_a_recall_gives_back_what_waited_longest_from_the_end() -> None:
    """What has only just come stays: it may start at once."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2, 3)
    worker.now = 1.0
    worker.gets_tasks(4)

    effects = worker.takes(messages.Recall(session=worker.session, tasks=1))
    effects += worker.waits(0.08)

    assert [(outcome.row, outcome.kind, outcome.reason) for outcome in told(effects)] == [(3, HANDED_BACK, "recall")]
    assert spawned(worker.ends(0)) == [(0, 2)]
    assert spawned(worker.ends(0)) == [(0, 4)]


# --- Stopping tasks ---


def test_a_limit_climbs_from_sigint_to_sigkill() -> None:
    """`-S` apart; the smaller of -W and the task's own limit counts; the reason is timeout, whatever the status."""
    worker = a_worker(slots=1, task_timeout_s=60.0, signalwait_s=10.0)
    worker.gets((1, (a_task(1, detail=a_detail(timeout=5.0)),)))

    assert worker.core.deadline() <= 5
    signals = [
        effect for _ in range(3) for effect in worker.waits(10 if worker.now else 5) if isinstance(effect, Signal)
    ]

    assert signals == [Signal(0, signal.SIGINT), Signal(0, signal.SIGTERM), Signal(0, signal.SIGKILL)]
    assert worker.ends(0, status=9) == [Look(0)]
    (outcome,) = told(worker.takes(events.Left(0, 0)))
    assert (outcome.kind, outcome.status, outcome.reason) == (FINISHED, 9, "timeout")


def test_a_stopped_task_keeps_its_slot_until_all_it_started_is_gone() -> None:
    """The first process may end at SIGINT while its child saves its work."""
    worker = a_worker(slots=1, task_timeout_s=5.0)
    worker.gets_tasks(1, 2)
    worker.waits(5)
    assert worker.ends(0, status=2) == [Look(0)]

    assert worker.takes(events.Left(0, 1)) == []
    assert [effect for effect in worker.waits(10) if not isinstance(effect, Send)] == [
        Signal(0, signal.SIGTERM),
        Look(0),
    ]
    assert spawned(worker.takes(events.Left(0, 0))) == [(0, 2)]


def test_what_survives_sigkill_costs_its_slot_and_the_last_one_the_worker() -> None:
    """Recorded as failed: unkillable; a worker without slots ends."""
    worker = a_worker(slots=1, task_timeout_s=1.0, signalwait_s=1.0)
    worker.gets_tasks(1, 2)
    for _ in range(3):
        worker.waits(1)

    effects = worker.waits(10)

    assert Abandon(0) in effects
    assert [(outcome.row, outcome.kind, outcome.reason) for outcome in told(effects)] == [
        (1, FINISHED, "unkillable"),
        (2, HANDED_BACK, "drain"),
    ]
    results = sent(effects, messages.Result)
    committed = messages.Committed(session=worker.session, worker=SELF, sequences=tuple(r.sequence for r in results))
    assert worker.takes(committed)[-1] == Leave(refused=False)


def test_a_cancel_stops_what_runs_and_forgets_what_waits() -> None:
    """Of this dispatch only, and only if it is meant for us."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2)
    elsewhere = messages.Cancel(session=worker.session, worker=OTHER, tasks=((1, 1),))
    older = messages.Cancel(session=worker.session, worker=SELF, tasks=((1, 2), (2, 2)))
    assert worker.takes(elsewhere) + worker.takes(older) == []

    effects = worker.takes(messages.Cancel(session=worker.session, worker=SELF, tasks=((1, 1), (2, 1))))

    assert Signal(0, signal.SIGINT) in effects
    worker.ends(0, status=2)
    effects += worker.takes(events.Left(0, 0))
    assert [(outcome.row, outcome.kind) for outcome in told(effects)] == [(2, CANCELLED), (1, CANCELLED)]


# --- Leaving ---


def test_a_drain_hands_back_what_waits_and_leaves_when_all_is_committed() -> None:
    """What runs may finish; what comes too late goes back at once."""
    # Given one running and one waiting
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2)

    # When it is asked to drain
    effects = worker.takes(events.DrainAsked(None))

    # Then the waiting one goes back and there is no more credit
    assert [(outcome.row, outcome.kind) for outcome in told(effects)] == [(2, HANDED_BACK)]
    assert [ready.credit for ready in sent(effects, messages.Ready)] == [0]
    effects += worker.gets_tasks(3)
    effects += worker.ends(0)
    assert [(outcome.row, outcome.kind) for outcome in told(effects)][1:] == [(3, HANDED_BACK), (1, FINISHED)]
    assert not any(isinstance(effect, Leave) for effect in effects)

    # And it leaves with the last acknowledgement
    sequences = tuple(result.sequence for result in sent(effects, messages.Result))
    assert worker.takes(messages.Committed(session=worker.session, worker=SELF, sequences=sequences))[1:] == [
        Send(messages.Bye(session=worker.session, reason="drained")),
        Leave(refused=False),
    ]


def test_a_grace_ends_in_a_stop() -> None:
    """What still runs then goes back, not counted, whatever its status."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1)
    worker.takes(events.DrainAsked(7.0))

    assert [effect for effect in worker.waits(7) if isinstance(effect, Signal)] == [Signal(0, signal.SIGINT)]
    worker.ends(0, status=0)
    (outcome,) = told(worker.takes(events.Left(0, 0)))
    assert (outcome.kind, outcome.reason) == (HANDED_BACK, "halt")


def test_a_stop_that_kills_waits_for_nobody_but_its_acknowledgement() -> None:
    """SIGKILL at once; what else is left of the task goes with the worker; at most so long."""
    worker = a_worker(slots=2)
    worker.gets_tasks(1, 2)

    effects = worker.takes(events.StopAsked(kill=True, wait_s=1.0))
    assert [effect for effect in effects if isinstance(effect, Signal)] == [
        Signal(0, signal.SIGKILL),
        Signal(1, signal.SIGKILL),
    ]
    effects = worker.ends(0, 1, status=9)
    assert [outcome.kind for outcome in told(effects)] == [HANDED_BACK, HANDED_BACK]
    assert worker.core.deadline() <= 1.0
    assert worker.waits(1.0)[-1] == Leave(refused=False)


def test_drain_over_the_wire_is_for_us_or_for_all() -> None:
    """b"" is everybody."""
    worker = a_worker()

    other = worker.takes(messages.Drain(session=worker.session, worker=OTHER, now=False))
    everybody = worker.takes(messages.Drain(session=worker.session, worker=b"", now=False))

    assert other == []
    assert everybody[-1] == Leave(refused=False)
