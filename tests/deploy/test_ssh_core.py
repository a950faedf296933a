"""Who logs in when, who is tried again, and when no host is left."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hs_deploy.launchers.nodes import Node
from hs_deploy.launchers.ssh_core import (
    BACKOFF_MAX_S,
    LOGINS_MAX,
    REACHED_S,
    RETRIES_FIRST,
    RETRIES_MAX,
    STAGGER_S,
    STEADY_S,
    Login,
    Say,
    SshCore,
)

A, B = Node("a"), Node("b")
LATER = 100.0
"""By then everybody's first login is due."""


def test_logins_begin_one_after_the_other() -> None:
    """A gateway through which all go must not take them for an attack."""
    core = SshCore([A, B], now=0)

    assert core.expire(0) == [Login(A)]
    assert core.deadline() == STAGGER_S
    assert core.expire(STAGGER_S) == [Login(B)]
    assert core.deadline() is None


def test_at_most_ten_logins_are_under_way() -> None:
    """The next one begins when one of them has come to its end, whichever."""
    nodes = [Node(f"n{number}") for number in range(LOGINS_MAX + 2)]
    core = SshCore(nodes, now=0)

    assert core.expire(LATER) == [Login(node) for node in nodes[:LOGINS_MAX]]
    assert core.deadline() is None
    core.on_up(nodes[0], LATER)
    assert core.expire(LATER) == [Login(nodes[LOGINS_MAX])]
    core.on_failed(nodes[1], "refused", LATER, final=True)
    assert core.expire(LATER) == [Login(nodes[LOGINS_MAX + 1])]


def test_a_host_that_refuses_is_left_out_and_named() -> None:
    """The run goes on with the others."""
    core = SshCore([A, B], now=0)
    core.expire(LATER)

    assert core.on_failed(A, "Permission denied", LATER, final=True) == [
        Say("a: Permission denied; going on without it")
    ]
    core.on_up(B, LATER)
    assert core.over() is None


def test_a_host_out_of_reach_is_tried_again_and_then_left_out() -> None:
    """Within seconds: others may wait for that."""
    core = SshCore([A], now=0)
    waits = []
    for _ in range(RETRIES_FIRST):
        (login,) = core.expire(LATER)
        (said,) = core.on_failed(A, "timed out", 0, final=False)
        assert isinstance(said, Say)
        assert "trying again" in said.text
        waits.append(core.deadline())
    core.expire(LATER)

    assert login == Login(A)
    assert waits == [1, 2]
    assert core.on_failed(A, "timed out", 0, final=False) == [Say("a: timed out; going on without it")]
    assert core.over() == "no host is left to run tasks (a: timed out)"


def test_a_host_that_was_cut_off_is_tried_for_longer() -> None:
    """It worked before, so it may again: a cable, a switch."""
    core = SshCore([A], now=0)
    now = 0.0
    for _ in range(RETRIES_MAX):
        core.expire(now)
        core.on_up(A, now)
        core.on_ended(A, "the connection was lost", now, final=False)
        due = core.deadline()
        assert due is not None
        assert due - now <= BACKOFF_MAX_S
        now = due
    core.expire(now)
    core.on_up(A, now)
    core.on_ended(A, "the connection was lost", now, final=False)

    assert core.over() is not None


def test_a_minute_without_trouble_forgives_what_was_before() -> None:
    """A long run has many short cuts."""
    core = SshCore([A], now=0)
    now = 0.0
    for _ in range(3 * RETRIES_MAX):
        core.expire(now)
        core.on_up(A, now)
        now += STEADY_S
        core.on_ended(A, "the connection was lost", now, final=False)
        assert core.deadline() == now + 1
        now += 1

    assert core.over() is None


def test_a_host_that_once_worked_is_known_to_reach_us() -> None:
    """Its next worker may find the way barred for a while; one that never lived that long may never."""
    core = SshCore([A, B], now=0)
    core.expire(1)
    core.on_up(A, 1)
    core.on_up(B, 1)

    core.on_ended(A, "the connection was lost", 1 + REACHED_S, final=False)
    core.on_ended(B, "the connection was lost", REACHED_S, final=False)

    assert core.has_reached(A, LATER)
    assert not core.has_reached(B, LATER)


def test_nobody_is_tried_again_once_we_leave() -> None:
    """Nor is anything said about it: they were told to end."""
    core = SshCore([A, B], now=0)
    core.expire(0)
    core.leave()

    assert core.on_failed(A, "timed out", 1, final=False) == []
    assert core.expire(LATER) == []
    assert core.over() == "no host is left to run tasks (a: timed out)"


class AnyOrder(RuleBasedStateMachine):
    """Whatever the hosts do: no more logins than allowed, and it ends when none is left."""

    @initialize(count=st.integers(1, 25))
    def begin(self, count: int) -> None:
        self.now = 0.0
        self.core = SshCore([Node(f"n{number}") for number in range(count)], self.now)
        self.logins: list[Node] = []
        self.up: list[Node] = []

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.logins += [effect.node for effect in self.core.expire(self.now) if isinstance(effect, Login)]

    @rule(data=st.data(), how=st.sampled_from(["up", "failed", "refused"]))
    def end_login(self, data: st.DataObject, how: str) -> None:
        if not self.logins:
            return
        node = self.logins.pop(data.draw(st.integers(0, len(self.logins) - 1)))
        if how == "up":
            self.core.on_up(node, self.now)
            self.up.append(node)
        else:
            self.core.on_failed(node, how, self.now, final=how == "refused")

    @rule(data=st.data(), final=st.booleans())
    def end_session(self, data: st.DataObject, final: bool) -> None:
        if self.up:
            node = self.up.pop(data.draw(st.integers(0, len(self.up) - 1)))
            self.core.on_ended(node, "it ended", self.now, final=final)

    @rule()
    def leave(self) -> None:
        self.core.leave()

    @invariant()
    def holds(self) -> None:
        self.core.check()
        assert len(set(self.logins)) == len(self.logins) <= LOGINS_MAX
        if self.core.over() is not None:
            assert not self.logins
            assert not self.up
            assert self.core.deadline() is None


TestAnyOrder = AnyOrder.TestCase
