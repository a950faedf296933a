"""What the worker's core says to its broker: sessions, credit, news."""

import msgpack
import pytest
from tests.worker.building import (
    CRASHED,
    HANDED_BACK,
    SELF,
    WALL_S,
    Worker,
    a_detail,
    a_task,
    a_worker,
    sent,
    spawned,
    told,
)

from hs_common import messages
from hs_common.errors import StoppedError
from hs_common.outcomes import pack_outcome
from hs_common.tasks import Outcome, unpack_started
from hs_worker import events
from hs_worker.events import Leave, Note, Reopen, Send
from hs_worker.settings import Rules

# --- Sessions ---


def test_hello_carries_what_is_held() -> None:
    """Waiting, running, ended but not sent, sent but not committed: each bundle once."""
    worker = a_worker(slots=1)
    worker.gets((1, (a_task(1), a_task(2))), (3, (a_task(3),)), (4, (a_task(4),)))
    worker.ends(0)
    worker.ends(0)
    worker.takes(events.Disconnected())
    worker.ends(0)

    (hello,) = sent(worker.takes(events.Connected()), messages.WorkerHello)

    assert sorted(hello.inventory) == [1, 3, 4]
    assert (hello.worker, hello.replaces, hello.slots, hello.confirms) == (SELF, b"", 1, False)


def test_after_a_welcome_all_uncommitted_results_are_sent_again_in_order() -> None:
    """Same sequences, same bodies, the new token."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2)
    first = sent(worker.ends(0), messages.Result)
    worker.now += 1
    first += sent(worker.ends(0), messages.Result)

    again = sent(worker.is_welcome(), messages.Result)

    assert [(one.sequence, one.body, one.closed) for one in again] == [
        (one.sequence, one.body, one.closed) for one in first
    ]
    assert {one.session for one in again} == {worker.session}


def test_tasks_go_on_without_a_broker_and_are_told_later() -> None:
    """P3: the death of a broker stops nothing."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2)
    worker.takes(events.Disconnected())

    assert spawned(worker.ends(0)) == [(0, 2)]
    assert worker.ends(0)[1:] == []
    assert sorted(outcome.row for outcome in told(worker.is_welcome())) == [1, 2]


@pytest.mark.parametrize("session", [b"\xff" * 16, b"\0" * 15 + b"\x01"], ids=["strange", "older"])
def test_an_assign_of_another_session_is_void(session: bytes) -> None:
    """A stale Assign would start what was given to somebody else meanwhile."""
    worker = a_worker()
    worker.is_welcome()

    assert worker.gets((1, (a_task(1),)), session=session) == [Note("info", "message.void", {"type": "Assign"})]


def test_between_hello_and_welcome_nothing_is_accepted() -> None:
    """The inventory in the Hello would be overtaken; a WhoAreYou to something older is answered once."""
    worker = a_worker()
    (hello,) = worker.takes(messages.WhoAreYou())
    assert isinstance(hello, Send)

    assert worker.takes(messages.WhoAreYou()) == []
    assert spawned(worker.gets_tasks(1)) == []


def test_a_repeated_assign_is_dropped_even_after_its_end() -> None:
    """I8: a worker runs a dispatch once."""
    worker = a_worker()
    worker.gets_tasks(1)

    assert worker.gets_tasks(1) == []
    result = sent(worker.ends(0), messages.Result)
    worker.takes(messages.Committed(session=worker.session, worker=SELF, sequences=(result[0].sequence,)))
    assert worker.gets_tasks(1) == []


def test_bundles_are_confirmed_in_one_message_where_that_is_asked() -> None:
    """One Received for each Assign."""
    worker = a_worker(confirms=True)

    effects = worker.gets_tasks(1, 2, 3)

    assert sent(effects, messages.Received) == [
        messages.Received(session=worker.session, worker=SELF, bundles=(1, 2, 3))
    ]


def test_a_bundle_that_is_closed_at_once_is_not_confirmed_besides() -> None:
    """Its Result says all that a Received would. Those that still have something to run are confirmed."""
    worker = a_worker(slots=1, confirms=True)
    effects = [*worker.gets_tasks(1, 2, 3, 4, 5, 6), *worker.ends(0), *worker.waits(0.1)]

    assert [message.bundles for message in sent(effects, messages.Received)] == [(2, 3, 4, 5, 6)]
    assert [message.closed for message in sent(effects, messages.Result)] == [(1,)]


def test_a_malformed_bundle_is_closed_unread() -> None:
    """Its rows go back by that; the scheduler decides what to do with them."""
    worker = a_worker()
    header = messages.BundleHeader(7, 1, 3, messages.Demand(0, 0, 0.0))

    effects = worker.takes(messages.Assign(session=worker.session, bundles=(header,), body=b"???"))

    assert [result.closed for result in sent(effects, messages.Result)] == [(7,)]


