"""How the worker's core stops tasks, and how it leaves."""

import signal

from tests.worker.building import (
    CANCELLED,
    FINISHED,
    HANDED_BACK,
    OTHER,
    SELF,
    a_detail,
    a_task,
    a_worker,
    sent,
    spawned,
    told,
)

from hs_common import messages
from hs_worker import events
from hs_worker.events import Abandon, Leave, Look, Send, Signal

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


def test_a_worker_that_cannot_leave_says_why_once() -> None:
    """Its broker is gone, maybe for ever, and has not acknowledged everything: only a person can tell."""
    # Given a worker with a result, whose broker went before it acknowledged that
    worker = a_worker(slots=1)
    worker.gets_tasks(1)
    worker.ends(0)
    worker.takes(events.Disconnected())

    # When it is asked to drain
    effects = worker.takes(events.DrainAsked(None)) + worker.waits(1.0)

    # Then it waits, and says for what
    assert [note.event for note in effects if isinstance(note, events.Note)] == ["worker.waiting"]
    assert not any(isinstance(effect, Leave) for effect in effects)

    # And a second signal ends that
    effects = worker.takes(events.StopAsked(kill=False, wait_s=5.0)) + worker.waits(5.0)
    assert effects[-1] == Leave(refused=False)


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
