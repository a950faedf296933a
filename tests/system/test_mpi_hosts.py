"""mpirun over two hosts: network namespaces with an SSH server each, by which it starts its own daemons."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.faults.home import Home
from tests.faults.processes import ended_within, kill, until
from tests.sshd import Sshd
from tests.system.conftest import AS_ROOT, Elsewhere
from tests.system.namespaces import Host, may_make

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not may_make() and not os.environ.get("CI"), reason="needs root and network namespaces"),
]

BEGIN_S = 60.0
AGENT = '#!/bin/sh\nexec ssh -F {nothing} -o BatchMode=yes -o UserKnownHostsFile={known} {keys} "$@"\n'


@pytest.fixture
def far(home: Home) -> Iterator[Elsewhere]:
    """Give the options for a worker on each of two hosts, which have names of their own."""
    hosts = (Host(), Host())
    servers = []
    for number, host in enumerate(hosts):
        named = (*host.prefix, "unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', f"far{number}")
        servers.append(Sshd(home.path(f"sshd-{number}"), home.folder, address=host.address, port=22, prefix=named))
    known = home.write("known_hosts", "".join(server.known_host for server in servers).encode())
    keys = " ".join(f"-i {server.key}" for server in servers)
    home.write("agent", AGENT.format(nothing=os.devnull, known=known, keys=keys).encode())
    os.chmod(home.path("agent"), 0o755)
    home.env |= AS_ROOT
    names = ",".join(f"{server.address}:1" for server in servers)
    # Not by the cables of other tests, which may be pulled.
    nets = ",".join(f"{host.ours}/30" for host in hosts)
    settings = f"--mca plm_rsh_agent {home.path('agent')} --mca oob_tcp_if_include {nets}"
    yield ("--launcher", f"mpirun {settings} --host {names} -n 2 --map-by node")
    for server in servers:
        server.close()
    for host in hosts:
        host.close()


def test_two_thousand_tasks_over_two_hosts_run_once_each(home: Home, far: Elsewhere) -> None:
    """Half of the slots are on each, and nothing is left on either."""
    home.write("tasks", b"".join(b"%d\n" % number for number in range(2000)))

    done = home.run("hs-cluster", *far, "-N2", "-t", "echo {} $(hostname) >>ledger", "tasks", seconds=120)

    assert done.returncode == 0, done.stderr
    numbers, names = zip(*(line.split() for line in home.read("ledger").splitlines()), strict=True)
    assert Counter(map(int, numbers)) == Counter(range(2000))
    assert set(names) == {b"far0", b"far1"}
    assert home.leftovers() == []


def test_a_host_that_mpirun_loses_holds_nobody_up(home: Home, far: Elsewhere) -> None:
    """Its daemon there is killed: whatever Open MPI makes of that, the run completes, and nothing is left."""
    home.write("tasks", b"echo >>begun; until [ -e go ]; do sleep 0.05; done; echo >>ended\n" * 2)
    cluster = home.start("hs-cluster", *far, "tasks", stderr=subprocess.PIPE)
    assert until(lambda: home.read("begun").count(b"\n") == 2, BEGIN_S)
    daemon = next(pid for pid, line in home.alive().items() if "orted" in line.split(" ")[0])

    kill(daemon)
    assert ended_within(daemon, BEGIN_S)
    home.write("go", b"")

    _, said = cluster.communicate(timeout=BEGIN_S)
    assert (cluster.returncode, home.read("ended")) == (0, b"\n\n"), said
    assert home.leftovers(30) == []