def test_silence_opens_a_new_socket_and_a_pause_of_our_own_does_not() -> None:
    """RELIABILITY 4.1, B2: time in which we did not run ourselves says nothing about the broker."""
    worker = a_worker()
    worker.waits(10)
    worker.waits(10)

    assert Reopen() in worker.waits(10)
    worker.is_welcome()
    assert Reopen() not in worker.waits(3600)


def test_a_hello_without_an_answer_opens_a_new_socket() -> None:
    """Nobody knows whether it is still on its way, and two on one connection could cross."""
    worker = Worker()
    worker.takes(events.Connected())

    assert worker.waits(5) == [Reopen()]


def test_an_answer_is_waited_for_longer_each_time_until_one_comes() -> None:
    """A long inventory on a slow line would be begun anew for ever."""
    worker = Worker()
    for wait_s in (5, 10, 20, 30, 30):
        worker.takes(events.Connected())
        assert worker.waits(wait_s - 1) == []
        assert worker.waits(1) == [Reopen()]

    worker.is_welcome()
    worker.takes(events.Connected())
    assert worker.waits(5) == [Reopen()]


def test_heartbeats_are_sent_only_where_nothing_else_was_said() -> None:
    """Every ten seconds of saying nothing."""
    worker = a_worker()
    assert worker.waits(9) == []
    worker.is_welcome()

    assert worker.waits(9) == []
    assert worker.waits(1) == [Send(messages.Heartbeat(session=worker.session))]


def test_a_heartbeat_is_answered_unless_something_was_just_said() -> None:
    """The broker asks where its lease is shorter than our beat; but what it says may be its own answer to us."""
    worker = a_worker()
    heartbeat = messages.Heartbeat(session=worker.session)

    assert worker.takes(heartbeat) == []
    assert worker.waits(1) == []
    assert worker.takes(heartbeat) == [Send(heartbeat)]
    assert worker.takes(heartbeat) == []


def test_a_refusal_that_is_not_for_ever_is_followed_by_another_hello() -> None:
    """That there are too many workers may pass."""
    worker = Worker()
    worker.takes(events.Connected())
    refused = messages.Refused(session=b"\0" * 16, reason="full", fatal=False, bundles=())

    assert worker.takes(refused) == [Note("warning", "worker.refused", {"reason": "full"})]
    assert len(sent(worker.waits(1), messages.WorkerHello)) == 1


def test_a_refusal_for_ever_ends_the_worker() -> None:
    """Whoever started it hears why; one that had begun leaves like any other, for its launcher would take that for a failure."""
    refused = messages.Refused(session=b"\0" * 16, reason="not you", fatal=True, bundles=())
    new, old = Worker(), Worker()
    new.takes(events.Connected())
    old.takes(events.Connected())
    old.is_welcome()

    with pytest.raises(StoppedError, match="refuses this worker: not you"):
        new.takes(refused)
    assert old.takes(refused)[-1] == Leave(refused=True)


def test_the_successor_runs_what_may_have_killed_its_predecessor_one_by_one() -> None:
    """Else the deaths of workers count for all that run beside the one that kills them, each time."""
    crashed = [pack_outcome(Outcome(row, 1, CRASHED, 0, "", 5.0, 0.0, 0.0, 0.0, 0, b"", b"", b"")) for row in (1, 2)]
    worker = Worker(Rules(slots=4, confirms=False), recovered=tuple(enumerate(crashed, 11)))
    worker.is_welcome()

    first = worker.gets_tasks(1, 2, 3)

    assert spawned(first) == [(0, 1)]
    assert spawned(worker.ends(0)) == [(0, 2)]
    assert spawned(worker.ends(0)) == [(0, 3)]
    assert spawned(worker.gets_tasks(4, 5, 6)) == [(1, 4), (2, 5), (3, 6)]


def test_the_successor_tells_what_its_predecessor_left() -> None:
    """Recovered outcomes are in the first Hello's inventory and follow its Welcome; their bundles are closed."""
    crashed = Outcome(3, 2, CRASHED, 0, "", 5.0, 0.0, 0.0, 0.0, 0, b"", b"", b"")
    worker = Worker(recovered=((8, msgpack.packb(crashed)), (8, msgpack.packb(crashed._replace(row=4)))))
    (hello,) = sent(worker.takes(events.Connected()), messages.WorkerHello)

    effects = worker.takes(messages.Welcome(session=b"s" * 16, broker=b"b" * 16, epoch=1))

    assert hello.inventory == (8,)
    (result,) = sent(effects, messages.Result)
    assert (result.closed, result.tasks) == ((8,), 2)
    assert told(effects) == [crashed, crashed._replace(row=4)]


# --- Credit and pace ---


