"""In which order outputs are to be printed, as the scheduler says it: both stores, and the file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scheduler.test_store import NONE, RUN, T0, Store, add, claim, line, outcome, record

from hs_common.tasks import OutcomeKind, Task
from hs_scheduler.ordering import RECORD_BYTES, Ordering, unpack_order
from hs_scheduler.stores.changes import Action, Change, Piece
from hs_scheduler.stores.memory import MemoryStore
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import Retry, Settled
from hs_scheduler.tasks.filters import Filter

TWICE = Retry(1, eager=False)


@pytest.fixture(params=["memory", "sqlite"], name="store")
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    one = MemoryStore(keeps_order=True) if request.param == "memory" else SqliteStore(str(tmp_path / "tasks.db"))
    one.open_run(RUN, {}, T0)
    yield one
    one.close()


class Order:
    """The file, and who writes it."""

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self.store = store
        self.ordering = Ordering(str(path), store)

    def ends(self, *tasks: Task, status: int = 0, retry: Retry = NONE) -> bool:
        """These tasks end; return whether more can be printed."""
        applied = record(self.store, *(outcome(task, status=status) for task in tasks), retry=retry)
        return self.ordering.ended(item.row for item in applied if item.state)

    def says(self) -> list[tuple[int, int]]:
        return list(unpack_order(self.path.read_bytes()))


@pytest.fixture(name="order")
def _order(store: Store, tmp_path: Path) -> Order:
    return Order(tmp_path / "order", store)


def test_a_task_is_settled_when_all_before_it_are(order: Order) -> None:
    """Then it is told once."""
    add(order.store, line(b"a"), line(b"b"), line(b"c"))
    first, second, third = claim(order.store)

    assert not order.ends(third)
    assert order.ends(first)
    assert order.says() == [(1, 1)]
    assert order.ends(second)
    assert order.says() == [(1, 1), (2, 2), (3, 3)]


def test_a_retry_stands_in_the_place_of_the_first_attempt(order: Order) -> None:
    """Its own row is none of the input."""
    add(order.store, line(b"a"), line(b"b"))
    first, second = claim(order.store)

    assert not order.ends(first, status=256, retry=TWICE)
    assert not order.ends(second)
    assert order.store.settled(0, 9) == [Settled(1, 3, ended=False), Settled(2, 2, ended=True)]
    assert order.ends(*claim(order.store), status=256, retry=TWICE)

    assert order.says() == [(1, 3), (2, 2)]


def test_what_can_never_run_holds_nobody_up(order: Order) -> None:
    """It has ended before it began."""
    add(order.store, line(b"a", rejected="too long"), line(b"b"), line(b"c", rejected="too long"))

    assert order.ends(*claim(order.store))

    assert order.says() == [(1, 1), (2, 2), (3, 3)]


def test_lines_that_come_later_are_told_later(order: Order) -> None:
    """The input need not be read to its end."""
    add(order.store, line(b"a"))
    assert order.ends(*claim(order.store))
    add(order.store, line(b"b"))

    assert order.ends(*claim(order.store))

    assert order.says() == [(1, 1), (2, 2)]


def test_a_task_that_was_handed_back_is_waited_for(order: Order) -> None:
    """NEW is no end."""
    add(order.store, line(b"a"))
    (task,) = claim(order.store)
    record(order.store, outcome(task, kind=OutcomeKind.HANDED_BACK))

    assert not order.ordering.ended([])
    assert order.ends(*claim(order.store))


def test_a_transaction_that_failed_settles_nothing(order: Order) -> None:
    """Its results come again."""
    add(order.store, line(b"a"), line(b"b"))
    first, second = claim(order.store)
    record(order.store, outcome(first, status=256), retry=TWICE)
    (again,) = claim(order.store)

    def fail() -> None:
        with order.store.transaction():
            order.store.record(b"1" * 16, "here", [outcome(again), outcome(second)], NONE, T0)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()

    assert order.store.settled(0, 9) == [Settled(1, 3, ended=False), Settled(2, 2, ended=False)]
    assert order.ends(again, second)
    assert order.says() == [(1, 3), (2, 2)]


def test_at_the_end_all_that_ended_is_told(order: Order) -> None:
    """Also behind tasks that were left."""
    add(order.store, line(b"a"), line(b"b"), line(b"c"))
    _, second, _ = claim(order.store)
    assert not order.ends(second)

    order.ordering.close()

    assert order.says() == [(2, 2)]


def test_many_are_told_when_the_first_ends(order: Order) -> None:
    """In pieces, but all of them."""
    add(order.store, *[line(b"a")] * 2500)
    first, *others = claim(order.store, 2500)
    assert not order.ends(*others)

    assert order.ends(first)

    assert order.says() == [(row, row) for row in range(1, 2501)]


@pytest.mark.parametrize("cut", [0, 1, RECORD_BYTES - 1])
def test_a_restarted_scheduler_goes_on_where_the_last_one_was(tmp_path: Path, cut: int) -> None:
    """Also if it was killed while it wrote, or between its commit and that."""
    store = SqliteStore(str(tmp_path / "tasks.db"))
    store.open_run(RUN, {}, T0)
    before = Order(tmp_path / "order", store)
    add(store, line(b"a"), line(b"b"), line(b"c"))
    first, second, third = claim(store)
    before.ends(first)
    with before.path.open("ab") as file:
        file.write(bytes(cut))
    record(store, outcome(second))

    after = Order(before.path, store)

    assert after.ends(third)
    assert after.says() == [(1, 1), (2, 2), (3, 3)]
    store.close()


@pytest.fixture(name="kept")
def _kept(tmp_path: Path) -> Iterator[Order]:
    """The order of a run that is recorded, so that what ended in it can be changed by hand."""
    store = SqliteStore(str(tmp_path / "tasks.db"))
    store.open_run(RUN, {}, T0)
    yield Order(tmp_path / "order", store)
    store.close()


def test_what_is_retried_by_hand_is_told_when_it_ends_again(kept: Order) -> None:
    """Its place has been passed. The scheduler after that goes on where this one was."""
    add(kept.store, line(b"a"), line(b"b"), line(b"c"))
    first, second, third = claim(kept.store)
    kept.ends(first, status=256)
    kept.ends(second)
    assert isinstance(kept.store, SqliteStore)
    assert kept.store.retry_failed(T0) == 1
    (again,) = claim(kept.store)

    assert kept.ends(again)
    after = Order(kept.path, kept.store)
    assert after.ends(third)

    assert after.says() == [(1, 1), (2, 2), (2, again.row), (3, 3)]


def test_what_is_reverted_is_told_when_it_ends_again(kept: Order) -> None:
    """Though it is the same row."""
    add(kept.store, line(b"a"), line(b"b"))
    kept.ends(*claim(kept.store))
    assert isinstance(kept.store, SqliteStore)
    with kept.store.transaction():
        kept.store.change(Piece(Change(filter=Filter(), action=Action.REVERT), 1, 2), T0)

    assert kept.ends(*claim(kept.store))

    assert kept.says() == [(1, 1), (2, 2), (2, 1), (2, 2)]


def test_what_an_early_end_left_out_is_told_when_it_ends(kept: Order) -> None:
    """Outputs that had ended were told behind it, and not all of them are printed yet."""
    add(kept.store, line(b"a"), line(b"b"))
    first, second = claim(kept.store)
    kept.ends(second)
    kept.ordering.close()
    after = Order(kept.path, kept.store)

    assert after.ends(first)

    assert after.says() == [(2, 2), (2, 1)]


@settings(deadline=None)
@given(ends=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30), rejected=st.sets(st.integers(0, 5)))
def test_both_stores_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, ends: list[tuple[int, bool]], rejected: set[int]
) -> None:
    """Whatever ends in which order, failures retried."""
    folder = tmp_path_factory.mktemp("order")
    told = []
    for store in (MemoryStore(keeps_order=True), SqliteStore(str(folder / "tasks.db"))):
        store.open_run(RUN, {}, T0)
        order = Order(folder / type(store).__name__, store)
        add(store, *(line(b"x", rejected="too long" if at in rejected else "") for at in range(6)))
        for at, fails in ends:
            open_ = claim(store)
            if at < len(open_):
                order.ends(open_[at], status=256 * fails, retry=TWICE)
            with store.transaction():
                store.release([(task.row, task.dispatch) for task in open_])
        order.ordering.close()
        told.append(order.says())
        store.close()

    assert told[0] == told[1]
