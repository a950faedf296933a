"""What the tests of whole runs share."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from tests.faults.home import Home
from tests.sshd import Sshd
from tests.system.slurm import Slurm, obstacle
from tests.system.standing import Queue

SCRIPT = b'#!/bin/sh\n"$@" & "$@" & wait\n'

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
"""Of mpirun, which otherwise refuses to run as root, as tests may."""

Elsewhere = tuple[str, ...]
"""Options that put two workers elsewhere."""


class Hosts(NamedTuple):
    """Two servers that know each other's user."""

    servers: tuple[Sshd, Sshd]
    options: Elsewhere


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home; at the end nothing that was started in it is alive."""
    with Home() as one:
        yield one


@pytest.fixture
def queue(home: Home) -> Queue:
    """A cluster that waits for tasks."""
    return Queue(home)


@pytest.fixture
def hosts(home: Home) -> Iterator[Hosts]:
    """Give two hosts that are reached by SSH."""
    servers = (Sshd(home.path("sshd-a"), home.folder), Sshd(home.path("sshd-b"), home.folder))
    os.mkdir(home.path(".ssh"), 0o700)
    known = home.write(".ssh/known_hosts", "".join(server.known_host for server in servers).encode())
    # The ssh program looks for known hosts in the home of the password file, which is none of a test's business.
    keys = " ".join(f"-i {server.key}" for server in servers)
    args = f"-F {os.devnull} -o UserKnownHostsFile={known} {keys}"
    yield Hosts(servers, ("--ssh", ",".join(server.host for server in servers), "--ssh-args", args))
    for server in servers:
        server.close()


@pytest.fixture(params=["script", "mpirun", "srun", "fabric", "openssh"])
def elsewhere(request: pytest.FixtureRequest, home: Home) -> Elsewhere:
    """Give the options for each way to start two workers elsewhere."""
    match request.param:
        case "script":
            os.chmod(home.write("both", SCRIPT), 0o755)
            return ("--launcher", "./both")
        case "mpirun":
            home.env |= AS_ROOT
            return ("--launcher", "mpirun --oversubscribe -n 2")
        case "srun":
            slurm: Slurm = request.getfixturevalue("slurm")
            home.env |= slurm.env | {"PATH": f"{home.env['PATH']}:/usr/sbin"}
            return ("--launcher", "srun --ntasks=2 --overcommit --oversubscribe")
        case client:
            home.env["HYPERSHELL_SSH_CLIENT"] = client
            hosts: Hosts = request.getfixturevalue("hosts")
            return hosts.options


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm of one node."""
    if reason := obstacle():
        pytest.skip(reason)
    with Slurm() as one:
        yield one
