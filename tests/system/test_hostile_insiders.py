"""Peers with a valid key that misbehave, against a real running cluster: nobody else notices, nothing false is recorded."""

import struct
from collections.abc import Iterator
from functools import partial

import msgpack
import pytest
import zmq
from tests.faults.home import Home
from tests.faults.insiders import Insider
from tests.faults.processes import until
from tests.faults.siege import Siege

from hs_common import limits, messages
from hs_common.messages import BundleHeader, Demand, Message
from hs_common.outcomes import pack_outcomes
from hs_common.tasks import Bundle, Outcome, OutcomeKind, Task, pack_bundle
from hs_common.wire import encode

pytestmark = pytest.mark.system

TOKEN = b"t" * 16


@pytest.fixture
def siege() -> Iterator[Siege]:
    with Home() as home:
        yield Siege(home)


def an_insider(siege: Siege, role: str = "worker", *, routing_id: bytes = b"") -> Insider:
    return Insider(siege.cluster.connection(role), f"tcp://127.0.0.1:{siege.port}", routing_id=routing_id)


def a_submit(session: bytes) -> messages.Submit:
    """A bundle that would leave a trace if it ran."""
    body = pack_bundle(Bundle(b"/", [Task(1, TOKEN, 1, 1, b"echo hacked >>ledger", None)]))
    header = BundleHeader(1 << 41, 1, len(body), Demand(0, 0, 0.0))
    return messages.Submit(session=session, bundles=(header,), body=body)


def a_result(
    session: bytes, worker: bytes, outcomes: list[Outcome], sequence: int = 1, closed: tuple[int, ...] = ()
) -> Message:
    return messages.Result(
        session=session,
        worker=worker,
        sequence=sequence,
        oldest=sequence,
        tasks=len(outcomes),
        closed=closed,
        body=pack_outcomes(outcomes),
    )


def a_success(row: int, dispatch: int = 1) -> Outcome:
    return Outcome(row, dispatch, OutcomeKind.FINISHED, 0, "", 1.0, 0.1, 0.0, 0.0, 0, b"", b"", b"")


def test_a_worker_key_may_not_submit_cancel_or_command(siege: Siege) -> None:
    """H10: what a key may say is decided by its role, whatever session it holds."""
    with an_insider(siege) as rogue:
        session = rogue.register()
        victims = tuple((row, 1) for row in range(1, siege.tasks + 1))
        rogue.say(
            a_submit(session),
            messages.Cancel(session=session, worker=TOKEN, tasks=victims),
            messages.Drain(session=session, worker=b"", now=True),
            messages.WorkerDead(session=session, worker=TOKEN),
            messages.Committed(session=session, worker=TOKEN, sequences=tuple(range(1, 100))),
            messages.SchedulerHello(
                scheduler=TOKEN, version="1", host="h", pid=1, epoch=1000, store=TOKEN, database=""
            ),
        )
        assert rogue.hear(messages.Refused).fatal
    siege.assert_unharmed()


@pytest.mark.parametrize("role", ["submit", "control"])
def test_other_keys_may_not_pose_as_a_worker(siege: Siege, role: str) -> None:
    """H11: no Hello, no Result from a key that is for asking."""
    with an_insider(siege, role) as rogue:
        rogue.say(
            rogue.hello(credit=100), a_result(TOKEN, TOKEN, [a_success(row) for row in range(1, siege.tasks + 1)])
        )
        assert rogue.hear(messages.Refused).fatal
    siege.assert_unharmed()


def test_results_of_tasks_that_it_was_never_given_change_nothing(siege: Siege) -> None:
    """H6: a worker that reports success for everybody's tasks reports into the void: the failing ones are recorded as failed."""
    with an_insider(siege) as rogue:
        session = rogue.register()
        rogue.say(a_result(session, rogue.incarnation, [a_success(row) for row in range(1, siege.tasks + 1)]))
        rogue.hear(messages.Committed)
        siege.assert_unharmed()
    assert siege.rows("SELECT count(*) FROM task WHERE exit_status = 1") == [(siege.failing,)]


