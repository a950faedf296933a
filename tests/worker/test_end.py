"""A worker that knows when it must end, without a process and without time passing."""

import signal

import pytest
from tests.worker.building import Worker, a_detail, a_task, sent, spawned, told

from hs_common import messages
from hs_common.tasks import OutcomeKind
from hs_worker import events
from hs_worker.events import Leave, Signal
from hs_worker.settings import Rules
from hs_worker.tasks.end import FAREWELL_S, MISFITS_MAX, End, reserve_s


def a_worker(**rules: object) -> Worker:
    """Return one that must end at 100 s, with a margin of 20 s and 12 s to stop what runs, and was welcomed."""
    given = {"slots": 2, "confirms": False, "ends_at": 100.0, "margin_s": 20.0, "stop_wait_s": 5.0, **rules}
    worker = Worker(Rules(**given))  # type: ignore[arg-type]
    worker.is_welcome()
    return worker


def a_limited(row: int, timeout: float) -> tuple[int, tuple[object, ...]]:
    return row, (a_task(row, detail=a_detail(timeout=timeout)),)


@pytest.mark.parametrize(
    ("limit_s", "now", "fits"),
    [
        (float("inf"), 79.9, True),
        (float("inf"), 80.0, False),  # the margin has begun
        (25.0, 75.0, True),  # it is stopped exactly at the end
        (25.0, 75.1, False),
        (5.0, 90.0, True),  # a limit is worth more than the margin
    ],
)
def test_a_task_fits_by_its_limit_or_before_the_margin(limit_s: float, now: float, *, fits: bool) -> None:
    assert End(100.0, 20.0, 5.0).fits(limit_s, now) is fits


def test_a_worker_without_an_end_takes_anything_at_any_time() -> None:
    end = End(float("inf"), 20.0, 5.0)

    assert (end.known, end.due_at, end.seconds(1e9)) == (False, float("inf"), 0.0)


def test_the_reserve_holds_three_signals_and_a_farewell_but_no_more_than_the_margin() -> None:
    assert reserve_s(60.0, 5.0) == 10.0 + FAREWELL_S
    assert reserve_s(3.0, 5.0) == 3.0


def test_the_broker_is_told_how_long_a_worker_still_has() -> None:
    """Absolute in each message, for it passes while they travel."""
    worker = Worker(Rules(slots=2, ends_at=100.0))
    worker.now = 30.0

    (hello,) = sent(worker.takes(events.Connected()), messages.WorkerHello)

    assert hello.seconds == 70.0


def test_what_would_be_cut_off_is_handed_back_and_what_fits_is_run() -> None:
    """A limit that ends after the worker does: somebody else has more time."""
    worker = a_worker()
    worker.now = 50.0

    effects = worker.gets(a_limited(1, 51.0), a_limited(2, 50.0))  # type: ignore[arg-type]

    assert spawned(effects) == [(0, 2)]
    assert [(o.row, o.kind, o.reason) for o in told(effects)] == [(1, OutcomeKind.HANDED_BACK, "walltime")]


def test_what_waits_is_handed_back_when_the_margin_begins() -> None:
    """Not when its slot becomes free: until then somebody else can have begun with it."""
    # Given a worker whose slots are full, and one task more
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2)

    # When the margin begins
    effects = worker.waits(80.0)

    # Then the one that waits goes back, and the other runs on
    assert [(o.row, o.reason) for o in told(effects)] == [(2, "walltime")]
    assert not [effect for effect in effects if isinstance(effect, Signal)]
    assert worker.core.busy


def test_at_the_end_only_what_would_run_on_is_stopped_and_the_worker_leaves() -> None:
    """What has a limit ends in time by itself."""
    # Given a task without a limit, and one that ends before we do
    worker = a_worker(signalwait_s=60.0)
    worker.gets((1, (a_task(1),)))
    worker.now = 80.0
    worker.core.expire(80.0)
    worker.gets(a_limited(2, 15.0))  # type: ignore[arg-type]

    # When so much is left as three signals take
    effects = worker.waits(8.0)

    # Then the one is stopped, and nothing more is offered to us
    assert [(e.slot, e.number) for e in effects if isinstance(e, Signal)] == [(0, signal.SIGINT)]
    assert [ready.credit for ready in sent(effects, messages.Ready)] == [0]

    # And the next signal follows before the end, though tasks get longer for their own limits
    assert [(e.slot, e.number) for e in worker.waits(5.0) if isinstance(e, Signal)] == [(0, signal.SIGTERM)]

    # And when both have ended, it goes back, the other has its result, and the worker leaves once that is committed
    worker.ends(0, status=15)
    back = worker.takes(events.Left(0, 0))
    assert [(o.row, o.kind, o.reason) for o in told(back)] == [(1, OutcomeKind.HANDED_BACK, "halt")]
    done = worker.ends(1)
    assert [(o.row, o.kind) for o in told(done)] == [(2, OutcomeKind.FINISHED)]
    committed = messages.Committed(session=worker.session, worker=b"w" * 16, sequences=(1, 2))
    assert worker.takes(committed)[-1] == Leave(refused=False, time_over=True)


