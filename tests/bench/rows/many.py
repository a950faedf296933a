"""Rows about many: `million` queued tasks and a thousand `workers`."""

import os
import resource
import shutil
import subprocess
import time

from tests.bench.bench import NULL, SECONDS_MAX, Bench, RunError
from tests.bench.measure import Series, measured
from tests.bench.simulated import Swarm
from tests.bench.table import Judged, at_least, at_most, figure, figures
from tests.faults.handmade import Handmade
from tests.faults.home import Home
from tests.faults.processes import daemon, ended_within, resident_bytes

MILLION = 1_000_000

WORKERS = 1_000
TASKS = 100_000
"""For the workers."""

CREDIT = {2: 10_000, WORKERS: 100}
"""Tasks that each of so many workers may hold: the largest for two, and as much again in all for many."""

SLOTS = 4

SAMPLE_S = 0.1
"""Between two looks at the daemons' memory."""

MB = 1e6


def million(bench: Bench) -> list[Judged]:
    """A run of a million lines: how fast its last ones are taken against the first, and what the daemons weigh."""
    count = bench.tasks(MILLION)
    marks, peaks = _watched(bench, bench.lines("echo {}", count), count)
    start = Series(name="rate, second tenth", values=(_rate(marks, 0.1, 0.2),))
    last = Series(name="rate, last tenth but one", values=(_rate(marks, 0.8, 0.9),))
    what = "1,000,000 lines" if count == MILLION else f"{count:,} lines"
    return [
        Judged(
            row="million",
            what=f"{what}: rate at the end, of the start",
            value=last.median / start.median,
            bar=at_least(0.9),
            aim="10 M",
            figures=figures([start, last], "tasks/s"),
        ),
        *(
            Judged(
                row="million",
                what=f"{what}: memory of the {name}",
                value=peaks[name] / MB,
                bar=at_most(bar, "MB"),
            )
            for name, bar in (("scheduler", 200.0), ("broker", 100.0))
        ),
    ]


def _watched(bench: Bench, source: str, count: int) -> tuple[list[tuple[float, int]], dict[str, int]]:
    """Run it with a job log and watch that grow: [(seconds, bytes)], and the largest memory of each daemon.

    Raises:
        RunError: It did not end with status 0.

    """
    joblog = bench.home.path("joblog")
    argv = ("hs-cluster", source, "-N2", "--joblog", joblog)
    cluster = bench.home.start(*argv, env=NULL)
    marks: list[tuple[float, int]] = []
    peaks = {"scheduler": 0, "broker": 0}
    begin = time.perf_counter()
    while not ended_within(cluster.pid, SAMPLE_S):
        for name, peak in peaks.items():
            if pid := daemon(cluster.pid, name):
                peaks[name] = max(peak, resident_bytes(pid, "VmHWM"))
        if os.path.exists(joblog):
            marks.append((time.perf_counter() - begin, os.stat(joblog).st_size))
        if time.perf_counter() - begin > SECONDS_MAX:
            raise RunError(f"{count} lines did not end within {SECONDS_MAX:.0f} s")
    with open(joblog, "rb") as file:
        rows = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) - 1
    marks = [(at, int(size * rows / os.stat(joblog).st_size)) for at, size in marks]
    os.unlink(joblog)
    shutil.rmtree(bench.home.site, ignore_errors=True)
    if cluster.wait() or rows != count:
        raise RunError(f"{count} lines: status {cluster.returncode}, {rows} rows in the job log")
    return marks, peaks


def _rate(marks: list[tuple[float, int]], low: float, high: float) -> float:
    """Return the rate between two parts of the run, tasks/s."""
    total = marks[-1][1]
    inside = [(at, rows) for at, rows in marks if low * total <= rows <= high * total]
    if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
        raise RunError("too few samples: the run is too short for this row")
    return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])


def workers(bench: Bench) -> list[Judged]:
    """The rate with a thousand workers on real sockets, against two of the same kind."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    tasks = bench.tasks(TASKS)
    source = bench.lines("echo {}", tasks)
    registered: list[float] = []

    def once(count: int) -> float:
        rate, registered_s = _swarm(source, tasks, count)
        if count == WORKERS:
            registered.append(registered_s)
        return rate

    found = measured({f"{count:,} workers": count for count in (2, WORKERS)}, once, rounds=bench.rounds)
    two, thousand = found.values()
    joined = Series(name=f"{WORKERS:,} workers registered after", values=tuple(registered))
    return [
        Judged(
            row="workers",
            what=f"{WORKERS:,} simulated workers, of the rate with 2",
            value=thousand.median / two.median,
            bar=at_least(0.8),
            aim="registered in 5 s",
            figures=(*figures(found.values(), "tasks/s"), figure(joined, "s")),
        )
    ]


def _swarm(source: str, tasks: int, count: int) -> tuple[float, float]:
    """Return (tasks/s, seconds until all workers were registered) of one run with so many simulated workers.

    Raises:
        RunError: Not all were registered, or a task was lost.

    """
    with Home() as home, Handmade(home) as cluster:
        begin = time.monotonic()
        swarm = Swarm(cluster.connection("worker"), workers=count, slots=SLOTS, credit=CREDIT[count])
        if not swarm.run(lambda: swarm.registered < count, seconds=60):
            raise RunError(f"{swarm.registered} of {count} workers were registered within 60 s")
        registered_s = time.monotonic() - begin
        cluster.start_scheduler(source, "--database", home.path("tasks.db"))
        assert cluster.scheduler
        scheduler: subprocess.Popen[bytes] = cluster.scheduler
        if not swarm.run(lambda: scheduler.poll() is None, seconds=SECONDS_MAX):
            raise RunError(f"{swarm.done} of {tasks} tasks done within {SECONDS_MAX:.0f} s")
        end = cluster.finish(10)
        swarm.close()
        if end.get("succeeded") != tasks or swarm.done != tasks or swarm.first_at is None:
            raise RunError(f"{swarm.done} of {tasks} tasks answered, the scheduler said {end}")
        return tasks / (swarm.last_at - swarm.first_at), registered_s
