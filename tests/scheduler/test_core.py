"""The scheduler's core, without a store, a socket or time passing."""

from dataclasses import replace

import pytest

from hs_common import limits
from hs_common.errors import StoppedError
from hs_common.incarnation import ORIGIN_BYTES, all_of
from hs_common.messages import (
    Attached,
    Bye,
    Cancel,
    Census,
    Committed,
    Credit,
    Demand,
    Drain,
    Heartbeat,
    Lost,
    Received,
    Refused,
    SchedulerHello,
    Submit,
    Welcome,
    WhoAreYou,
)
from hs_common.outcomes import Successes, pack_outcomes, unpack_outcomes
from hs_common.tasks import Outcome, OutcomeKind
from hs_scheduler.conversation import Identity
from hs_scheduler.core import NOT_BACK, SchedulerCore
from hs_scheduler.events import (
    Claimed,
    ClaimedBundle,
    Connected,
    Disconnected,
    DrainAsked,
    Effect,
    Event,
    ForgetWorker,
    Outcomes,
    Record,
    Recorded,
    Release,
    RememberWorker,
    Reopen,
    Running,
    Send,
    Sought,
    Tell,
)
from hs_scheduler.out import NO_DEMAND
from hs_scheduler.parking import WAITING
from hs_scheduler.stores.store import Applied, Held
from hs_scheduler.stores.succeeded import Succeeded
from hs_scheduler.tasks.state import State

SESSION, BROKER, W1, W2 = b"s" * 16, b"b" * 16, b"1" * 16, b"2" * 16
IDENTITY = Identity(scheduler=bytes(16), version="0", host="h", pid=7, epoch=3, store=b"o" * 16, database="/tasks.db")
FIRST = 3 << 40 | 1
"""The first bundle id of epoch 3, of this scheduler."""


def a_core(bundlesize: int = 1) -> SchedulerCore:
    return SchedulerCore(identity=IDENTITY, bundlesize=bundlesize, grace_s=5, now=0)


def welcome(session: bytes = SESSION) -> Welcome:
    return Welcome(session=session, broker=BROKER, epoch=3)


def attached(worker: bytes = W1, *bundles: int, replaces: bytes = b"") -> Attached:
    return Attached(
        session=SESSION,
        worker=worker,
        replaces=replaces,
        host="n1",
        slots=2,
        cores=0,
        memory=0,
        seconds=0.0,
        bundles=bundles,
    )


def census(*queued: int) -> Census:
    return Census(session=SESSION, queued=queued, more=False)


def lost(worker: bytes, *bundles: int, gone: bool = False) -> Lost:
    return Lost(session=SESSION, worker=worker, gone=gone, reason="silent", bundles=bundles)


def outcome(row: int, dispatch: int = 1, kind: OutcomeKind = OutcomeKind.FINISHED) -> Outcome:
    return Outcome(row, dispatch, kind, 0, "", 1.0, 0.1, 0.0, 0.0, 0, b"", b"", b"")


def a_bundle(bundle: int, *rows: int, demand: Demand = NO_DEMAND) -> ClaimedBundle:
    return ClaimedBundle(bundle, [(row, 1) for row in rows], demand, b"body")


def live(core: SchedulerCore, credit: int = 8) -> SchedulerCore:
    """One worker with two slots is there."""
    for event in (Connected(), welcome(), attached(), census(), Credit(session=SESSION, tasks=credit)):
        core.handle(event, now=0)
    return core


def test_it_says_hello_when_the_link_stands_and_when_it_is_asked() -> None:
    """Every connection begins with who owns the store since which epoch."""
    core = a_core()
    hello = Send(
        SchedulerHello(
            scheduler=IDENTITY.scheduler, version="0", host="h", pid=7, epoch=3, store=b"o" * 16, database="/tasks.db"
        )
    )
    assert [hello] == core.handle(Connected(), now=0)
    assert [hello] == core.handle(WhoAreYou(), now=1)


