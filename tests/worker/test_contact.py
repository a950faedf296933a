"""What a worker does while no broker answers it, or the wrong one."""

import select
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hs_common.errors import StoppedError
from hs_common.security import make_cluster
from hs_common.sockets import Link, new_context
from hs_worker.contact import Contact
from hs_worker.vigil import Vigil


@pytest.fixture
def contact(tmp_path: Path) -> Iterator[Contact]:
    """To a socket that nobody listens on."""
    _, connections = make_cluster((f"ipc://{tmp_path}/broker",), "here")
    with new_context() as context, closing(Link(context, connections["worker"])) as link, select.epoll() as poller:
        yield Contact(link, poller, Vigil(""))


def test_a_broker_that_always_denies_us_is_not_ours(contact: Contact) -> None:
    """Its cluster is another one: trying again is of no use, and whoever started us hears why."""
    for _ in range(9):
        contact.on_denied()

    with pytest.raises(
        StoppedError, match="is another one, or does not know our key: is this the connection file of its"
    ):
        contact.on_denied()


def test_a_broker_that_denies_us_now_and_then_may_still_be_ours(contact: Contact) -> None:
    """Its keys may be changing; and one that knew us once comes back."""
    for _ in range(3):
        for _ in range(9):
            contact.on_denied()
        contact.on_connected()
    for _ in range(20):
        contact.on_denied()
