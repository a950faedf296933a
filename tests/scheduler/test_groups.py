"""Which group goes, and when: by the gate alone, and with a feed over a store."""

from collections.abc import Sequence

import pytest

from hs_common import limits
from hs_common.messages import Census, Credit, Welcome
from hs_common.tasks import Detail, Outcome
from hs_scheduler.conversation import Identity
from hs_scheduler.core import SchedulerCore
from hs_scheduler.events import Claimed, ClaimedBundle, Outcomes, Record
from hs_scheduler.input.feed import Feed
from hs_scheduler.input.groups import ALL_SHOWN, NONE_SHOWN, Groups
from hs_scheduler.stores.memory import MemoryStore
from hs_scheduler.stores.store import InputState, NewTask, Retry

SESSION = b"s" * 16
W1 = b"w" * 16


class Lines:
    """An input that shows its lines when it is told to."""

    def __init__(self, lines: Sequence[NewTask], shown: int) -> None:
        self._lines = list(lines)
        self.shown = shown
        self.ended = not lines
        self.position = 0

    def available(self) -> bool:
        return self.shown > 0 and bool(self._lines)

    def read(self, lines_max: int, bytes_max: int) -> list[NewTask]:
        count = min(lines_max, self.shown)
        taken, self._lines = self._lines[:count], self._lines[count:]
        self.shown -= len(taken)
        self.ended = not self._lines
        return taken

    def state(self) -> InputState | None:
        return None


class Stage:
    """A scheduler without its shell: what it hands out is noted, and ended when the test says so."""

    def __init__(
        self, *lines: NewTask, shown: int = 1_000, retries: int = 0, eager: bool = False, bundlesize: int = 1
    ) -> None:
        identity = Identity(scheduler=b"i" * 16, version="0", host="h", pid=7, epoch=1, store=b"o" * 16, database="")
        self.store, self.lines = MemoryStore(), Lines(lines, shown)
        self.core = SchedulerCore(identity=identity, bundlesize=bundlesize, grace_s=5, now=0)
        self.feed = Feed(
            store=self.store,
            source=self.lines,
            core=self.core,
            cwd=b"/",
            bundlesize=bundlesize,
            bundlewait_s=0,
            ahead_max=None,
            late_retries=not eager,
        )
        self.retry = Retry(retries, eager)
        self.sequence = 0
        self.out: dict[bytes, tuple[int, int, int]] = {}
        self.core.handle(Welcome(session=SESSION, broker=b"b" * 16, epoch=1), 0)
        self.core.handle(Census(session=SESSION, queued=(), more=False), 0)
        self.credit(100)

    def credit(self, tasks: int) -> None:
        self.core.handle(Credit(session=SESSION, tasks=tasks), 0)

    def step(self, *records: Record) -> list[bytes]:
        """Return the args of what is handed out in this step."""
        room = self.core.room()
        self.feed.take(room, ahead=True)
        with self.store.transaction():
            for record in records:
                self.store.record(record.worker, record.host, record.outcomes, self.retry, 1e9)
            claimed = self.feed.fill(room, 0, 1e9)
        self.feed.committed()
        self.core.handle(Claimed(claimed), 0)
        self.core.check()
        return [self._note(bundle) for bundle in claimed]

    def end(self, args: bytes, status: int = 0) -> list[bytes]:
        """Let a task that is out end; return what is handed out then."""
        bundle, row, dispatch = self.out.pop(args)
        self.sequence += 1
        outcome = Outcome(row, dispatch, 0, status, "", 1e9, 0.1, 0.0, 0.0, 0, b"", b"", b"")
        effects = self.core.handle(Outcomes(W1, self.sequence, 1, (bundle,), [outcome]), 0)
        return self.step(*(effect for effect in effects if isinstance(effect, Record)))

    def _note(self, bundle: ClaimedBundle) -> bytes:
        ((row, dispatch),) = bundle.rows
        args = self.store._rows[row].task.args
        self.out[args] = (bundle.bundle, row, dispatch)
        return args


def line(args: bytes, group: int = 0, priority: int = 0) -> NewTask:
    return NewTask(args, None, group, priority, "")


@pytest.mark.parametrize("waiting", [False, True])
def test_a_bundle_ends_before_it_is_longer_than_a_message_may_be(waiting: bool) -> None:
    """Whatever makes it long, as tags that hold for all lines. As they are read, and out of the store."""
    tags = tuple((f"key{number}", "x" * 1_000) for number in range(100))
    heavy = line(b"true")._replace(detail=Detail(0.0, 0, 0, tags, b""))
    stage = Stage(*[heavy] * 9, bundlesize=9)
    stage.feed.take(9, ahead=True)
    for room in (0, 9) if waiting else (9,):
        with stage.store.transaction():
            claimed = stage.feed.fill(room, 0, 1e9)
        stage.feed.committed()

    assert sum(len(bundle.rows) for bundle in claimed) == 9
    assert max(len(bundle.body) for bundle in claimed) <= limits.PARCEL_BYTES_MAX


def test_a_line_that_can_never_run_does_not_part_a_bundle() -> None:
    """Two bundles of one number would be one of them lost."""
    stage = Stage(line(b"a"), line(b"b\0")._replace(rejected="NUL"), line(b"c"), line(b"d"), bundlesize=2)

    stage.feed.take(10, ahead=True)
    with stage.store.transaction():
        claimed = stage.feed.fill(10, 0, 1e9)

    assert [bundle.rows for bundle in claimed] == [[(1, 1), (3, 1)], [(4, 1)]]
    assert len({bundle.bundle for bundle in claimed}) == 2