def test_a_result_in_the_name_of_another_worker_is_dropped(siege: Siege) -> None:
    """A session speaks for its own incarnation only."""
    with an_insider(siege) as rogue:
        session = rogue.register()
        rogue.say(a_result(session, TOKEN, [a_success(row) for row in range(1, siege.tasks + 1)]))
        siege.assert_unharmed()
    assert siege.rows("SELECT count(*) FROM task WHERE exit_status = 1") == [(siege.failing,)]


def test_a_result_replayed_a_thousand_times_is_recorded_once(siege: Siege) -> None:
    """H8: a duplicate is acknowledged and discarded."""
    with an_insider(siege) as rogue:
        session = rogue.register(credit=1)
        assign = rogue.hear(messages.Assign)
        row, dispatch, bundle = given(assign)
        answer = a_result(session, rogue.incarnation, [a_success(row, dispatch)], closed=(bundle,))
        rogue.say(messages.Ready(session=session, slots=1, credit=0, cores=1, memory=1, seconds=0.0), *[answer] * 1000)
        rogue.hear(messages.Committed)
        siege.lift()
    assert siege.rows("SELECT state, exit_status, dispatch FROM task WHERE row = ?", row) == [(3, 0, dispatch)]
    assert siege.rows("SELECT count(*) FROM task") == [(siege.tasks,)]


@pytest.mark.parametrize("forged", [2, 1000, limits.DISPATCH_MAX])
def test_a_result_of_a_dispatch_that_never_was_is_void(siege: Siege, forged: int) -> None:
    """H9: the fence is the store's; the task whose bundle was closed without a true result runs elsewhere."""
    with an_insider(siege) as rogue:
        session = rogue.register(credit=1)
        row, dispatch, bundle = given(rogue.hear(messages.Assign))
        rogue.say(
            messages.Ready(session=session, slots=1, credit=0, cores=1, memory=1, seconds=0.0),
            a_result(session, rogue.incarnation, [a_success(row, dispatch + forged - 1)], closed=(bundle,)),
        )
        siege.assert_unharmed()


@pytest.mark.parametrize(
    "outcome",
    [
        (-1, 1, 0, 0, "", 1.0, 0.1, 0.0, 0.0, 0, b"", b"", b""),
        (2**63, 1, 0, 0, "", 1.0, 0.1, 0.0, 0.0, 0, b"", b"", b""),
        (1, -1, 0, 0, "", 1.0, 0.1, 0.0, 0.0, 0, b"", b"", b""),
        (1, 1, 99, 0, "", 1.0, 0.1, 0.0, 0.0, 0, b"", b"", b""),
        (1, 1, 0, 0, "", "soon", 0.1, 0.0, 0.0, 0, b"", b"", b""),
        (1, 1, 0, 0, "", float("nan"), float("inf"), -1.0, 0.0, 0, b"", b"", b""),
        (1,),
        [[[[[[]]]]]],
    ],
    ids=["row-1", "row2^63", "dispatch-1", "kind99", "text-time", "nan", "short", "nested"],
)
def test_a_malformed_outcome_is_nobodys_result(siege: Siege, outcome: object) -> None:
    """H1, H9: the body is opened by the scheduler only, which survives whatever is in it."""
    with an_insider(siege) as rogue:
        session = rogue.register()
        body = msgpack.packb([outcome])
        rogue.say(
            messages.Result(
                session=session, worker=rogue.incarnation, sequence=1, oldest=1, tasks=1, closed=(), body=body
            )
        )
        siege.assert_unharmed()


def test_garbage_frames_end_nothing(siege: Siege) -> None:
    """H1, H2, H19: noise, wrong frame counts, other versions, msgpack bombs."""
    with an_insider(siege) as rogue:
        session = rogue.register()
        good = encode(messages.Heartbeat(session=session))
        bomb = struct.pack(">BBI", 1, 12, 100_000) + b"\x90" * 100_000
        noise = ([b""], [b"\0" * 5000], [good, good], [good] * 50, [good[:7]], [bomb])
        versions = ([b"\0" + good[1:]], [b"\xff" + good[1:]])
        for frames in (*noise, *versions):
            rogue.say_raw(*frames)
        siege.assert_unharmed()