def test_nothing_may_be_claimed_before_the_census() -> None:
    """Without knowing what is out there, a claim could not be told from a lost bundle."""
    core = a_core()
    core.handle(welcome(), now=0)
    core.handle(Credit(session=SESSION, tasks=8), now=0)
    assert core.room() == 0
    core.handle(census(), now=0)
    assert core.room() == 8


def test_claimed_bundles_are_submitted_and_use_up_the_room() -> None:
    """What is out counts against the credit until it is reported."""
    core = live(a_core())

    effects = core.handle(Claimed([a_bundle(FIRST, 1), a_bundle(FIRST + 1, 2)]), now=1)

    headers = ((FIRST, 1, 4, NO_DEMAND), (FIRST + 1, 1, 4, NO_DEMAND))
    assert [Send(Submit(session=SESSION, bundles=headers, body=b"bodybody"))] == effects  # type: ignore[arg-type]
    assert (core.tasks_out, core.room()) == (2, 6)
    core.check()


def test_a_result_is_recorded_then_acknowledged_once_per_worker() -> None:
    """Acknowledgement follows the commit, never the message."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1), a_bundle(FIRST + 1, 2)]), now=1)

    effects = core.handle(Outcomes(W1, 1, 1, (FIRST,), [outcome(1)]), now=2)

    assert [Record(W1, "n1", 1, [outcome(1)])] == effects
    assert core.settle(now=2) == []
    core.acknowledge(W1, 1)
    core.acknowledge(W1, 2)
    assert [Send(Committed(session=SESSION, worker=W1, sequences=(1, 2)))] == core.settle(now=2)
    assert core.settle(now=2) == []
    assert core.tasks_out == 1
    core.check()


def test_a_result_of_successes_alone_takes_its_bundles_out_as_a_whole() -> None:
    """And one of which something is left row by row, as any other."""
    core = live(a_core(bundlesize=3))
    core.handle(Claimed([a_bundle(FIRST, 1, 2), a_bundle(FIRST + 1, 3, 4), a_bundle(FIRST + 2, 5)]), now=1)
    told = unpack_outcomes(pack_outcomes([outcome(row) for row in (1, 2, 3, 5)]))

    effects = core.handle(Outcomes(W1, 1, 1, (FIRST, FIRST + 2), told), now=2)
    effects += core.handle(Recorded(Succeeded(told)), now=2) if isinstance(told, Successes) else []

    assert [Record(W1, "n1", 1, told)] == effects
    assert core.tasks_out == 1
    core.check()
    assert [Record(W1, "n1", 2, [outcome(4)])] == core.handle(Outcomes(W1, 2, 2, (FIRST + 1,), [outcome(4)]), now=3)
    assert core.tasks_out == 0
    core.check()


def test_rows_of_a_closed_bundle_that_nobody_mentions_are_new_again() -> None:
    """A worker's successor knows what ran, not what waited: closing hands the rest back."""
    core = live(a_core(bundlesize=3))
    core.handle(Claimed([a_bundle(FIRST, 1, 2, 3)]), now=1)

    effects = core.handle(Outcomes(W1, 1, 1, (FIRST,), [outcome(2)]), now=2)

    assert [Record(W1, "n1", 1, [outcome(2)]), Release(((1, 1), (3, 1)))] == effects
    assert core.tasks_out == 0
    core.check()


def test_a_result_whose_elder_was_lost_waits_for_it() -> None:
    """Closing a bundle before its earlier outcomes are known would run finished tasks again."""
    core = live(a_core(bundlesize=2))
    core.handle(Claimed([a_bundle(FIRST, 1, 2)]), now=1)

    # The first Result (row 1) went to a broker that had no scheduler; the second closes the bundle
    assert core.handle(Outcomes(W1, 2, 1, (FIRST,), [outcome(2)]), now=2) == []
    # Both come again, in order
    assert [Record(W1, "n1", 1, [outcome(1)])] == core.handle(Outcomes(W1, 1, 1, (), [outcome(1)]), now=3)
    assert [Record(W1, "n1", 2, [outcome(2)])] == core.handle(Outcomes(W1, 2, 1, (FIRST,), [outcome(2)]), now=3)
    assert core.tasks_out == 0
    core.check()


