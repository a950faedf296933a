"""Keys that are revoked while their connections live, and connections that get another key (H20)."""

import pytest
from tests.broker.building import LEASE_S, Broker, Control, Scheduler, Worker, a_bundle, a_cluster

from hs_broker.events import Heard, KeyRevoked, PeerBanned, PeerRefused, RoleRevoked, Send, WorkerAttached, WorkerLost
from hs_broker.peers import OFFENCES_MAX
from hs_broker.workers import HELLOS_AT_ONCE_MAX
from hs_common import limits, messages


def test_a_revoked_key_ends_every_session_of_its_role_at_once() -> None:
    """Nobody waits for such a peer to say something: what comes in is given to nobody with the old key."""
    broker, scheduler, _ = a_cluster(workers=2)

    effects = broker.takes(RoleRevoked("worker"))

    assert effects == [KeyRevoked("worker", 2)]
    assert scheduler.submit(a_bundle(1)) == []


def test_the_bundles_of_a_revoked_worker_come_back_with_its_lease() -> None:
    """Its processes may run on: only the lease says when they are given up."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    broker.takes(RoleRevoked("worker"))
    broker.passes(LEASE_S - 1)
    scheduler.says(messages.Heartbeat)

    effects = broker.passes(1)

    reason = f"silent for {LEASE_S:g} s"
    assert effects[:2] == [scheduler.hears_lost(worker, 1, gone=True, reason=reason), WorkerLost(worker.id, reason, 1)]


def test_a_worker_that_comes_back_with_the_new_key_has_what_it_had() -> None:
    """A rotation loses nothing."""
    broker, scheduler, (worker,) = a_cluster()
    scheduler.submit(a_bundle(1))
    broker.takes(RoleRevoked("worker"))

    back = Worker(broker, 1, connection=2)
    effects = back.hello(inventory=(1,))

    assert effects == [back.is_welcome(epoch=1), WorkerAttached(worker.id, "here", 1), scheduler.sees(back, 1)]


def test_the_other_roles_do_not_notice() -> None:
    """Each role has a key of its own."""
    broker, scheduler, (worker,) = a_cluster()

    assert broker.takes(RoleRevoked("submit")) == [KeyRevoked("submit", 0)]
    assert scheduler.submit(a_bundle(1)) == [worker.gets(a_bundle(1))]


@pytest.mark.parametrize("role", ["scheduler", "control"])
def test_a_revoked_role_can_come_again(role: str) -> None:
    """With its new key, on a new connection."""
    broker, _, _ = a_cluster()
    Control(broker, b"c").hello()
    broker.takes(RoleRevoked(role))

    again: Scheduler | Control = Scheduler(broker, connection=2) if role == "scheduler" else Control(broker, b"c2")
    effects = again.hello()

    assert again.is_welcome(epoch=1) in effects


def test_a_routing_id_that_changes_hands_takes_no_rights_along() -> None:
    """A peer may choose its routing id: what counts is the key of each message."""
    broker, scheduler, (worker,) = a_cluster()
    submit = messages.Submit(session=scheduler.session, bundles=(a_bundle(1),), body=b"x")

    effects = broker.takes(Heard(scheduler.routing_id, "worker", submit))

    reason = "a worker key may not say Submit"
    refusal = messages.Refused(session=bytes(16), reason=reason, fatal=True, bundles=())
    assert effects == [Send(scheduler.routing_id, refusal), PeerRefused("worker", reason, 1)]
    assert worker.ready() == []


def test_a_connection_that_says_nothing_but_hello_is_banned() -> None:
    """Each Hello is answered: one that reads no answers would fill our memory with them."""
    broker = Broker()
    control = Control(broker, b"c")
    effects = [control.hello() for _ in range(HELLOS_AT_ONCE_MAX + OFFENCES_MAX + 2)]

    assert all(effects[:HELLOS_AT_ONCE_MAX])
    assert effects[HELLOS_AT_ONCE_MAX] == [PeerRefused("control", "too many Hellos", 1)]
    assert effects[HELLOS_AT_ONCE_MAX + 1 : -2] == [[]] * (OFFENCES_MAX - 1)
    assert effects[-2:] == [[PeerBanned("control", "too many Hellos")], []]


def test_with_a_short_lease_the_broker_asks_before_it_gives_up() -> None:
    """Others say Heartbeat by themselves every ten seconds: a lease of three would lose every worker that runs something long."""
    broker = Broker(lease_s=3.0)
    worker = Worker(broker, 1)
    worker.hello()

    assert worker.is_told(messages.Heartbeat) in broker.passes(1.25)
    worker.says(messages.Heartbeat)
    assert broker.passes(0.75) == []


def test_with_a_long_lease_nobody_is_asked() -> None:
    """Their own beat will do."""
    broker = Broker()
    worker = Worker(broker, 1)
    worker.hello()

    assert broker.passes(limits.HEARTBEAT_S - 1) == []
