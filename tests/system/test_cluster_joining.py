"""Others may join a local cluster that listens: by a file, and only by that."""

import contextlib
import json
import os
import re
import shlex
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from tests.faults.home import Home
from tests.faults.processes import until
from tests.ports import free_port

from hs_deploy import joining

pytestmark = pytest.mark.system


def descriptors(pid: int) -> set[str]:
    """Return what a process has open; nothing when it has ended meanwhile."""
    found = set()
    with contextlib.suppress(OSError):
        for fd in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(fd.path))
    return found


def test_a_second_worker_joins_by_its_connection_file_and_takes_work(home: Home) -> None:
    """Two tasks that wait for each other need two workers of one slot. A shell can be given what is said."""
    home.env["HYPERSHELL_SITE"] = home.path("my site")
    home.write("tasks", b"touch a; until [ -e b ]; do sleep 0.05; done\ntouch b; until [ -e a ]; do sleep 0.05; done\n")
    cluster = home.start("hs-cluster", "tasks", "-H", "127.0.0.1", "-p", str(free_port()), stderr=subprocess.PIPE)
    assert cluster.stderr is not None
    said = cluster.stderr.readline().decode()
    path = shlex.split(said)[-1]
    assert said.endswith(f"others join by: hs-worker --connection {shlex.quote(path)}\n")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert all(endpoint.startswith("tcp://127.0.0.1:") for endpoint in json.loads(Path(path).read_text())["endpoints"])

    home.start("hs-worker", "--connection", path)

    assert cluster.wait(60) == 0
    assert not os.path.exists(path), "its cluster is gone"


def test_a_cluster_that_was_not_asked_to_listen_opens_no_port(home: Home) -> None:
    """Its socket is in a private folder."""
    home.write("tasks", b"touch started; until [ -e go ]; do sleep 0.05; done\n")
    cluster = home.start("hs-cluster", "tasks")
    assert until(lambda: os.path.exists(home.path("started")))

    inodes = set().union(*map(descriptors, home.alive()))
    tcp = [
        line.split()[9] for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    home.write("go", b"")

    assert cluster.wait(60) == 0
    assert inodes
    assert not inodes & {f"socket:[{inode}]" for inode in tcp}


def test_the_next_free_port_is_taken_when_none_was_asked_for(home: Home) -> None:
    """Two clusters on one host do not meet."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = home.run("hs-cluster", "-H", "127.0.0.1", stdin=b"true\n", env={"HYPERSHELL_BROKER_PORT": str(port)})

    found = re.search(rb"listening on port (\d+)", done.stderr)
    assert done.returncode == 0
    assert found is not None
    assert port < int(found[1]) <= port + 100


def test_no_connection_gets_the_port_before_the_broker_does() -> None:
    """It is one of those that the kernel gives to whoever wants any; the broker may be away for a moment, too."""
    first = free_port()
    port = joining.free_port("127.0.0.1", first, exactly=False)

    with socket.socket() as anybody, pytest.raises(OSError, match="in use"):
        anybody.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)) as broker:  # reuses addresses, as a broker does
        assert broker.getsockname()[1] == port
