"""What a service manager hears, on a socket as its own."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hs_common.notify import Notifier, of_service


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(60)
        yield one


def test_it_hears_when_we_are_ready_alive_and_about_to_end(manager: socket.socket) -> None:
    """A word is said when it is due, and not before."""
    notifier = Notifier(manager.getsockname(), period_s=5.0)

    notifier.ready(100.0)
    notifier.beat(104.9)
    notifier.beat(105.0)
    notifier.beat(105.1)
    notifier.stopping()

    assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    assert notifier.due_at == 110.0


def test_what_hangs_is_not_vouched_for(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname(), period_s=5.0)
    notifier.ready(0.0)

    notifier.skip(5.0)
    notifier.stopping()

    assert [manager.recv(100) for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


def test_an_abstract_socket_is_reached_too() -> None:
    name = f"hs-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(f"\0{name}")
        one.settimeout(60)

        Notifier(f"@{name}").ready(0.0)

        assert one.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("environ", "period_s"),
    [
        ({}, float("inf")),
        ({"NOTIFY_SOCKET": "/run/x"}, float("inf")),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000"}, 7.5),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 7.5),
        (
            {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
            float("inf"),
        ),  # of another process
        ({"WATCHDOG_USEC": "30000000"}, float("inf")),  # nobody to tell
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, float("inf")),
    ],
)
def test_the_environment_says_whom_to_tell_and_how_often_and_loses_it(environ: dict[str, str], period_s: float) -> None:
    """Whatever we start is not to speak for us."""
    given = environ | {"HOME": "/"}

    assert of_service(given).period_s == period_s
    assert given == {"HOME": "/"}


def test_without_a_manager_nothing_is_said_or_due() -> None:
    notifier = Notifier()

    notifier.ready(0.0)
    notifier.beat(1e9)

    assert notifier.due_at == float("inf")


def test_a_manager_that_is_gone_holds_up_nothing(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "gone")).ready(0.0)
