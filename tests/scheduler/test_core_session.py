"""The scheduler's session with the broker: what opens it, keeps it alive and ends it."""

import pytest
from tests.scheduler.cores import IDENTITY, SESSION, W1, a_core, live

from hs_common.errors import StoppedError
from hs_common.messages import Bye, Credit, Heartbeat, Refused, SchedulerHello, WhoAreYou
from hs_scheduler.events import Connected, Disconnected, Event, Reopen, Running, Send


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


def test_a_stale_epoch_ends_this_scheduler() -> None:
    """Another scheduler owns the store: going on would be wrong."""
    core = a_core()
    with pytest.raises(StoppedError, match="stale epoch"):
        core.handle(Refused(session=SESSION, reason="stale epoch", fatal=True, bundles=()), now=0)


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