def test_the_bundles_of_a_lost_worker_are_new_again() -> None:
    """Losing a worker never loses its bundles."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1), a_bundle(FIRST + 1, 2)]), now=1)

    effects = core.handle(lost(W1, FIRST, gone=True), now=2)

    assert [ForgetWorker(W1), Release(((1, 1),)), Tell("bundles.lost", "silent", 1)] == effects
    assert core.workers == 0
    core.check()


def test_an_older_success_cancels_the_newer_dispatch() -> None:
    """First success wins; the dispatch that is out is no longer wanted."""
    core = live(a_core())
    core.handle(Claimed([ClaimedBundle(FIRST, [(1, 2)], NO_DEMAND, b"body")]), now=1)
    core.handle(Received(session=SESSION, worker=W2, bundles=(FIRST,)), now=1)

    assert [Record(W1, "n1", 1, [outcome(1)])] == core.handle(Outcomes(W1, 1, 1, (), [outcome(1)]), now=2)
    effects = core.handle(Recorded([Applied(1, outcome(1), State.DONE, failed=False, retried=False)]), now=2)

    assert [Send(Cancel(session=SESSION, worker=W2, tasks=((1, 2),)))] == effects
    assert core.tasks_out == 0
    core.check()


def test_after_a_broker_restart_a_bundle_that_no_worker_has_goes_back() -> None:
    """What was queued in the broker died with it; what a worker has lives on."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1), a_bundle(FIRST + 1, 2)]), now=1)
    core.handle(Disconnected(), now=2)
    core.handle(welcome(b"t" * 16), now=3)

    # The broker has no worker yet: nobody can say what became of the bundles
    assert core.handle(census(), now=3) == []
    # The worker comes back with one of the two
    effects = core.handle(attached(W1, FIRST), now=4)

    assert [RememberWorker(W1, b"", "n1"), Release(((2, 1),))] == effects
    assert core.tasks_out == 1
    core.check()


def test_a_bundle_of_a_known_worker_waits_for_that_worker_only_for_the_grace() -> None:
    """A worker that does not come back within the grace has lost its bundles."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, W1), Held(FIRST + 1, 2, 1, b"")], {W1, W2})
    core.handle(welcome(), now=10)
    assert core.handle(attached(W2), now=10) == [RememberWorker(W2, b"", "n1")]
    assert core.handle(census(), now=10) == []

    assert core.deadline() == 15
    assert core.expire(now=14.9) == []
    gone = [ForgetWorker(W1), Release(((1, 1), (2, 1))), Tell("bundles.lost", NOT_BACK, 2)]
    assert gone == core.expire(now=15)
    core.check()


def test_the_broker_is_told_that_a_worker_is_remembered() -> None:
    """After the commit, and with nothing to acknowledge; before it a new broker and scheduler would not wait for that worker."""
    core = live(a_core())
    core.handle(attached(W2), now=1)
    assert core.settle(now=1) == []

    core.remembered(W2)

    assert core.settle(now=1) == [Send(Committed(session=SESSION, worker=W2, sequences=()))]


def test_a_successor_answers_for_the_worker_it_replaces() -> None:
    """The guardian's report settles at once what the dead worker had."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, W1), Held(FIRST + 1, 2, 1, W1)], {W1})
    core.handle(welcome(), now=0)
    core.handle(census(), now=0)

    effects = core.handle(attached(W2, FIRST, replaces=W1), now=1)

    assert [RememberWorker(W2, W1, "n1"), Release(((2, 1),))] == effects
    core.check()


