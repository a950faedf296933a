"""The row about many workers at once: `storm`."""

import json
import os
import subprocess
import time
from glob import glob

from tests.bench.bench import NULL, SECONDS_MAX, Bench, RunError
from tests.bench.measure import Series, processor_s
from tests.bench.table import Judged, at_most, figures
from tests.faults.processes import daemon, kill, until

from hs_common.client import Client
from hs_common.security import read_connection

WORKERS = 200
SCRIPT = b'#!/bin/sh\ni=0\nwhile [ $i -lt %d ]; do "$@" & i=$((i+1)); done\nwait\n'
"""A launcher of so many workers on this host."""


def storm(bench: Bench) -> list[Judged]:
    """Kill the broker of 200 workers, once a round: until all are back, and what that costs its successor."""
    launcher = bench.home.write("many", SCRIPT % WORKERS)
    os.chmod(launcher, 0o755)
    cluster = bench.home.start("hs-cluster", "--launcher", launcher, "--no-db", stdin=subprocess.PIPE, env=NULL)
    control = os.path.join(bench.home.site, "runs", "*", "connect", "control.json")
    if not until(lambda: glob(control), SECONDS_MAX):
        raise RunError("the cluster takes no requests")
    client = Client(read_connection(glob(control)[0]), patience_s=SECONDS_MAX)
    try:
        _await_all(client)
        back = [_back(cluster.pid, client) for _ in range(bench.rounds)]
    finally:
        client.close()
    cluster.communicate(b"true\n" * bench.tasks(20_000), timeout=SECONDS_MAX)
    if cluster.returncode:
        raise RunError(f"the cluster ended with {cluster.returncode}")
    took = Series(name="until all are back", values=tuple(seconds for seconds, _ in back))
    used = Series(name="broker", values=tuple(seconds for _, seconds in back))
    return [
        Judged(
            row="storm",
            what=f"{WORKERS} workers are back after a broker was killed",
            value=took.median,
            bar=at_most(10.0, "s"),
            figures=figures([took], "s"),
        ),
        Judged(
            row="storm",
            what="processor time of the new broker until then",
            value=used.median,
            bar=at_most(3.0, "s"),
            figures=figures([used], "s"),
        ),
    ]


def _back(cluster: int, client: Client) -> tuple[float, float]:
    """Return the seconds until all are back, and those that the broker computed."""
    before = daemon(cluster, "broker")
    if before is None:
        raise RunError("there is no broker")
    began = time.monotonic()
    kill(before)
    _await_all(client)
    took_s = time.monotonic() - began
    after = daemon(cluster, "broker")
    if after in (None, before):
        raise RunError("no broker took its place")
    return took_s, processor_s(after)


def _await_all(client: Client) -> None:
    if not until(lambda: len(json.loads(client.ask("status"))["workers"]) == WORKERS, SECONDS_MAX, poll_s=0.05):
        raise RunError(f"not all of {WORKERS} workers came")
