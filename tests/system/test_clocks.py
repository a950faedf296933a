"""Wall clocks that are set, by hours and days, while a cluster runs: they are for people, no decision is taken by them."""

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.processes import until
from tests.system.clocks import ClockHome

pytestmark = pytest.mark.system

DAEMONS = ("hs-broker", "hs-scheduler", "hs-worker", "hs-cluster")
HOUR_S, DAY_S = 3_600.0, 86_400.0
TASKS = 120
SLEEP_S = 0.05
LEASE_S = 10.0
"""Less than any clock is set here, and more than a machine with much to do keeps anybody waiting."""


@pytest.fixture
def home() -> Iterator[ClockHome]:
    with ClockHome() as one:
        yield one


def rows(home: ClockHome) -> list[dict[str, Any]]:
    """Return when tasks started, how long they waited for it and how long they took."""
    done = home.run("hs", "task", "search", "start_time", "duration", "waited", "--json")
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_clocks_that_are_set_forward_and_back_change_nothing(home: ClockHome) -> None:
    """Faults F1 to F3, each daemon by itself: nobody is given up, nothing runs twice, and a duration is one."""
    home.env["HYPERSHELL_WORKER_LEASE"] = str(LEASE_S)
    home.write("tasks", b"".join(b"%d\n" % number for number in range(TASKS)))
    task = f"echo {{}} >>ledger; sleep {SLEEP_S}"
    dice = random.Random(3)
    cluster = home.start("hs-cluster", "-N2", "-t", task, "-H", "127.0.0.1", "tasks", stderr=subprocess.PIPE)

    settings = 0
    while not until(lambda: cluster.poll() is not None, SLEEP_S):
        home.set_clock(dice.choice(DAEMONS), dice.choice((0.0, -1.0, 1.0)) * dice.choice((HOUR_S, DAY_S, 40 * DAY_S)))
        settings += 1
    _, said = cluster.communicate()

    assert settings > len(DAEMONS)
    assert (cluster.returncode, b"lost" in said) == (0, False), said
    assert Counter(map(int, home.read("ledger").split())) == Counter(range(TASKS))
    found = rows(home)
    assert len({row["start_time"][:13] for row in found}) > 1, "an hour is long here: the clocks were looked at"
    assert len(found) == TASKS
    assert all(SLEEP_S <= row["duration"] < HOUR_S for row in found), found
    assert all(row["waited"] >= 0 for row in found), found
