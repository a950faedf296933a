"""What people are told of a broker that does not answer."""

import os
import socket
from pathlib import Path

from hs_common.reach import ANSWERS, why_unreachable


def test_each_endpoint_has_its_reason(tmp_path: Path) -> None:
    """Nobody listens, somebody does, no such name, no such socket; nobody waits for another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        open_port = taken.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            closed_port = probe.getsockname()[1]
        endpoints = [
            f"tcp://127.0.0.1:{closed_port}",
            f"tcp://127.0.0.1:{open_port}",
            "tcp://no-such-host.invalid:50001",
            f"ipc://{tmp_path}/socket",
        ]

        reasons = why_unreachable(endpoints, 5)

    assert list(reasons) == endpoints
    assert reasons[endpoints[0]] == os.strerror(111)
    assert reasons[endpoints[1]] == ANSWERS
    assert reasons[endpoints[2]]
    assert reasons[endpoints[3]] == "no such socket here"


def test_who_never_answers_is_waited_for_once(tmp_path: Path) -> None:
    """A listener whose queue is full swallows what comes, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        endpoint = f"tcp://127.0.0.1:{full.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())

        reasons = why_unreachable([endpoint], 0.2)

        for filler in fillers:
            filler.close()
    assert reasons == {endpoint: "no answer within 0.2 s"}
