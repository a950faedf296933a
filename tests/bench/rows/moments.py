"""Rows about single moments: `startup` and `end`."""

import os
import select
import subprocess
import sys
import time

from tests.bench.bench import Bench, RunError
from tests.bench.measure import measured
from tests.bench.table import Judged, at_most, figures
from tests.faults.processes import ended_within

IMPORTS = "import zmq, msgpack, click, structlog, sqlite3"
"""What such a program cannot do without: sockets, the wire, options, a log, a store."""

ANSWER_S = 30.0
"""What has not come after so long never will."""


def startup(bench: Bench) -> list[Judged]:
    """One task, the whole command, against importing what such a program needs."""
    line = bench.lines("true", 1)
    contenders = {
        "echo true | hs-cluster": lambda: bench.cluster(stdin=line),
        f"python -c '{IMPORTS}'": lambda: bench.timed(sys.executable, "-c", IMPORTS),
    }
    found = measured(contenders, lambda timed: timed(), rounds=3 * bench.rounds)
    ours, imports = found.values()
    return [
        Judged(
            row="startup",
            what="echo true | hs-cluster, of python's imports",
            value=ours.median / imports.median,
            bar=at_most(1.5),
            aim=f"0.3 s (is {ours.median:.3f})",
            figures=figures(found.values(), "s"),
        )
    ]


def end(bench: Bench) -> list[Judged]:
    """From the last output of the last task to the end of hs-cluster, after a second in which nothing happened."""

    def once(line: str) -> float:
        source = bench.home.write("end.txt", line.encode())
        cluster = bench.home.start("hs-cluster", source, "-N2", stdout=subprocess.PIPE)
        try:
            assert cluster.stdout
            _answer(cluster.stdout.fileno())
            said = time.perf_counter()
            if not ended_within(cluster.pid, ANSWER_S):
                raise RunError("hs-cluster did not end")
            return time.perf_counter() - said
        finally:
            cluster.wait(ANSWER_S)

    found = measured({"last output -> end": "sleep 1; echo over\n"}, once, rounds=bench.rounds)
    (series,) = found.values()
    return [
        Judged(
            row="end",
            what="end of work -> end of hs-cluster",
            value=series.median,
            bar=at_most(0.3, "s"),
            aim="no idle back-off",
            figures=figures([series], "s"),
        )
    ]


def _answer(descriptor: int) -> bytes:
    """Return what a task wrote.

    Raises:
        RunError: It wrote nothing within `ANSWER_S`.

    """
    if not select.select([descriptor], [], [], ANSWER_S)[0] or not (answer := os.read(descriptor, 4096)):
        raise RunError("a task gave no output")
    return answer
