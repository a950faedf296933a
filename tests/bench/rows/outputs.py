"""Rows about where the output of tasks goes: `keep-order` and `capture`."""

import os
import shutil
import time

from tests.bench.bench import SECONDS_MAX, Bench, RunError
from tests.bench.measure import Timed, measured, rates
from tests.bench.table import Figure, Judged, at_least, figures
from tests.faults.processes import daemon, ended_within, resident_bytes

TASKS = 5_000
"""N of the marginal rates."""

HELD_UP = 100_000
"""Tasks of which the first is slow."""

SLOW_S = 10.0
"""So long it takes where there are so many; all that ends meanwhile waits for it."""

SAMPLE_S = 0.1
"""Between two looks at memory."""

MB = 1e6


def keep_order(bench: Bench) -> list[Judged]:
    """A hundred thousand lines of which the first is slow, with -k and without; and what each process weighs with it."""
    count = bench.tasks(HELD_UP)
    source = bench.home.path("held-up.txt")
    with open(source, "w", encoding="utf-8") as file:
        file.write(f"sleep {SLOW_S * bench.scale}; echo 0\n")
        file.writelines(f"echo {number}\n" for number in range(1, count))
    peaks: dict[str, int] = {}

    def once(options: tuple[str, ...]) -> float:
        return count / _run(bench, source, count, options, peaks)

    found = measured({"-k": ("-k",), "without": ()}, once, rounds=bench.rounds)
    kept, plain = found.values()
    weights = (
        Figure(name=f"peak memory, {name}", value=peak / MB, unit="MB", spread=0.0) for name, peak in peaks.items()
    )
    return [
        Judged(
            row="keep-order",
            what=f"{count:,} lines, first slow: -k of without",
            value=kept.median / plain.median,
            bar=at_least(0.85),
            aim="1; memory that does not grow",
            figures=(*figures(found.values(), "tasks/s"), *weights),
        )
    ]


def capture(bench: Bench) -> list[Judged]:
    """A file for each stream of each task, against the same without; whole outputs beside it."""

    def ours(*options: str) -> Timed:
        return lambda count: bench.cluster(bench.lines("echo {}", count), "-N2", *options, keep=True)

    bench.settle()
    contenders = {"-c": ours("-c"), "without": ours(), "--group-output": ours("--group-output")}
    found = rates(contenders, tasks=bench.tasks(TASKS), rounds=bench.rounds)
    plain = found["without"].median
    return [
        Judged(
            row="capture",
            what="-c, two files a task, of the rate without",
            value=found["-c"].median / plain,
            bar=at_least(0.6),
            aim=f"(--group-output is {found['--group-output'].median / plain:.2f})",
            figures=figures(found.values(), "tasks/s"),
        )
    ]


def _run(bench: Bench, source: str, count: int, options: tuple[str, ...], peaks: dict[str, int]) -> float:
    """Return the seconds of one run; with -k note the largest memory of each process.

    Raises:
        RunError: It did not end with status 0, or not all is printed, or not in order.

    """
    out = bench.home.path("out")
    with open(out, "wb") as file:
        begin = time.perf_counter()
        cluster = bench.home.start("hs-cluster", source, "-N2", *options, stdout=file)
        while not ended_within(cluster.pid, SAMPLE_S):
            for name in ("hs-cluster", "broker", "scheduler", "worker") if options else ():
                if pid := cluster.pid if name == "hs-cluster" else daemon(cluster.pid, name):
                    peaks[name] = max(peaks.get(name, 0), resident_bytes(pid, "VmHWM"))
            if time.perf_counter() - begin > SECONDS_MAX:
                raise RunError(f"{count} lines did not end within {SECONDS_MAX:.0f} s")
        elapsed_s = time.perf_counter() - begin
    bench.home.started.remove(cluster)
    with open(out, "rb") as file:
        printed = list(map(int, file))
    shutil.rmtree(bench.home.site, ignore_errors=True)
    os.unlink(out)
    if cluster.wait() or (printed if options else sorted(printed)) != list(range(count)):
        raise RunError(f"{count} lines {options}: status {cluster.returncode}, {len(printed)} printed, or not in order")
    return elapsed_s
