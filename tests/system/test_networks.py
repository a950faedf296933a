"""Hosts behind cables that are pulled, for a second, for ten, and for longer than the lease; hosts that cannot reach back.

The lease is short here, seconds instead of 300: what counts is only whether a cut is shorter or longer. Below it nothing depends
on how long it lasts; above it the broker gives what ran there to others, and the worker there, which counts the same silence by
its own clock, stops it.
"""

import os
import random
import select
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from tests.faults.databases import SqliteFile
from tests.faults.home import Home
from tests.faults.processes import daemon, until
from tests.sshd import Sshd
from tests.system.namespaces import Host, may_make

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not may_make() and not os.environ.get("CI"), reason="needs root and network namespaces"),
]

OUTPUT_BYTES = 500_000
LAST_BYTES = 250_000
TASKS = 200
TASK = "set -- $SSH_CONNECTION; touch at.$3; until [ -e go ]; do sleep 0.1; done; echo {} >>ledger; sleep 0.1; echo {} >>ended"
"""None gets anywhere before there are some on both hosts: a login takes its time on a busy machine."""


class Far(NamedTuple):
    """Two hosts, each with a server."""

    hosts: tuple[Host, Host]
    options: tuple[str, ...]

    def only(self, host: Host) -> tuple[str, ...]:
        """Return the options for one of them."""
        names = self.options[1].split(",")
        return ("--ssh", names[self.hosts.index(host)], *self.options[2:])


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


class Run(NamedTuple):
    """A run on both hosts, and its database with the trigger that counts what is recorded."""

    cluster: "subprocess.Popen[bytes]"
    database: SqliteFile

    def recorded(self) -> Counter[int]:
        """Return how often each task reached an end."""
        rows = self.database.ask("SELECT CAST(args AS TEXT) FROM audit JOIN task ON task.row = audit.row")
        return Counter(int(args) for (args,) in rows)


def begin(home: Home, far: Far, *options: str, lease_s: float, client: str = "fabric") -> Run:
    """Start a run on both hosts and wait until both work."""
    home.env |= {"HYPERSHELL_WORKER_LEASE": str(lease_s), "HYPERSHELL_SSH_CLIENT": client}
    home.write("tasks", b"".join(b"%d\n" % number for number in range(TASKS)))
    database = SqliteFile(home)
    database.install_audit()
    options = ("--database", database.location, *options)
    with open(home.path("said"), "wb") as said:
        cluster = home.start("hs-cluster", *far.options, "-N2", "-t", TASK, *options, "tasks", stderr=said)
    assert until(lambda: all(os.path.exists(home.path(f"at.{host.address}")) for host in far.hosts)), home.read("said")
    home.write("go", b"")
    assert until(lambda: home.read("ended").count(b"\n") > 20), home.read("said")
    return Run(cluster, database)


def wait(seconds: float) -> None:
    """Let time pass: how long a cut lasts is what is tested."""
    select.select([], [], [], seconds)


@pytest.mark.parametrize(
    ("cut_s", "lease_s", "client", "options"),
    [
        (1, 30, "fabric", ()),
        (1, 30, "openssh", ("--ssh-tunnel",)),
        (10, 30, "fabric", ("--ssh-tunnel",)),
        (10, 30, "openssh", ()),
    ],
)
def test_a_cut_that_is_shorter_than_the_lease_makes_nothing_run_twice(
    home: Home, far: Far, cut_s: float, lease_s: float, client: str, options: tuple[str, ...]
) -> None:
    """Faults C1 and C2: what runs there runs on, and its results come when the cable is back."""
    run = begin(home, far, *options, lease_s=lease_s, client=client)

    far.hosts[0].pull()
    wait(cut_s)
    far.hosts[0].heal()

    assert run.cluster.wait(120) == 0, home.read("said")
    assert Counter(map(int, home.read("ledger").split())) == run.recorded() == Counter(range(TASKS))
    assert home.leftovers() == []


@pytest.mark.parametrize(
    ("cut", "client"),
    [(Host.pull, "fabric"), (Host.pull, "openssh"), (Host.mute, "fabric"), (Host.deafen, "openssh")],
    ids=["pulled-fabric", "pulled-openssh", "mute-fabric", "deaf-openssh"],
)
def test_a_cut_that_is_longer_than_the_lease_costs_what_ran_there(
    home: Home, far: Far, cut: Callable[[Host], None], client: str
) -> None:
    """Faults C3, C4 and C5: it runs again, the worker there stops, and the host comes back. Nothing is recorded twice."""
    run = begin(home, far, lease_s=3, client=client)

    cut(far.hosts[0])
    wait(6)
    far.hosts[0].heal()

    assert run.cluster.wait(120) == 0, home.read("said")
    started = Counter(map(int, home.read("ledger").split()))
    assert set(started) == set(range(TASKS))
    assert run.recorded() == Counter(range(TASKS))
    again = sum(started.values()) - TASKS
    # Two slots there, and what it had been given to begin next.
    assert again <= 20
    assert home.leftovers() == []