def test_a_restored_bundle_in_the_census_of_the_queue_stays_out() -> None:
    """A scheduler's death alone never makes a task run again."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, b"")], set())
    core.handle(welcome(), now=0)
    assert core.handle(census(FIRST), now=0) == []
    assert core.tasks_out == 1
    core.check()


def test_a_task_that_fits_nobody_waits_and_does_not_hold_others_up() -> None:
    """It is parked, takes no room, and is submitted again when a worker comes."""
    core = live(a_core(), credit=1)
    big = a_bundle(FIRST, 1, demand=Demand(64, 0, 0.0))
    core.handle(Claimed([big]), now=1)
    refused = Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,))

    effects = core.handle(refused, now=2)

    assert [Tell("tasks.waiting", WAITING, 1)] == effects
    assert core.room() == 1
    again = Send(Submit(session=SESSION, bundles=((FIRST, 1, 4, Demand(64, 0, 0.0)),), body=b"body"))  # type: ignore[arg-type]
    assert [RememberWorker(W2, b"", "n1"), again] == core.handle(attached(W2), now=3)
    core.check()


def test_what_demands_nothing_and_fits_nobody_is_claimed_anew_when_a_worker_comes() -> None:
    """All workers were about to end; what such a task looks like only the store knows, also that of an earlier scheduler."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, b"")], set())
    for event in (welcome(), attached(), census(FIRST), Claimed([a_bundle(FIRST + 1, 2)])):
        core.handle(event, now=1)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST, FIRST + 1)), now=2)

    assert core.handle(attached(W2), now=3) == [RememberWorker(W2, b"", "n1"), Release(((1, 1), (2, 1)))]
    assert core.tasks_out == 0
    core.check()


def test_a_task_that_fits_nobody_goes_back_to_the_store_before_it_is_changed() -> None:
    """With fewer cores it might fit; nobody has it, so it is not handed out. Those that are not meant stay."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST + at, at + 1, demand=Demand(64, 0, 0.0)) for at in range(3)]), now=1)
    bundles = (FIRST, FIRST + 1)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=bundles), now=2)

    assert core.handle(Sought([(2, 9)]), now=3) == [Release(((2, 1),))]
    assert (core.parked_tasks, core.tasks_out) == (1, 2)
    core.check()


def test_a_task_that_fits_nobody_is_not_waited_for_when_nothing_is_handed_out_any_more() -> None:
    """It was on its way when the scheduler was told to stop."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1, demand=Demand(64, 0, 0.0))]), now=1)
    core.handle(DrainAsked(), now=2)

    refused = core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,)), now=3)

    assert refused == [Release(((1, 1),))]
    assert core.tasks_out == 0
    core.check()


def test_that_a_task_waits_is_said_again_and_less_often_each_time() -> None:
    """Who did not see it at first may wait for ever; until a worker comes that has room for it."""
    core = live(a_core(), credit=1)
    core.handle(Claimed([a_bundle(FIRST, 1, demand=Demand(64, 0, 0.0))]), now=0)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,)), now=0)

    said = [now for now in range(500) if any(isinstance(effect, Tell) for effect in beaten(core, now))]
    assert said == [60, 180, 420]

    core.handle(attached(W2), now=500)
    assert not [now for now in range(500, 2000) if any(isinstance(effect, Tell) for effect in beaten(core, now))]
    core.check()


def beaten(core: SchedulerCore, now: int) -> list[Effect]:
    """Let the broker be heard, and time pass; return what comes of that."""
    core.handle(Heartbeat(session=SESSION), now)
    return core.expire(now)


def test_a_refused_bundle_goes_back_to_the_store() -> None:
    """A full broker buffers nothing."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1)]), now=1)
    refused = Refused(session=SESSION, reason="queue full", fatal=False, bundles=(FIRST,))
    assert [Release(((1, 1),))] == core.handle(refused, now=2)


def test_a_stale_epoch_ends_this_scheduler() -> None:
    """Another scheduler owns the store: going on would be wrong."""
    core = a_core()
    with pytest.raises(StoppedError, match="stale epoch"):
        core.handle(Refused(session=SESSION, reason="stale epoch", fatal=True, bundles=()), now=0)


def test_draining_claims_nothing_and_gives_parked_tasks_back() -> None:
    """What cannot start any more is NEW for whoever continues."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1, demand=Demand(64, 0, 0.0)), a_bundle(FIRST + 1, 2)]), now=1)
    core.handle(Refused(session=SESSION, reason="fits nobody", fatal=False, bundles=(FIRST,)), now=1)

    assert [Release(((1, 1),))] == core.handle(DrainAsked(), now=2)
    assert core.room() == 0
    assert core.tasks_out == 1
    core.check()


