"""Rows about a standing cluster (`hs-cluster --forever`): `latency` and `idle`."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.bench import Bench, RunError
from tests.bench.measure import Series, percentile, processor_s
from tests.bench.table import Judged, at_most, figure, figures
from tests.faults.processes import daemon, ended_within, until

from hs_common.client import Client
from hs_scheduler.commands.live import client_of
from hs_scheduler.serving.asking import Submission, new_key, pack_ids, pack_submission, unpack_info
from hs_scheduler.stores.store import NewTask
from hs_scheduler.tasks.fields import BY_NAME, FIELDS

SUBMISSIONS = 50
"""Tasks submitted to a waiting cluster, one after the other is over."""

IDLE_S = 0.15
"""Between two of them: longer than any batching, so the cluster really is idle."""

WATCHED_S = 20.0
"""How long an idle cluster's processor time is watched: a heartbeat is said every 10 s."""

ANSWER_S = 30.0
"""What has not come after so long never will."""

DAEMONS = ("broker", "scheduler", "guardian", "worker")
"""Of the processes that count; hs-cluster itself is printed beside them."""


def latency(bench: Bench) -> list[Judged]:
    """From the request of a submit to the start of its task, as its worker's clock has it: one host, one clock.

    What a command needs before it asks (the interpreter, imports) is printed beside it.
    """
    with standing(bench) as (_, client):
        waited = []
        for number in range(SUBMISSIONS + 1):
            select.select([], [], [], IDLE_S)
            began = time.time()
            uid = _submitted(client, b"/bin/true %d" % number)
            client.ask("wait", pack_ids([uid]))
            _, values = unpack_info(client.ask("info", pack_ids([uid])))
            assert values is not None
            waited.append(1000 * (values[FIELDS.index(BY_NAME["start_time"])] - began))
        command = [bench.timed("hs", "submit", "--", "true") for _ in range(5)]
    waited = waited[1:]  # the worker had never started a task
    others = [
        Series(name="p90", values=(percentile(waited, 0.9),)),
        Series(name="largest", values=(max(waited),)),
        Series(name="hs submit, the whole command", values=tuple(1000 * seconds for seconds in command)),
    ]
    return [
        Judged(
            row="latency",
            what="submit -> start on an idle --forever cluster, p50",
            value=percentile(waited, 0.5),
            bar=at_most(10.0, "ms"),
            aim="3 ms",
            figures=tuple(figure(series, "ms") for series in others),
        )
    ]


def idle(bench: Bench) -> list[Judged]:
    """Processor time of the daemons of a cluster with nothing to do, in percent of one core."""
    with standing(bench) as (cluster, client):
        _submitted(client, b"/bin/true")
        pids = {name: daemon(cluster.pid, name) for name in DAEMONS} | {"hs-cluster": cluster.pid}
        found = {name: pid for name, pid in pids.items() if pid is not None}
        select.select([], [], [], 1.0)
        before, began = {name: processor_s(pid) for name, pid in found.items()}, time.perf_counter()
        select.select([], [], [], WATCHED_S)
        passed = time.perf_counter() - began
        used = {name: 100 * (processor_s(pid) - before[name]) / passed for name, pid in found.items()}
    series = [Series(name=name, values=(value,)) for name, value in used.items()]
    return [
        Judged(
            row="idle",
            what="processor time of the idle daemons together",
            value=sum(value for name, value in used.items() if name in DAEMONS),
            bar=at_most(0.5, "%"),
            aim="nothing",
            figures=figures(series, "%"),
        )
    ]


@contextmanager
def standing(bench: Bench) -> Iterator[tuple["subprocess.Popen[bytes]", Client]]:
    """Give a cluster that waits for tasks, and a client of its scheduler."""
    cluster = bench.home.start("hs-cluster", "--forever", "-N2", stdin=subprocess.DEVNULL)
    database = bench.home.path("site", "main", "tasks.db")
    found: list[Client] = []

    def answers() -> bool:
        client = client_of(database) if os.path.exists(database) else None
        found.extend([client] if client is not None else [])
        return bool(found)

    if not until(answers, ANSWER_S):
        raise RunError("the cluster takes no requests")
    (client,) = found
    try:
        if not until(lambda: json.loads(client.ask("status"))["slots"], ANSWER_S):
            raise RunError("its worker does not come")
        yield cluster, client
    finally:
        client.close()
        cluster.terminate()
        if not ended_within(cluster.pid, ANSWER_S):
            sys.stderr.write("hs-cluster did not end\n")


def _submitted(client: Client, line: bytes) -> bytes:
    task = NewTask(line, None, 0, 0, "")
    answer = json.loads(client.ask("submit", pack_submission(Submission(new_key(), "here", b"/", [task]))))
    return bytes.fromhex(answer["id"].replace("-", ""))