def port_of(run: Run) -> int:
    """Return the port on which its broker listens."""
    broker = daemon(run.cluster.pid, "broker")
    listening = subprocess.check_output(["ss", "-Hltnp"], text=True).splitlines()
    return next(int(line.split()[3].rpartition(":")[2]) for line in listening if f"pid={broker}," in line)


def test_connections_that_are_killed_again_and_again_make_nothing_run_twice(home: Home, far: Far) -> None:
    """Fault C7: one of both, each 200 ms. Workers come back with what they hold; nobody is given up."""
    run = begin(home, far, lease_s=30)
    dice, port = random.Random(7), port_of(run)

    severed = 0
    for _ in range(20):
        severed += dice.choice(far.hosts).sever(port)
        wait(0.2)

    assert severed > 0
    assert run.cluster.wait(120) == 0, home.read("said")
    assert Counter(map(int, home.read("ledger").split())) == run.recorded() == Counter(range(TASKS))
    assert home.leftovers() == []


def test_a_line_that_is_full_of_outputs_costs_nobody_his_lease(home: Home, far: Far) -> None:
    """Fault C10: half a megabyte each over 1 Mbit/s, longer than the lease. Beats pass it, and a task counts with its output."""
    for host in far.hosts:
        host.narrow("1mbit")
    home.env["HYPERSHELL_WORKER_LEASE"] = "6"
    home.write("tasks", b"".join(b"%d\n" % number for number in range(4)))
    task = f"echo {{}} >> ledger; yes {{}} | head -c {OUTPUT_BYTES}"

    done = home.run("hs-cluster", *far.options, "-k", "-N2", "-t", task, "tasks", seconds=120)

    assert done.returncode == 0, done.stderr
    assert done.stdout == b"".join(b"%d\n" % number * (OUTPUT_BYTES // 2) for number in range(4))
    assert Counter(map(int, home.read("ledger").split())) == Counter(range(4))
    assert home.leftovers() == []


def test_outputs_that_are_on_a_slow_line_at_the_end_of_a_run_all_come(home: Home, far: Far) -> None:
    """Their task has ended long before; the run ends with the last byte."""
    host = far.hosts[0]
    host.narrow("256kbit")
    home.write("tasks", b"1\n")
    task = f"yes {{}} | head -c {LAST_BYTES}"

    done = home.run("hs-cluster", *far.only(host), "-N1", "-t", task, "tasks", seconds=120)

    assert done.returncode == 0, done.stderr
    assert Counter(done.stdout.splitlines()) == {b"1": LAST_BYTES // 2}
    assert home.leftovers() == []


def test_a_worker_ends_with_its_session_though_nobody_tells_it(home: Home, far: Far) -> None:
    """The cable stays out: what runs there is stopped, for it runs elsewhere now."""
    run = begin(home, far, lease_s=3, client="fabric")
    there = {pid for pid in home.alive() if network_of(pid) == network_of_host(far.hosts[0])}
    assert there

    far.hosts[0].pull()

    assert run.cluster.wait(120) == 0, home.read("said")
    assert until(lambda: not {pid for pid in there if pid in home.alive()})


@pytest.mark.parametrize("client", ["fabric", "openssh"])
def test_hosts_that_cannot_reach_back_come_in_through_a_tunnel(home: Home, far: Far, client: str) -> None:
    """The broker listens on our loopback alone, which is another one there. Nothing is left there, not even a port."""
    run = begin(home, far, "--ssh-tunnel", lease_s=30, client=client)

    broker = daemon(run.cluster.pid, "broker")
    listening = [line.split() for line in subprocess.check_output(["ss", "-Hltnp"], text=True).splitlines()]
    assert {words[3].rpartition(":")[0] for words in listening if f"pid={broker}," in words[-1]} == {"127.0.0.1"}
    assert [len(host.ports()) for host in far.hosts] == [2, 2]
    assert run.cluster.wait(120) == 0, home.read("said")
    assert Counter(map(int, home.read("ledger").split())) == run.recorded() == Counter(range(TASKS))
    assert home.leftovers() == []
    assert until(lambda: [host.ports() for host in far.hosts] == [{22}, {22}])


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
