"""Rows about single moments: `startup`, `end` and `latency`."""

import os
import select
import subprocess
import sys
import time

from tests.bench.bench import Bench, RunError
from tests.bench.measure import Series, measured, percentile
from tests.bench.table import Judged, figure, figures
from tests.faults.processes import ended_within

IMPORTS = "import zmq, msgpack, click, structlog, sqlalchemy"

SUBMISSIONS = 50
"""Lines written to a waiting cluster, one after the other is through."""

IDLE_S = 0.15
"""Between two of them: longer than any batching, so the cluster really is idle."""

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
            unit="x",
            bar=1.5,
            at_most=True,
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
            unit="s",
            bar=0.3,
            at_most=True,
            aim="no idle back-off",
            figures=figures([series], "s"),
        )
    ]


def latency(bench: Bench) -> list[Judged]:
    """From a line written to the stdin of an idle, waiting hs-cluster to the output of its task.

    It stands for "submit -> start on an idle --forever cluster" and is longer: the task's own spawning is in it.
    """
    cluster = bench.home.start("hs-cluster", "-N2", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert cluster.stdin
    assert cluster.stdout
    waited = []
    for number in range(SUBMISSIONS + 1):
        select.select([], [], [], IDLE_S)
        begin = time.perf_counter()
        cluster.stdin.write(b"/bin/echo %d\n" % number)
        cluster.stdin.flush()
        _answer(cluster.stdout.fileno())
        waited.append(1000 * (time.perf_counter() - begin))
    cluster.stdin.close()
    cluster.wait(ANSWER_S)
    waited = waited[1:]  # the first one waited for the daemons to start
    p50 = percentile(waited, 0.5)
    others = [
        Series(name="p90", values=(percentile(waited, 0.9),)),
        Series(name="largest", values=(max(waited),)),
        Series(name="bare spawn of the same", values=tuple(1000 * _bare_echo(bench) for _ in range(20))),
    ]
    return [
        Judged(
            row="latency",
            what="line on stdin of an idle cluster -> its output, p50",
            value=p50,
            unit="ms",
            bar=10.0,
            at_most=True,
            aim="3 ms",
            figures=tuple(figure(series, "ms") for series in others),
        )
    ]


def _bare_echo(bench: Bench) -> float:
    begin = time.perf_counter()
    pid = os.posix_spawn("/bin/echo", ["echo"], bench.home.env, file_actions=[(os.POSIX_SPAWN_CLOSE, 1)])
    os.waitpid(pid, 0)
    return time.perf_counter() - begin


def _answer(descriptor: int) -> bytes:
    """Return what a task wrote.

    Raises:
        RunError: It wrote nothing within `ANSWER_S`.

    """
    if not select.select([descriptor], [], [], ANSWER_S)[0] or not (answer := os.read(descriptor, 4096)):
        raise RunError("a task gave no output")
    return answer