def test_a_frame_over_the_limit_ends_only_its_own_connection(siege: Siege) -> None:
    """H4: libzmq drops the connection; the broker never holds the frame."""
    with an_insider(siege) as rogue:
        rogue.register()
        rogue.say_raw(bytes(limits.MESSAGE_BYTES_MAX + 1))
        siege.assert_unharmed()


def test_a_flood_of_heartbeats_is_throttled(siege: Siege) -> None:
    """H15: a session has a budget of messages."""
    with an_insider(siege) as rogue:
        beat = encode(messages.Heartbeat(session=rogue.register()))
        for _ in range(60_000):
            rogue.say_raw(beat)
        siege.assert_unharmed()


def test_two_processes_with_one_incarnation_do_not_disturb_the_others(siege: Siege) -> None:
    """H13: the newer Hello takes over, the older one is asked who it is; neither way is anything lost."""
    with an_insider(siege) as one, an_insider(siege) as other:
        one.register()
        other.register(incarnation=one.incarnation)
        for _ in range(20):
            one.say(messages.Heartbeat(session=one.session))
        one.hear(messages.WhoAreYou)
        siege.assert_unharmed()


def test_a_worker_that_says_bye_with_bundles_in_hand_loses_none(siege: Siege) -> None:
    """What it was given and did not answer runs elsewhere."""
    with an_insider(siege) as rogue:
        session = rogue.register(slots=4, credit=10)
        rogue.hear(messages.Assign)
        rogue.say(messages.Bye(session=session, reason="bored"))
        siege.assert_unharmed()


def test_a_worker_that_hoards_bundles_can_be_evicted(siege: Siege) -> None:
    """H16: it beats, so its lease never ends; an operator ends it, and what it hoarded runs elsewhere."""
    with an_insider(siege) as rogue, an_insider(siege, "control") as operator:
        session = rogue.register(slots=4, credit=10)
        rogue.hear(messages.Assign)
        rogue.say(messages.Heartbeat(session=session))
        operator.say(messages.ControlHello(client=TOKEN, version="1", host="localhost", pid=1))
        commanding = operator.hear(messages.Welcome).session
        operator.say(messages.WorkerDead(session=commanding, worker=rogue.incarnation))
        siege.assert_unharmed()


def test_a_worker_that_does_not_read_keeps_its_bundles_for_one_lease() -> None:
    """H18: two in turn take bundles and read nothing of what they are told; the others go on, also those that are only busy."""
    with Home() as home:
        home.env["HYPERSHELL_WORKER_LEASE"] = "3"
        siege = Siege(home)
        with an_insider(siege) as first, an_insider(siege) as second:
            for deaf in (first, second):
                deaf.register(slots=4, credit=10)
                deaf.hear(messages.Assign)
                for _ in range(2_000):
                    deaf.say(deaf.hello())  # each is answered
                lost = f"worker={deaf.incarnation.hex()}"
                assert until(partial(_is_logged, siege, lost)), siege.log()
            siege.assert_unharmed()
        # The real worker ran a task without a word for longer than the lease, which is shorter than its own beat.
        assert sum("worker.lost" in line for line in siege.log().splitlines()) == 2


def _is_logged(siege: Siege, text: str) -> bool:
    return text in siege.log()


def test_reserved_routing_ids_do_not_abort_the_broker(siege: Siege) -> None:
    """Z7: unseeded, libzmq's own ids are known beforehand; a peer that takes the next one makes the broker assert."""
    first = 0x6B8B4567  # what rand() gives first when nobody called srand()
    for number in range(first, first + 40):
        with an_insider(siege, routing_id=struct.pack(">BI", 0, number)) as rogue:
            rogue.say(rogue.hello())
            rogue.socket.poll(200, zmq.POLLIN)
    with an_insider(siege) as honest:
        honest.register()
    siege.assert_unharmed()


def given(assign: messages.Assign) -> tuple[int, int, int]:
    """Row, dispatch and bundle of the first task of an Assign."""
    header = assign.bundles[0]
    (_, tasks) = msgpack.unpackb(assign.body[: header.size])
    return tasks[0][0], tasks[0][2], header.bundle
