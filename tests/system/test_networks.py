"""Hosts behind cables that are pulled, for a second, for ten, and for longer than the lease; hosts that cannot reach back."""

import os
import select
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.faults.home import Home
from tests.faults.processes import until
from tests.sshd import Sshd
from tests.system.namespaces import Host, may_make

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not may_make() and not os.environ.get("CI"), reason="needs root and network namespaces"),
]

TASKS = 300
TASK = "echo {} >> ledger; sleep 0.1; echo {} >> ended"


class Far(NamedTuple):
    """Two hosts, each with a server."""

    hosts: tuple[Host, Host]
    options: tuple[str, ...]


@pytest.fixture
def far(home: Home) -> Iterator[Far]:
    """Give two hosts in namespaces of their own."""
    hosts = (Host(), Host())
    servers = [
        Sshd(home.path(f"sshd-{number}"), home.folder, address=host.address, port=22, prefix=host.prefix)
        for number, host in enumerate(hosts)
    ]
    os.mkdir(home.path(".ssh"), 0o700)
    known = home.write(".ssh/known_hosts", "".join(server.known_host for server in servers).encode())
    keys = " ".join(f"-i {server.key}" for server in servers)
    names = ",".join(f"{server.user}@{server.address}" for server in servers)
    yield Far(hosts, ("--ssh", names, "--ssh-args", f"-F {os.devnull} -o UserKnownHostsFile={known} {keys}"))
    for server in servers:
        server.close()
    for host in hosts:
        host.close()


def begin(home: Home, far: Far, *options: str, lease_s: float, client: str) -> "subprocess.Popen[bytes]":
    """Start a run on both hosts and wait until both work."""
    home.env |= {"HYPERSHELL_WORKER_LEASE": str(lease_s), "HYPERSHELL_SSH_CLIENT": client}
    home.write("tasks", b"".join(b"%d\n" % number for number in range(TASKS)))
    with open(home.path("said"), "wb") as said:
        cluster = home.start("hs-cluster", *far.options, "-N2", "-t", TASK, *options, "tasks", stderr=said)
    assert until(lambda: home.read("ended").count(b"\n") > 20), home.read("said")
    return cluster


def away_for(host: Host, seconds: float) -> None:
    """Pull the cable for so long."""
    host.pull()
    select.select([], [], [], seconds)
    host.plug()


@pytest.mark.parametrize("client", ["fabric", "openssh"])
@pytest.mark.parametrize(("cut_s", "lease_s"), [(1, 8), (10, 30)])
def test_a_cut_that_is_shorter_than_the_lease_makes_nothing_run_twice(
    home: Home, far: Far, client: str, cut_s: float, lease_s: float
) -> None:
    """Faults C1 and C2: what runs there runs on, and its results come when the cable is back."""
    cluster = begin(home, far, lease_s=lease_s, client=client)

    away_for(far.hosts[0], cut_s)

    assert cluster.wait(120) == 0, home.read("said")
    assert Counter(map(int, home.read("ledger").split())) == Counter(range(TASKS))
    assert home.leftovers() == []


@pytest.mark.parametrize("client", ["fabric", "openssh"])
def test_a_cut_that_is_longer_than_the_lease_costs_what_ran_there(home: Home, far: Far, client: str) -> None:
    """Fault C3: it runs again, the worker there stops, and the host comes back."""
    cluster = begin(home, far, lease_s=3, client=client)

    away_for(far.hosts[0], 8)

    assert cluster.wait(120) == 0, home.read("said")
    started = Counter(map(int, home.read("ledger").split()))
    assert set(started) == set(range(TASKS))
    again = sum(started.values()) - TASKS
    # Two slots there, and what it had been given to begin next.
    assert again <= 20
    assert home.leftovers() == []


def test_a_worker_ends_with_its_session_though_nobody_tells_it(home: Home, far: Far) -> None:
    """The cable stays out: what runs there is stopped, for it runs elsewhere now."""
    cluster = begin(home, far, lease_s=3, client="fabric")
    there = {pid for pid in home.alive() if network_of(pid) == network_of_host(far.hosts[0])}
    assert there

    far.hosts[0].pull()

    assert cluster.wait(120) == 0, home.read("said")
    assert until(lambda: not {pid for pid in there if pid in home.alive()})


def test_hosts_that_cannot_reach_back_come_in_through_a_tunnel(home: Home, far: Far) -> None:
    """The broker listens on our loopback alone, which is another one there."""
    home.write("tasks", b"echo ran\n" * 50)

    done = home.run("hs-cluster", *far.options, "--ssh-tunnel", "tasks")

    assert (done.returncode, done.stdout) == (0, b"ran\n" * 50), done.stderr


def network_of(pid: int) -> str:
    """Return which network a process is in."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return ""


def network_of_host(host: Host) -> str:
    return subprocess.run(
        [*host.prefix, "readlink", "/proc/self/ns/net"], check=True, capture_output=True, text=True
    ).stdout.strip()
