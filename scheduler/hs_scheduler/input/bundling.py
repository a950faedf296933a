"""Tasks into bundles, as they go out. No IO."""

from collections.abc import Sequence
from itertools import compress, groupby

from hs_common.messages import Demand
from hs_common.tasks import Detail, Task, pack_bundle
from hs_common.tuples import maker
from hs_scheduler.events import ClaimedBundle
from hs_scheduler.out import NO_DEMAND

_claimed = maker(ClaimedBundle)


def demand_of(detail: Detail | None) -> Demand:
    """Return what a task asks of its worker."""
    return NO_DEMAND if detail is None else Demand(detail.cores, detail.memory, detail.timeout)


def by_bundle(bundles: Sequence[int], tasks: Sequence[Task]) -> list[tuple[int, Sequence[Task]]]:
    """Return (bundle, its tasks), from the bundle of each task: neighbours of one bundle belong together."""
    found = []
    at = 0
    for bundle, alike in groupby(bundles):
        end = at + len(list(alike))
        found.append((bundle, tasks[at:end]))
        at = end
    return found


def packed(
    bundles: Sequence[tuple[int, Sequence[Task]]], folders: Sequence[bytes], group: int = 0
) -> list[ClaimedBundle]:
    """Return the bundles as they go out; all are of one group. `folders`: of each task."""
    claimed = []
    at = 0
    for bundle, tasks in bundles:
        detail = tasks[0].detail
        demand = demand_of(detail) if detail else NO_DEMAND
        pairs = [(task.row, task.dispatch) for task in tasks]
        claimed.append(_claimed((bundle, pairs, demand, pack_bundle((folders[at], tasks)), group)))
        at += len(tasks)
    return claimed


def packed_as_added(bundles: Sequence[int], tasks: Sequence[Task], cwd: bytes) -> list[ClaimedBundle]:
    """Return the bundles of tasks that go out as they are added, from the bundle of each; those with bundle 0 do not."""
    if 0 in bundles:
        tasks = list(compress(tasks, bundles))
        bundles = list(filter(None, bundles))
    return packed(by_bundle(bundles, tasks), [cwd] * len(tasks))
