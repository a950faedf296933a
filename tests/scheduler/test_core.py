"""The scheduler's core, without a store, a socket or time passing."""

import pytest
from tests.scheduler.cores import FIRST, SESSION, W1, W2, a_bundle, a_core, census, live, lost, outcome, welcome

from hs_common.messages import Cancel, Committed, Credit, Demand, Drain, Received, Refused, Submit
from hs_common.outcomes import Successes, pack_outcomes, unpack_outcomes
from hs_scheduler.events import Claimed, ClaimedBundle, DrainAsked, Outcomes, Record, Recorded, Release, Send
from hs_scheduler.out import NO_DEMAND
from hs_scheduler.stores.store import Applied
from hs_scheduler.stores.succeeded import Succeeded
from hs_scheduler.tasks.state import State


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


def test_a_refused_bundle_goes_back_to_the_store() -> None:
    """A full broker buffers nothing."""
    core = live(a_core())
    core.handle(Claimed([a_bundle(FIRST, 1)]), now=1)
    refused = Refused(session=SESSION, reason="queue full", fatal=False, bundles=(FIRST,))
    assert [Release(((1, 1),))] == core.handle(refused, now=2)


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