@pytest.mark.parametrize("stop", [False, True])
def test_workers_are_told_to_leave_where_that_is_asked(stop: bool) -> None:
    """`--halt`; without a session there is nobody to tell."""
    assert live(a_core()).handle(DrainAsked(stop=stop), now=2) == [
        Send(Drain(session=SESSION, worker=b"", now=stop)),
    ]
    assert a_core().handle(DrainAsked(stop=stop), now=2) == []


@pytest.mark.parametrize(
    ("bundlesize", "credit", "expected"),
    [
        (1, 8, [1, 2, 3, 4]),  # each task its own
        (3, 8, [1, 1, 1, 2]),  # up to the bundle size
        (9, 4, [1, 1, 2, 2]),  # but no more than half the credit: what one worker may hold
    ],
)
def test_place(bundlesize: int, credit: int, expected: list[int]) -> None:
    """Neighbours alike share a bundle."""
    core = live(a_core(bundlesize), credit)
    assert [3 << 40 | n for n in expected] == core.place([(b"/", NO_DEMAND)] * 4, [1] * 4)


@pytest.mark.parametrize(
    ("kibibytes", "expected"),
    [
        ([100, 100, 56, 1, 1], [1, 1, 1, 2, 2]),  # up to the bound
        ([1, 600, 1, 1], [1, 2, 3, 3]),  # a long one alone
        ([100] * 6, [1, 1, 2, 2, 3, 3]),
    ],
)
def test_place_puts_no_more_bytes_into_a_bundle_than_are_sent_in_one_piece(
    kibibytes: list[int], expected: list[int]
) -> None:
    """A frame over the limit would end our connection, each time again; and on a slow line a long one is taken for silence."""
    core = live(a_core(bundlesize=9), 99)
    sizes = [limits.KIB * size for size in kibibytes]

    assert [3 << 40 | n for n in expected] == core.place([(b"/", NO_DEMAND)] * len(sizes), sizes)
    assert core.place([(b"/", NO_DEMAND)], [1]) == [3 << 40 | expected[-1] + 1]


def test_the_scheduler_of_another_store_has_other_bundles() -> None:
    """Also at the same epoch: a worker remembers what it had, and would take the new for the old."""
    other = replace(IDENTITY, scheduler=b"\xff" * 16)
    core = SchedulerCore(identity=other, bundlesize=1, grace_s=5, now=0)
    assert core.place([(b"/", NO_DEMAND)], [1]) == [3 << 40 | 1 << 38]


def test_place_keeps_folders_and_demands_apart() -> None:
    """A bundle has one working folder and one demand."""
    core = live(a_core(bundlesize=9))
    big = Demand(4, 0, 0.0)
    ids = core.place([(b"/a", NO_DEMAND), (b"/a", big), (b"/b", big), (b"/b", big)], [1] * 4)
    assert [n - FIRST for n in ids] == [0, 1, 2, 2]


def test_it_beats_only_when_it_said_nothing_else() -> None:
    """Ten seconds without a word, then a heartbeat."""
    core = live(a_core())
    assert core.deadline() == 10
    assert core.expire(now=9) == []
    assert [Send(Heartbeat(session=SESSION))] == core.expire(now=10)
    assert core.deadline() == 20


def test_a_heartbeat_is_answered_unless_something_was_just_said() -> None:
    """The broker asks where its lease is shorter than our beat; but what it says may be its own answer to us."""
    core = live(a_core())

    assert core.handle(Heartbeat(session=SESSION), now=0.1) == []
    assert core.handle(Heartbeat(session=SESSION), now=1) == [Send(Heartbeat(session=SESSION))]
    assert core.handle(Heartbeat(session=SESSION), now=1.1) == []
    assert core.deadline() == 11


