"""Many workers that come back at once after their broker was killed: no storm, and no task lost."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, kill, until

pytestmark = pytest.mark.system

WORKERS = 200
START_S = 200.0
"""For as many interpreters, on a machine with two cores."""
CPU_MAX_S = 3.0
"""Of the broker, until all are back: it takes a third of a second."""
TASKS = 20_000
SCRIPT = b'#!/bin/sh\ni=0\nwhile [ $i -lt %d ]; do "$@" & i=$((i+1)); done\nwait\n' % WORKERS


def connected(home: Home) -> int:
    """Return how many workers have a session now."""
    for path in Path(home.site, "runs").glob("*/connect/control.json"):
        done = home.run("hs", "status", "--json", "--connection", str(path))
        if done.returncode == 0:
            return len(json.loads(done.stdout)["workers"])
    return 0


def cpu_s(pid: int) -> float:
    """Return how long a process has computed."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def test_two_hundred_workers_that_come_back_are_no_storm(home: Home) -> None:
    """Each waits a little, and not all the same time; the tasks that come then are run by all of them."""
    os.chmod(home.write("many", SCRIPT), 0o755)
    null = {"HYPERSHELL_WORKER_EXECUTOR": "null"}
    cluster = home.start("hs-cluster", "--launcher", "./many", "--no-db", stdin=subprocess.PIPE, env=null)
    assert cluster.stdin is not None
    assert until(lambda: connected(home) == WORKERS, START_S, poll_s=1)
    broker = daemon(cluster.pid, "broker")
    assert broker is not None

    kill(broker)
    assert until(lambda: connected(home) == WORKERS, START_S)
    successor = daemon(cluster.pid, "broker")
    assert successor not in (None, broker)
    assert cpu_s(successor) < CPU_MAX_S
    cluster.stdin.write(b"true\n" * TASKS)
    cluster.stdin.close()

    assert cluster.wait(START_S) == 0
