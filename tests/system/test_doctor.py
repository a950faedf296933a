"""`hs doctor`, beside a cluster that stands by itself, and one thing broken at a time."""

import json
import os
from dataclasses import replace
from typing import Any

import pytest
from tests.faults.home import Home
from tests.faults.processes import ended_within, kill, until

from hs_common.security import Connection, make_key_pair

pytestmark = pytest.mark.system

STEP_S = 60.0


@pytest.fixture
def cluster(home: Home) -> Home:
    """A broker on this host's loopback, and a scheduler."""
    home.start("hs-broker", "--name", "main", "-H", "127.0.0.1")
    assert until(lambda: os.path.exists(home.path("site", "connect", "main", "control.json")), STEP_S)
    home.start(
        "hs-scheduler", "--forever", "--connection", "main", "--database", home.path("db"), "-f", home.path("failed")
    )
    assert until(lambda: os.path.exists(home.path("db")), STEP_S)
    return home


def examined(home: Home, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the status, and each finding by what was looked at."""
    done = home.run("hs", "doctor", "--json", *options)
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_a_cluster_that_is_well_is_said_to_be(cluster: Home) -> None:
    """From the program here to the clock over there."""
    assert until(lambda: examined(cluster)[0] == 0, STEP_S)
    _, found = examined(cluster)

    assert all(finding["ok"] for finding in found.values())
    assert {"version", "open files", "site", "space", "connection", "name", "port", "keys"} <= set(found)
    assert {"scheduler", "same version", "clock"} <= set(found)


def test_a_worker_host_is_examined_with_the_key_of_workers(cluster: Home) -> None:
    status, found = examined(cluster, "--role", "worker")

    assert status == 0
    assert found["keys"]["ok"]
    assert "scheduler" not in found, "a worker's key may not ask"


def test_a_key_that_the_broker_does_not_know_is_found(cluster: Home) -> None:
    """An old copy of a connection file."""
    current = json.loads(cluster.read("site/connect/main/worker.json"))
    document = replace(Connection.from_json(current), keys=make_key_pair()).to_json()
    copy = cluster.write("copy.json", json.dumps(document).encode())
    os.chmod(copy, 0o600)

    status, found = examined(cluster, "--connection", copy)

    assert status == 1
    assert not found["keys"]["ok"]
    assert "copy the connection file" in found["keys"]["fix"]


def test_a_broker_that_is_away_is_found_at_its_port(cluster: Home) -> None:
    broker = cluster.started[0]
    kill(broker.pid)
    assert ended_within(broker.pid, STEP_S)

    done = cluster.run("hs", "doctor")

    assert done.returncode == 1
    assert b"FAIL  port" in done.stdout
    assert b"fix: is hs-broker running on" in done.stdout


def test_a_cluster_that_was_never_there_is_one_clear_line(home: Home) -> None:
    done = home.run("hs", "doctor", "--connection", "nowhere")

    assert done.returncode == 1
    assert b"FAIL  connection    there is no cluster nowhere; known: none" in done.stdout
    assert b"fix: start hs-broker --name nowhere" in done.stdout


def test_few_open_files_are_told_of(home: Home) -> None:
    done = home.run("sh", "-c", "ulimit -n 256; hs doctor --connection nowhere")

    assert b"FAIL  open files    256, at most 256" in done.stdout
    assert b"fix: have the hard limit raised to 1024" in done.stdout