@pytest.mark.parametrize(
    "word",
    [
        Running(worker=W1, started=[]),
        Refused(session=SESSION, reason="queue full", fatal=False, bundles=()),
        Credit(session=SESSION, tasks=1),
    ],
    ids=lambda word: type(word).__name__,
)
def test_whatever_the_broker_says_is_no_silence(word: Event) -> None:
    """It need not be a Heartbeat."""
    core = live(a_core())
    core.handle(word, now=29)
    assert Reopen() not in core.expire(now=30)


def test_a_silent_broker_gets_a_new_socket() -> None:
    """Thirty seconds of silence mean that this connection is dead, whatever TCP thinks."""
    core = live(a_core())
    core.expire(now=10)
    core.expire(now=20)
    assert [Reopen()] == core.expire(now=30)
    assert core.farewell() == []


def test_so_does_one_that_speaks_and_welcomes_nobody() -> None:
    """What comes after a session was given up is no sign that there will be another one."""
    core = live(a_core())
    core.handle(Disconnected(), now=1)
    for now in (10, 20, 30):
        assert core.handle(Heartbeat(session=SESSION), now=now) == []
        assert core.expire(now=now) == ([Reopen()] if now == 30 else [])


def test_being_stopped_oneself_is_nobody_elses_silence() -> None:
    """After SIGSTOP and SIGCONT the broker's words still lie unread in the socket."""
    core = live(a_core())
    assert [Send(Heartbeat(session=SESSION))] == core.expire(now=500)


def test_nobody_is_blamed_for_silence_while_the_store_was_waited_for() -> None:
    """Nobody is listened to meanwhile; a session that was given up then would never be opened again."""
    core = live(a_core())
    core.expire(now=0)
    beats = [core.beat(now=now) for now in range(31)]

    assert [beats[now] for now in (10, 20, 30)] == [[Send(Heartbeat(session=SESSION))]] * 3
    assert sum(map(len, beats)) == 3
    assert core.expire(now=31) == []
    assert core.farewell() == [Send(Bye(session=SESSION, reason="done"))]


def test_the_last_word() -> None:
    """A scheduler that leaves in order says so."""
    assert [Send(Bye(session=SESSION, reason="done"))] == live(a_core()).farewell()


def test_a_worker_that_died_while_the_broker_was_away_is_not_waited_for() -> None:
    """The broker, which knows none of it, names it by its origin."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1)]), now=1)
    core.handle(Received(session=SESSION, worker=W1, bundles=(FIRST,)), now=1)
    core.handle(Disconnected(), now=2)
    core.handle(welcome(b"t" * 16), now=3)
    assert core.handle(census(), now=3) == []

    effects = core.handle(lost(all_of(W1[:ORIGIN_BYTES]), gone=True), now=4)

    assert effects == [ForgetWorker(W1), Release(((1, 1),))]
    core.check()


def test_a_cluster_that_drains_waits_for_no_bundle_that_nobody_will_take() -> None:
    """When the last worker has left, what waits in the broker is NEW again."""
    core = a_core()
    core.handle(welcome(), now=0)
    core.handle(attached(), now=0)
    core.handle(census(), now=0)
    core.handle(Claimed([ClaimedBundle(FIRST, [(1, 1)], NO_DEMAND, b"body")]), now=1)
    assert core.handle(DrainAsked(), now=1) == []

    assert core.handle(lost(W1, gone=True), now=2) == [ForgetWorker(W1), Release(((1, 1),))]
    assert core.tasks_out == 0
    core.check()


def test_the_lowest_group_that_is_out_is_known() -> None:
    """However many of it there are, and whatever else is out."""
    core = a_core()
    core.handle(welcome(), now=0)
    assert core.lowest_group_out() is None
    bundles = [ClaimedBundle(FIRST + n, [(n + 1, 1)], NO_DEMAND, b"", group) for n, group in enumerate((3, 3, 0, -1))]
    core.handle(Claimed(bundles), now=1)

    seen = []
    for n in (3, 2, 1, 0):
        seen.append(core.lowest_group_out())
        core.handle(lost(W1, FIRST + n), now=2)
        core.check()

    assert [*seen, core.lowest_group_out()] == [-1, 0, 3, 3, None]
