"""What was cancelled after it was handed out: it does not run, or is stopped, and its place is free when that is sure."""

from typing import Any

from tests.scheduler.cores import (
    FIRST,
    SESSION,
    W1,
    W2,
    a_bundle,
    a_core,
    attached,
    census,
    live,
    lost,
    outcome,
    welcome,
)

from hs_common.messages import Demand, Refused, Withdraw
from hs_common.tasks import OutcomeKind
from hs_scheduler.core import SchedulerCore
from hs_scheduler.events import (
    Claimed,
    ClaimedBundle,
    Connected,
    Disconnected,
    Outcomes,
    Release,
    Send,
    Tell,
    Withdrawn,
)
from hs_scheduler.parking import WAITING
from hs_scheduler.stores.store import Held

WITH_CORES = Demand(4, 0, 0.0)


def withdraw(*tasks: tuple[int, int], bundles: tuple[int, ...]) -> Send:
    return Send(Withdraw(session=SESSION, bundles=bundles, tasks=tasks))


def handle(core: SchedulerCore, event: Any) -> list[Any]:
    effects = core.handle(event, now=1)
    core.check()
    return effects


def refused(reason: str, *bundles: int) -> Refused:
    return Refused(session=SESSION, reason=reason, fatal=False, bundles=bundles)


def with_two_bundles() -> SchedulerCore:
    core = live(a_core())
    handle(core, Claimed([a_bundle(FIRST, 1, 2), a_bundle(FIRST + 1, 3)]))
    return core


def test_the_broker_is_asked_to_take_them_back() -> None:
    """It knows who has them. What is not out, or out again since, is passed over."""
    core = with_two_bundles()
    assert handle(core, Withdrawn([(2, 1), (3, 9), (77, 1)])) == [withdraw((2, 1), bundles=(FIRST,))]


def test_they_are_out_until_their_worker_lets_go_of_them() -> None:
    """So a run does not end, and no slot counts as free, while what was cancelled is being stopped."""
    core = with_two_bundles()
    handle(core, Withdrawn([(3, 1)]))
    assert core.tasks_out == 3

    stopped = outcome(3, kind=OutcomeKind.CANCELLED)
    handle(core, Outcomes(W1, 1, 1, (FIRST + 1,), [stopped]))

    assert core.tasks_out == 2


def test_what_is_left_of_a_bundle_that_waited_in_the_broker_is_dispatched_anew() -> None:
    """The release of a cancelled row changes nothing in the store: it is not ASSIGNED any more."""
    core = with_two_bundles()
    handle(core, Withdrawn([(2, 1)]))
    assert handle(core, refused("withdrawn", FIRST)) == [Release(((1, 1), (2, 1)))]
    assert core.tasks_out == 1


def test_what_waits_here_for_a_worker_that_fits_goes_back_to_the_store() -> None:
    """Its body is packed: sent again as it is, it would bring the cancelled task along."""
    core = live(a_core())
    handle(core, Claimed([ClaimedBundle(FIRST, [(1, 1), (2, 1)], WITH_CORES, b"body")]))
    handle(core, refused("fits nobody", FIRST))

    assert handle(core, Withdrawn([(1, 1)])) == [Release(((1, 1), (2, 1)))]
    assert core.tasks_out == 0


def test_what_is_cancelled_while_the_broker_says_that_it_fits_nobody_is_not_kept_here() -> None:
    """The two words crossed: nobody else answers the one that took it back, and the next worker would run it."""
    core = live(a_core())
    handle(core, Claimed([ClaimedBundle(FIRST + at, [(at + 1, 1)], WITH_CORES, b"body") for at in range(2)]))
    handle(core, Withdrawn([(1, 1)]))

    assert handle(core, refused("fits nobody", FIRST, FIRST + 1)) == [
        Release(((1, 1),)),
        Tell("tasks.waiting", WAITING, 1),
    ]
    assert (core.tasks_out, core.parked_tasks) == (1, 1)


def test_it_is_said_again_when_it_may_have_been_lost() -> None:
    """The link broke, or the worker was away: what Attached and Census name has what was cancelled."""
    core = with_two_bundles()
    handle(core, Withdrawn([(2, 1), (3, 1)]))
    handle(core, Disconnected())
    handle(core, Connected())
    handle(core, welcome())

    assert withdraw((2, 1), bundles=(FIRST,)) in handle(core, attached(W1, FIRST))
    assert handle(core, census(FIRST + 1)) == [withdraw((3, 1), bundles=(FIRST + 1,))]


def test_a_row_that_is_wanted_again_is_out_once() -> None:
    """Cancelled, reverted and claimed anew before the worker had stopped the first: its answer is for another dispatch."""
    core = with_two_bundles()
    handle(core, Withdrawn([(3, 1)]))

    handle(core, Claimed([ClaimedBundle(FIRST + 2, [(3, 2)], Demand(0, 0, 0.0), b"body")]))
    handle(core, Outcomes(W1, 1, 1, (FIRST + 1,), [outcome(3, dispatch=1, kind=OutcomeKind.CANCELLED)]))

    assert core.tasks_out == 3
    assert handle(core, attached(W2, FIRST + 2)) == handle(core, attached(W2, FIRST + 2))


def test_a_lost_worker_lets_go_of_them_too() -> None:
    """Its tasks are NEW again, but for those that were cancelled: the store's fence sees to that."""
    core = with_two_bundles()
    handle(core, Withdrawn([(3, 1)]))
    effects = handle(core, lost(W1, FIRST + 1))
    assert Release(((3, 1),)) in effects
    assert core.tasks_out == 2


def test_what_was_cancelled_while_no_scheduler_was_there_is_withdrawn_when_its_worker_comes() -> None:
    """The row is over, but its process may run."""
    core = a_core()
    core.restore([Held(FIRST, 1, 1, W1), Held(FIRST, 2, 1, W1, wanted=False)], {W1})
    core.handle(welcome(), now=1)

    effects = core.handle(attached(W1, FIRST), now=1)

    assert effects[-1] == withdraw((2, 1), bundles=(FIRST,))
    assert core.tasks_out == 2, "until it lets go"
    core.check()
