"""Who waits for which tasks: told once, when the last of them has ended."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hs_scheduler.serving.waits import Waits
from hs_scheduler.stores.store import Standing

A, B = (b"a" * 16, 1), (b"b" * 16, 1)
ONE, TWO = b"1" * 16, b"2" * 16


def test_a_wait_is_over_when_its_last_task_has_ended() -> None:
    waits = Waits()
    waits.add(A, {ONE: Standing(1, ended=False), TWO: Standing(2, ended=False)})

    assert waits.move(1, {ONE: Standing(1, ended=True)}) == []
    ((asker, wait),) = waits.move(2, {TWO: Standing(2, ended=True)})

    assert (asker, wait.count) == (A, 2)
    assert len(waits) == 0
    waits.check()


def test_a_retry_is_waited_for_in_place_of_what_failed() -> None:
    """A task has ended when its last attempt has."""
    waits = Waits()
    waits.add(A, {ONE: Standing(1, ended=False)})

    assert waits.move(1, {ONE: Standing(5, ended=False)}) == []
    assert waits.watched([1, 5]) == [5]
    assert [asker for asker, _ in waits.move(5, {ONE: Standing(5, ended=True)})] == [A]


def test_what_has_ended_is_not_waited_for() -> None:
    waits = Waits()
    wait = waits.add(A, {ONE: Standing(1, ended=True)})
    assert (wait.left, wait.count, len(waits)) == (set(), 1, 0)


def test_a_deleted_task_ends_a_wait() -> None:
    """Or its command would hang for ever."""
    waits = Waits()
    waits.add(A, {ONE: Standing(1, ended=False)})
    ((asker, _),) = waits.move(1, {ONE: None})
    assert asker == A


def test_each_of_several_that_wait_for_one_task_is_told() -> None:
    waits = Waits()
    waits.add(A, {ONE: Standing(1, ended=False)})
    waits.add(B, {ONE: Standing(1, ended=False)})
    assert [asker for asker, _ in waits.move(1, {ONE: Standing(1, ended=True)})] == [A, B]


IDS = st.sampled_from([bytes([number]) * 16 for number in range(4)])
ASKERS = st.tuples(st.sampled_from([b"a" * 16, b"b" * 16]), st.integers(1, 2))


class AnyOrder(RuleBasedStateMachine):
    """Clients come and go, tasks end and are retried: what is left is exactly what is watched."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = Waits()
        self.row = 4
        self.standing = {bytes([number]) * 16: Standing(number + 1, ended=False) for number in range(4)}
        self.waiting: dict[tuple[bytes, int], set[bytes]] = {}

    @rule(asker=ASKERS, ids=st.lists(IDS, min_size=1, unique=True))
    def wait(self, asker: tuple[bytes, int], ids: list[bytes]) -> None:
        if asker in self.waiting:
            return  # a number of a request is used again only after its answer
        wait = self.waits.add(asker, {uid: self.standing[uid] for uid in ids})
        left = {uid for uid in ids if not self.standing[uid].ended}
        assert wait.left == left
        if left:
            self.waiting[asker] = left

    @rule(uid=IDS, retried=st.booleans())
    def end(self, uid: bytes, retried: bool) -> None:
        row, ended = self.standing[uid]
        if ended:
            return
        self.row += 1
        self.standing[uid] = Standing(self.row, ended=False) if retried else Standing(row, ended=True)
        over = self.waits.move(row, {uid: self.standing[uid]}) if self.waits.watched([row]) else []
        if not retried:
            for left in self.waiting.values():
                left.discard(uid)
        expected = {asker for asker, left in self.waiting.items() if not left}
        assert {asker for asker, _ in over} == expected
        self.waiting = {asker: left for asker, left in self.waiting.items() if left}

    @rule(client=st.sampled_from([b"a" * 16, b"b" * 16]))
    def leave(self, client: bytes) -> None:
        self.waits.forget(client)
        self.waiting = {asker: left for asker, left in self.waiting.items() if asker[0] != client}

    @invariant()
    def nothing_is_forgotten(self) -> None:
        self.waits.check()
        assert len(self.waits) == len(self.waiting)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
