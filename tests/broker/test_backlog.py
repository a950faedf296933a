"""What waits in the broker, in lines of one demand each."""

from hs_broker.backlog import Backlog
from hs_common.messages import BundleHeader, Demand

SMALL, LARGE = Demand(1, 0, 0.0), Demand(4, 0, 0.0)


def test_a_line_that_nothing_waits_in_any_more_has_nothing_to_forget() -> None:
    """It goes with the last bundle that waits anywhere; who names the lines one after the other does not see that."""
    backlog = Backlog()
    backlog.put(BundleHeader(1, 1, 1, SMALL), b"x")
    backlog.put(BundleHeader(2, 1, 1, LARGE), b"x")
    backlog.remove(2)

    assert [backlog.remove_all(demand) for demand in backlog.demands()] == [(1,), ()]
    assert not backlog
