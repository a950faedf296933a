"""What is out: the bundles that were claimed and of which not every task is reported, by number and by row.

    add ──▶ out ──forget (row by row)──▶ nothing left: gone
             ├── unconfirmed: nobody has named it since the broker's last Welcome
             └── parked: it fits no present worker, and its body is kept

Rules, checked by `check`:
1. A row is out in at most one bundle, and a bundle without rows is not kept.
2. Only bundles that are out can be unconfirmed or parked, and none is both.
3. The tasks of a bundle are of one group; bundles of other groups than 0 are counted by group.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from hs_common import limits
from hs_common.messages import BundleHeader, Demand, Submit, Withdraw
from hs_common.outcomes import Successes
from hs_common.tasks import Outcome
from hs_common.tuples import table
from hs_common.values import dataclass
from hs_scheduler.events import ClaimedBundle

NO_DEMAND = Demand(0, 0, 0.0)

_TASK = itemgetter(0, 1)
"""Row and dispatch of an outcome."""

BUNDLES_AT_ONCE = 1_000
"""Named in one Withdraw."""


@dataclass(slots=True)
class OpenBundle:
    """A bundle that is out."""

    rows: dict[int, int]
    """Row -> its dispatch."""
    demand: Demand
    size: int
    body: bytes
    """Of all its tasks, while all are out. Kept only where it demands something: else it is refused only when all workers are
    about to end."""
    worker: bytes = b""
    """The incarnation that has it, as far as anybody said so."""
    group: int = 0
    unwanted: bool = False
    """Whether it has tasks that were cancelled, and are out until their worker or the broker lets go of them."""


class Out:
    """Bundles by number, rows by bundle, and their sums."""

    def __init__(self) -> None:
        self.bundles: dict[int, OpenBundle] = {}
        self.bundle_of: dict[int, int] = {}
        """Row -> bundle."""
        self.unconfirmed: set[int] = set()
        self.unconfirmed_tasks = 0
        """Tasks in those bundles."""
        self.size = 0
        """Bytes of all bodies."""
        self._grouped: dict[int, int] = {}
        self._parked: dict[int, None] = {}
        self.parked_tasks = 0
        self.unwanted: dict[int, int] = {}
        """Row -> dispatch that was cancelled and is still out."""

    def __len__(self) -> int:
        """Return how many tasks are out."""
        return len(self.bundle_of)

    @property
    def parked(self) -> list[int]:
        """The bundles that fit nobody, in the order in which they were refused."""
        return list(self._parked)

    def parked_among(self, spans: Sequence[tuple[int, int]]) -> list[int]:
        """Return those of which a row is in one of these spans: first and last row, included."""
        return [
            bundle
            for bundle in self._parked
            if any(first <= row <= last for row in self.bundles[bundle].rows for first, last in spans)
        ]

    def lowest_group(self) -> int | None:
        """Return the lowest group of which something is out, or None: nothing is."""
        lowest = min(self._grouped, default=None)
        if len(self.bundles) > sum(self._grouped.values()) and (lowest is None or lowest > 0):
            return 0
        return lowest

    def add(self, claimed: Iterable[ClaimedBundle]) -> None:
        """Note bundles on their way out."""
        bundles, bundle_of = self.bundles, self.bundle_of
        for bundle, rows, demand, body, group in claimed:
            kept = b"" if demand == NO_DEMAND else body
            size = len(body)
            bundles[bundle] = OpenBundle(dict(rows), demand, size, kept, b"", group)
            self.size += size
            if group:
                self._count_group(group, 1)
            for row, _ in rows:
                if self.unwanted and row in self.unwanted:  # cancelled, and wanted again before its worker let go of it
                    self.forget(bundle_of[row], row)
                bundle_of[row] = bundle

    def find(self, bundle: int, row: int, dispatch: int, worker: bytes, group: int) -> None:
        """Note a row that an earlier scheduler had handed out; its bundle is unconfirmed."""
        found = self.bundles.get(bundle)
        if found is None:
            found = self.bundles[bundle] = OpenBundle({}, NO_DEMAND, 0, b"", group=group)
            self._count_group(group, 1)
            self.unconfirmed.add(bundle)
        found.rows[row] = dispatch
        found.worker = found.worker or worker
        self.bundle_of[row] = bundle
        self.unconfirmed_tasks += 1

    def confirm(self, bundle: int) -> None:
        """Note that somebody has named this bundle."""
        if bundle in self.unconfirmed:
            self.unconfirmed.remove(bundle)
            self.unconfirmed_tasks -= len(self.bundles[bundle].rows)

    def report(self, outcomes: Sequence[Outcome], closed: Iterable[int]) -> None:
        """Drop the rows that ended, or came back, as they were dispatched last. `closed`: bundles that have no other any more."""
        if isinstance(outcomes, Successes):
            told = dict(zip(outcomes.rows, outcomes.dispatches, strict=True))
        else:
            told = dict(map(_TASK, outcomes))
        if not (self.unwanted or self._parked):
            self._drop_whole(closed, told)
        bundle_of, bundles = self.bundle_of, self.bundles
        for row in told.keys() & bundle_of.keys():
            bundle = bundle_of[row]
            rows = bundles[bundle].rows
            if rows[row] != told[row]:
                continue
            if len(rows) == 1 or bundles[bundle].unwanted or self._parked or bundle in self.unconfirmed:
                self.forget(bundle, row)
            else:
                del rows[row], bundle_of[row]

    def _drop_whole(self, closed: Iterable[int], told: dict[int, int]) -> None:
        """Drop those of the bundles of which all that was out is told of; nothing is unwanted or parked."""
        bundles, bundle_of, size = self.bundles, self.bundle_of, 0
        tasks = told.items()
        for bundle in closed:
            out = bundles.get(bundle)
            if out is None or not out.rows.items() <= tasks:
                continue
            if self.unconfirmed:
                self.confirm(bundle)
            for row in out.rows:
                del bundle_of[row]
            del bundles[bundle]
            size += out.size
            if out.group:
                self._count_group(out.group, -1)
        self.size -= size

    def forget(self, bundle: int, row: int) -> None:
        """Drop a row, and its bundle with the last one."""
        out = self.bundles[bundle]
        del out.rows[row], self.bundle_of[row]
        out.body = b""
        if out.unwanted:
            self.unwanted.pop(row, None)
        self.parked_tasks -= bundle in self._parked
        self.unconfirmed_tasks -= bundle in self.unconfirmed
        if not out.rows:
            del self.bundles[bundle]
            if out.group:
                self._count_group(out.group, -1)
            self.size -= out.size
            self.unconfirmed.discard(bundle)
            self._parked.pop(bundle, None)

    def take(self, bundles: Iterable[int]) -> tuple[tuple[int, int], ...]:
        """Drop these bundles; return the (row, dispatch) pairs that were left in them."""
        rows: list[tuple[int, int]] = []
        for bundle in bundles:
            out = self.bundles[bundle]
            rows += out.rows.items()
            for row in list(out.rows):
                self.forget(bundle, row)
        return tuple(rows)

    def cancel(self, tasks: Iterable[tuple[int, int]]) -> list[int]:
        """Note that these (row, dispatch) pairs are not wanted any more; return the bundles that have them."""
        found: dict[int, None] = {}
        for row, dispatch in tasks:
            bundle = self.bundle_of.get(row)
            if bundle is not None and self.bundles[bundle].rows[row] == dispatch:
                self.unwanted[row] = dispatch
                self.bundles[bundle].unwanted = True
                found[bundle] = None
        return list(found)

    def doubt(self) -> None:
        """Note that whatever was on its way may be lost: all but the parked ones are unconfirmed."""
        self.unconfirmed = self.bundles.keys() - self._parked.keys()
        self.unconfirmed_tasks = len(self) - self.parked_tasks

    def park(self, bundles: Iterable[int]) -> None:
        """Keep these here: they fit no present worker."""
        for bundle in bundles:
            self.confirm(bundle)
            self._parked[bundle] = None
            self.parked_tasks += len(self.bundles[bundle].rows)

    def unpark(self) -> list[int]:
        """Return what was parked; it is on its way again."""
        parked = self.parked
        self._parked.clear()
        self.parked_tasks = 0
        return parked

    def check(self) -> None:
        """Assert the rules."""
        rows = {row: bundle for bundle, out in self.bundles.items() for row in out.rows}
        assert rows == self.bundle_of, "a row is out in at most one bundle"
        assert all(out.rows for out in self.bundles.values()), "no bundle without rows"
        assert self.unconfirmed <= self.bundles.keys(), "only what is out can be unconfirmed"
        assert self._parked.keys() <= self.bundles.keys(), "only what is out can be parked"
        assert self.unconfirmed.isdisjoint(self._parked), "what the broker refused has been named"
        assert self.parked_tasks == sum(len(self.bundles[b].rows) for b in self._parked), "parked tasks add up"
        doubted = sum(len(self.bundles[b].rows) for b in self.unconfirmed)
        assert self.unconfirmed_tasks == doubted, "unconfirmed tasks add up"
        assert self.size == sum(out.size for out in self.bundles.values()), "bytes add up"
        for row, dispatch in self.unwanted.items():
            bundle = self.bundles[self.bundle_of[row]]
            assert bundle.unwanted, "a bundle knows that it has unwanted tasks"
            assert bundle.rows[row] == dispatch, "only what is out can be unwanted"
        groups = Counter(out.group for out in self.bundles.values() if out.group)
        assert self._grouped == groups, "bundles of a group add up"

    def _count_group(self, group: int, change: int) -> None:
        if not group:
            return
        count = self._grouped.get(group, 0) + change
        if count:
            self._grouped[group] = count
        else:
            del self._grouped[group]


def submits(session: bytes, bundles: Sequence[ClaimedBundle]) -> Iterator[Submit]:
    """Yield the Submits of these bundles, each below the limits of a message."""
    for some in _messages(bundles):
        numbers, rows, demands, bodies, _ = zip(*some, strict=True)
        headers = table(BundleHeader, numbers, map(len, rows), map(len, bodies), demands)
        yield Submit(session=session, bundles=tuple(headers), body=b"".join(bodies))


def _messages(bundles: Sequence[ClaimedBundle]) -> Iterator[Sequence[ClaimedBundle]]:
    first = size = 0
    for at, bundle in enumerate(bundles):
        if at > first and (size + len(bundle.body) > limits.BODY_BYTES_MAX or at - first == limits.IDS_MAX):
            yield bundles[first:at]
            first, size = at, 0
        size += len(bundle.body)
    if bundles:
        yield bundles[first:]


def withdrawals(session: bytes, out: Out, bundles: Sequence[int]) -> list[Withdraw]:
    """Return the Withdraws that name the unwanted tasks of these bundles, each below the limits of a message."""
    found: list[Withdraw] = []
    for at in range(0, len(bundles), BUNDLES_AT_ONCE):
        some = tuple(bundles[at : at + BUNDLES_AT_ONCE])
        rows = [row for bundle in some for row in out.bundles[bundle].rows if row in out.unwanted]
        for start in range(0, len(rows), limits.IDS_MAX):
            tasks = tuple((row, out.unwanted[row]) for row in rows[start : start + limits.IDS_MAX])
            found.append(Withdraw(session=session, bundles=some, tasks=tasks))
    return found