def test_a_limit_of_all_tasks_counts_as_their_own() -> None:
    """As -W sets one: then the margin excludes nothing."""
    worker = a_worker(task_timeout_s=5.0)
    worker.now = 85.0

    assert spawned(worker.gets_tasks(1)) == [(0, 1)]


def test_a_worker_leaves_when_the_broker_goes_on_giving_what_does_not_fit() -> None:
    """Or the same task would come and go until the end, as fast as the wire is."""
    worker = a_worker()
    worker.now = 81.0
    for row in range(1, MISFITS_MAX):
        worker.now += 0.01
        assert [o.reason for o in told(worker.gets_tasks(row))] in ([], ["walltime"])

    worker.now += 0.01
    effects = worker.gets_tasks(MISFITS_MAX)

    assert [note.event for note in effects if isinstance(note, events.Note)] == ["worker.leaving"]
    assert spawned(effects) == []


def test_a_drained_worker_waits_a_while_for_a_broker_to_say_farewell_to() -> None:
    """It is being restarted: without our farewell its scheduler would wait a whole lease for what we hold."""
    # Given a worker without work whose broker is away
    worker = a_worker()
    worker.takes(events.Disconnected())

    # When it is to leave
    assert worker.takes(events.DrainAsked(None)) == []

    # Then it goes as soon as the broker is back
    assert [type(effect) for effect in worker.is_welcome()] == [events.Send, Leave]


def test_a_broker_that_does_not_come_back_holds_up_no_worker() -> None:
    worker = a_worker()
    worker.takes(events.Disconnected())
    worker.takes(events.DrainAsked(None))

    assert worker.waits(10.0)[-1] == Leave(refused=False)


def test_a_worker_that_nobody_knows_leaves_at_once() -> None:
    worker = Worker()

    assert worker.takes(events.DrainAsked(None)) == [Leave(refused=False)]


def test_a_task_that_ends_by_the_signal_that_ends_the_worker_goes_back() -> None:
    """Slurm sends SIGTERM to all processes of a job."""
    worker = a_worker()
    worker.gets_tasks(1, 2)
    worker.takes(events.DrainAsked(10.0))

    told_of = told(worker.ends(0, status=signal.SIGTERM)) + told(worker.ends(1, status=0x100))

    assert [(o.row, o.kind) for o in told_of] == [(1, OutcomeKind.HANDED_BACK), (2, OutcomeKind.FINISHED)]


def test_a_task_that_ends_itself_so_while_nobody_ends_the_worker_has_failed() -> None:
    worker = a_worker()
    worker.gets_tasks(1)
    worker.takes(events.DrainAsked(None))

    assert [o.kind for o in told(worker.ends(0, status=signal.SIGTERM))] == [OutcomeKind.FINISHED]


def test_a_worker_with_nothing_to_do_leaves_after_its_time() -> None:
    """Counted from its last committed result: `-T`."""
    # Given one that has just done something
    worker = Worker(Rules(slots=1, confirms=False, timeout_s=5.0))
    worker.is_welcome()
    worker.now = 4.0
    worker.gets_tasks(1)
    worker.now = 6.0
    worker.ends(0)
    assert not [e for e in worker.waits(8.0) if isinstance(e, Leave)], "its result is not committed"
    worker.takes(messages.Committed(session=worker.session, worker=b"w" * 16, sequences=(1,)))

    # When there was nothing for less than that, and then for all of it
    assert not [e for e in worker.waits(4.75) if isinstance(e, Leave)]
    effects = worker.waits(0.25)

    # Then it goes
    assert effects[-1] == Leave(refused=False)
