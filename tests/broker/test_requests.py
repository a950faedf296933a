"""What a command asks of the scheduler goes through the broker, and the answers come back to it alone."""

from typing import Any

import pytest
from tests.broker.building import Broker, Control, Peer, Scheduler, Submitter, a_cluster

from hs_broker.events import PeerRefused, PeerUnreachable, Send
from hs_common import limits, messages
from hs_common.message_requests import AGAIN, DONE, MISUSED

NOBODY = b"no scheduler is connected to the broker"
LEFT = b"the scheduler left before it answered"


def a_client(
    broker: Broker, routing_id: bytes = b"c1", client: bytes = b"c" * 16, kind: type[Control] = Control
) -> Any:
    """Return a client that has a session."""
    one = kind(broker, routing_id)
    one.client = client
    one.hello()
    return one


def is_asked(scheduler: Scheduler, client: Control, request: int, verb: str = "status", body: bytes = b"what?") -> Send:
    return scheduler.is_told(messages.Request, client=client.client, request=request, verb=verb, body=body)


def answers(scheduler: Peer, client: Control, request: int, body: bytes = b"that", *, more: bool = False) -> list[Any]:
    return scheduler.says(messages.Reply, client=client.client, request=request, status=DONE, more=more, body=body)


def is_told_of_its_end(scheduler: Scheduler, client: Control) -> Send:
    return scheduler.is_told(messages.ClientGone, client=client.client)


def test_a_request_goes_to_the_scheduler_and_its_answers_to_the_client() -> None:
    """Each with the token of its receiver; the body is passed on unopened."""
    broker, scheduler, _ = a_cluster()
    client, other = a_client(broker), a_client(broker, b"c2", b"d" * 16)

    assert client.asks(7, "update", b"\xff") == [is_asked(scheduler, client, 7, "update", b"\xff")]
    assert other.asks(7) == [is_asked(scheduler, other, 7)]
    assert answers(scheduler, client, 7, b"1", more=True) == [client.hears_reply(7, DONE, b"1", more=True)]
    assert answers(scheduler, client, 7, b"2") == [client.hears_reply(7, DONE, b"2")]

    # What comes after the last answer is nobody's.
    assert answers(scheduler, client, 7, b"3") == []
    assert answers(scheduler, other, 7) == [other.hears_reply(7, DONE, b"that")]


def test_without_a_scheduler_the_client_hears_so_at_once() -> None:
    """It may wait for one that is being restarted, or give up: that is its to decide."""
    broker = Broker()
    client = a_client(broker)
    assert client.asks(1) == [client.hears_reply(1, AGAIN, NOBODY)]


@pytest.mark.parametrize("how", ["bye", "unreachable", "another comes"])
def test_when_the_scheduler_leaves_its_clients_are_told_to_ask_again(how: str) -> None:
    """Whether it had done what was asked nobody here knows: a request that changes something has a key."""
    broker, scheduler, _ = a_cluster()
    client = a_client(broker)
    client.asks(1)
    client.asks(2)
    ways = {
        "bye": lambda: scheduler.says(messages.Bye, reason=""),
        "unreachable": lambda: broker.takes(PeerUnreachable(scheduler.routing_id)),
        "another comes": lambda: Scheduler(broker, 2).hello(epoch=2),
    }

    effects = ways[how]()

    told = [client.hears_reply(1, AGAIN, LEFT), client.hears_reply(2, AGAIN, LEFT)]
    assert [effect for effect in effects if effect in told] == told
    assert client.asks(1)  # its number is free again


@pytest.mark.parametrize("how", ["bye", "unreachable", "hello elsewhere", "hello again"])
def test_the_scheduler_hears_when_nobody_waits_for_its_answers_any_more(how: str) -> None:
    """A subscription of a client that was killed would stay for ever."""
    broker, scheduler, _ = a_cluster()
    client = a_client(broker)
    client.asks(1, "wait")
    ways = {
        "bye": lambda: client.says(messages.Bye, reason="done"),
        "unreachable": lambda: broker.takes(PeerUnreachable(b"c1")),
        "hello elsewhere": Control(broker, b"c2").hello,
        "hello again": client.hello,
    }

    effects = ways[how]()

    assert is_told_of_its_end(scheduler, client) in effects
    assert answers(scheduler, client, 1) == []


def test_a_client_that_waits_for_nothing_leaves_in_silence() -> None:
    """The scheduler has no business with clients as such."""
    broker, scheduler, _ = a_cluster()
    client = a_client(broker)
    client.asks(1)
    answers(scheduler, client, 1)
    assert is_told_of_its_end(scheduler, client) not in client.says(messages.Bye, reason="done")


@pytest.mark.parametrize("verb", ["update", "status", ""])
def test_a_submit_key_may_ask_for_submit_and_wait_only(verb: str) -> None:
    """It adds tasks, and hears of those whose ids it knows."""
    broker, scheduler, _ = a_cluster()
    client = a_client(broker, kind=Submitter)
    reason = f"a submit key may not ask for {verb}"

    assert client.asks(1, verb) == [
        client.hears_reply(1, MISUSED, reason.encode()),
        PeerRefused("submit", reason, 1),
    ]
    assert client.asks(2, "submit") == [is_asked(scheduler, client, 2, "submit")]
    assert client.asks(3, "wait") == [is_asked(scheduler, client, 3, "wait")]


def test_nobody_speaks_for_another_client() -> None:
    """The answers would go to the other."""
    broker, _, _ = a_cluster()
    client = a_client(broker)
    forged = client.says(messages.Request, client=b"d" * 16, request=1, verb="status", body=b"")
    assert forged == [PeerRefused("control", "it speaks for another client", 1)]


def test_what_is_unanswered_has_a_limit() -> None:
    """For each client, and in bytes for all: beyond it nothing is buffered, the client asks again later."""
    broker, scheduler, _ = a_cluster()
    client = a_client(broker)
    for request in range(limits.REQUESTS_OF_CLIENT_MAX):
        client.asks(request + 1)

    (effect,) = client.asks(99)

    assert effect == client.hears_reply(
        99, AGAIN, f"{limits.REQUESTS_OF_CLIENT_MAX} requests of this client are under way already".encode()
    )
    answers(scheduler, client, 1)
    assert client.asks(99) == [is_asked(scheduler, client, 99)]
    assert client.asks(99) == [client.hears_reply(99, AGAIN, b"request 99 is under way already")]


def test_the_bytes_that_are_unanswered_have_a_limit() -> None:
    """One always fits, however large; the next one has to wait for its answer."""
    broker, scheduler, _ = a_cluster()
    client, other = a_client(broker), a_client(broker, b"c2", b"d" * 16)
    large = bytes(limits.REQUESTS_BYTES_MAX)
    client.asks(1, "submit", large)

    (effect,) = other.asks(1, "submit", b"1")

    assert effect.message.status == AGAIN
    assert b"the scheduler has 1 requests of" in effect.message.body
    answers(scheduler, client, 1)
    assert other.asks(1, "submit", b"1") == [is_asked(scheduler, other, 1, "submit", b"1")]