def test_a_new_kind_is_prefetched_one_per_slot_and_short_tasks_as_many_as_end_in_a_tenth_of_a_second() -> None:
    """So short tasks stream, and nobody waits behind a long one."""
    worker = Worker()
    (hello,) = sent(worker.takes(events.Connected()), messages.WorkerHello)
    assert hello.credit == 4
    worker.takes(messages.Welcome(session=b"s" * 16, broker=b"b" * 16, epoch=1))
    worker.session = b"s" * 16
    worker.gets_tasks(1, 2)

    worker.now = 1.0
    ready = sent(worker.ends(0, 1, seconds=0.001), messages.Ready)

    assert [one.credit for one in ready] == [2 + 200]

    # Another kind: back to one per slot
    worker.now = 1.1
    effects = worker.gets((3, (a_task(3, detail=a_detail(tags=(("size", "big"),))),)))
    assert [one.credit for one in sent(effects, messages.Ready)] == [4]


def test_small_changes_of_credit_are_not_told() -> None:
    """A fifth more or less is noise."""
    worker = a_worker()
    worker.gets_tasks(1, 2, 3)
    worker.now = 1.0
    worker.ends(0, seconds=0.001)
    worker.now = 2.0

    assert sent(worker.ends(1, seconds=0.0014), messages.Ready) == []


def test_results_have_company_while_enough_waits_and_are_sent_at_once_when_nothing_does() -> None:
    """A Result costs a message: it is worth it only for a worker that would fall idle, or after 80 ms."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1)
    worker.now = 1.0
    worker.ends(0, seconds=0.001)  # the credit is 101 now
    worker.now = 2.0
    worker.gets_tasks(*range(2, 102))

    assert told(worker.ends(0, seconds=0.001)) == []
    worker.now += 0.07
    assert told(worker.ends(0, seconds=0.001)) == []
    assert [outcome.row for outcome in told(worker.waits(0.02))] == [2, 3]


def test_after_a_failure_nothing_starts_until_it_was_judged_where_that_is_asked() -> None:
    """`--halt`: of what was prefetched nothing runs after the failure that was one too many."""
    # Given a worker with tasks in hand, one of them running
    worker = a_worker(slots=2, judged=True)
    worker.gets_tasks(1, 2, 3, 4)
    assert spawned(worker.ends(0)) == [(0, 3)]

    # When one fails, it is told at once, and nothing starts, also when others end
    failed = worker.ends(0, status=0x100)
    assert spawned(failed) == []
    (result,) = sent(failed, messages.Result)
    later = worker.ends(1)
    assert spawned(later) == []

    # Then the acknowledgement of an older Result changes nothing, its own lets all go on
    older = messages.Committed(session=worker.session, worker=SELF, sequences=(result.sequence - 1,))
    assert spawned(worker.takes(older)) == []
    own = messages.Committed(session=worker.session, worker=SELF, sequences=(result.sequence,))
    assert spawned(worker.takes(own)) == [(1, 4)]


def test_a_failure_that_was_one_too_many_is_the_last_thing_that_runs() -> None:
    """The word to leave comes before the acknowledgement."""
    worker = a_worker(slots=1, judged=True)
    worker.gets_tasks(1, 2)
    (result,) = sent(worker.ends(0, status=0x100), messages.Result)

    effects = worker.takes(messages.Drain(session=worker.session, worker=SELF, now=False))
    effects += worker.takes(messages.Committed(session=worker.session, worker=SELF, sequences=(result.sequence,)))

    assert spawned(effects) == []
    assert [(outcome.row, outcome.kind) for outcome in told(effects)] == [(2, HANDED_BACK)]


def test_tasks_that_run_for_over_a_second_are_told_once() -> None:
    """The census of what runs: for long tasks, once, and again to a new scheduler."""
    worker = a_worker()
    worker.gets_tasks(1)
    assert sent(worker.waits(0.5), messages.Running) == []

    (running,) = sent(worker.waits(0.5), messages.Running)
    assert unpack_started(running.body) == [(1, 1, WALL_S)]
    assert sent(worker.waits(0.5), messages.Running) == []
    again = worker.takes(messages.NewEpoch(session=worker.session, epoch=2))
    assert [one.body for one in sent(again, messages.Running)] == [running.body]


def test_a_recall_gives_back_what_waited_longest_from_the_end() -> None:
    """What has only just come stays: it may start at once."""
    worker = a_worker(slots=1)
    worker.gets_tasks(1, 2, 3)
    worker.now = 1.0
    worker.gets_tasks(4)

    effects = worker.takes(messages.Recall(session=worker.session, tasks=1))
    effects += worker.waits(0.08)

    assert [(outcome.row, outcome.kind, outcome.reason) for outcome in told(effects)] == [(3, HANDED_BACK, "recall")]
    assert spawned(worker.ends(0)) == [(0, 2)]
    assert spawned(worker.ends(0)) == [(0, 4)]