def test_a_group_waits_for_what_is_out_of_a_lower_one() -> None:
    """Not only for what waits."""
    stage = Stage(line(b"a"), line(b"b"), line(b"late", group=1))

    assert stage.step() == [b"a", b"b"]
    assert stage.end(b"a") == []
    assert stage.feed.shut
    assert stage.end(b"b") == [b"late"]


def test_a_lower_group_that_turns_up_later_goes_next() -> None:
    """It waits for nothing of a higher one; the rest of that one waits for it."""
    stage = Stage(line(b"g5", group=5), line(b"g1", group=1), line(b"more", group=5), shown=1)

    assert stage.step() == [b"g5"]
    stage.lines.shown = 2
    assert stage.step() == [b"g1"]
    assert stage.end(b"g5") == []
    assert stage.end(b"g1") == [b"more"]


def test_a_group_that_the_input_has_not_shown_waits_for_the_end_of_the_input() -> None:
    """What was in the store before may be of a later group than what is still to be read."""
    stage = Stage(line(b"g0"), shown=0)
    with stage.store.transaction():
        stage.store.add([line(b"old", group=3)], [0], b"/", 1e9)

    assert stage.step() == []
    assert stage.feed.shut
    stage.lines.shown = 1
    assert stage.step() == [b"g0"]
    assert stage.end(b"g0") == [b"old"]


def test_the_end_of_the_input_alone_opens_the_gate() -> None:
    """No line has to come for it."""
    stage = Stage(line(b"never"), shown=0)
    with stage.store.transaction():
        stage.store.add([line(b"old", group=3)], [0], b"/", 1e9)
    assert stage.step() == []

    stage.lines.ended = True

    assert not stage.feed.shut
    assert stage.step() == [b"old"]


def test_a_failed_group_holds_the_later_ones() -> None:
    """And no lower one."""
    stage = Stage(line(b"bad", group=1), line(b"late", group=2), line(b"first", group=-1), shown=2)

    assert stage.step() == [b"bad"]
    assert stage.end(b"bad", status=256) == []
    assert (stage.feed.held_by, stage.feed.shut) == (1, True)
    stage.lines.shown = 1
    assert stage.step() == [b"first"]
    assert stage.feed.held_by is None
    assert stage.end(b"first") == []
    assert stage.feed.held_by == 1


def test_a_group_is_over_when_its_retries_are() -> None:
    """One that succeeds at last has not failed."""
    stage = Stage(line(b"flaky"), line(b"late", group=1), retries=1)

    assert stage.step() == [b"flaky"]
    assert stage.end(b"flaky", status=256) == [b"flaky"]
    assert stage.end(b"flaky") == [b"late"]


def test_a_failure_of_a_later_group_holds_no_earlier_one() -> None:
    """Groups hold those above them."""
    stage = Stage(line(b"bad", group=2), line(b"g1", group=1), line(b"more", group=2), shown=1)
    assert stage.step() == [b"bad"]
    stage.lines.shown = 2

    assert stage.end(b"bad", status=256) == [b"g1"]
    assert stage.end(b"g1") == [b"more"]


def test_the_higher_priority_goes_first_in_its_group() -> None:
    """Among what was read by then; nobody is taken back."""
    stage = Stage(line(b"a"), line(b"b"), line(b"urgent", priority=9), line(b"g1", group=1, priority=99))
    stage.credit(1)

    assert stage.step() == [b"a"]
    assert stage.step() == [], "there is no room, so it reads ahead"
    assert stage.end(b"a") == [b"urgent"]
    assert stage.end(b"urgent") == [b"b"]
    assert stage.end(b"b") == [b"g1"]


@pytest.mark.parametrize(
    ("eager", "order"), [(False, [b"bad", b"b", b"c", b"bad"]), (True, [b"bad", b"bad", b"b", b"c"])]
)
def test_a_retry_waits_for_lines_that_are_still_to_be_read_unless_it_is_eager(eager: bool, order: list[bytes]) -> None:
    """What is in the file is new, wherever it has got to."""
    stage = Stage(line(b"bad"), line(b"b"), line(b"c"), shown=1, retries=1, eager=eager)
    stage.credit(1)
    seen = stage.step()
    stage.lines.shown = 2

    for status in (256, 0, 0, 0):
        seen += stage.end(seen[-1], status)

    assert seen == order


def test_failures_are_looked_for_once_a_group() -> None:
    """It is a look at every row: not at each claim."""
    looks = []
    groups = Groups(shown=ALL_SHOWN, failed_group=lambda: looks.append(1), holding=lambda: 7)

    may = [groups.may_go(group, None, input_ended=True) for group in (3, 3, 3, 4, 4)]

    assert may == [True] * 5
    assert len(looks) == 2


def test_a_group_that_is_held_is_looked_at_again_when_failures_go() -> None:
    """Whoever retries or cancels them frees it."""
    failures, lowest = [2], [0]
    groups = Groups(
        shown=NONE_SHOWN, failed_group=lambda: lowest[0] if failures[0] else None, holding=lambda: failures[0]
    )
    assert not groups.may_go(1, None, input_ended=True)
    assert groups.held_by == 0

    failures[0] = 0

    assert groups.may_go(1, None, input_ended=True)
    assert groups.held_by is None
