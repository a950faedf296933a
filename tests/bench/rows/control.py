"""Rows about what our own daemons cost when the worker executes nothing: `sqlite` and `relay`."""

import os

from tests.bench.bench import Bench
from tests.bench.measure import rates
from tests.bench.table import Judged, at_least, figures

TASKS = 50_000
"""N of the marginal rates: some seconds each, so that start-up noise is small against it."""

LINE = "echo {}"


def sqlite(bench: Bench) -> list[Judged]:
    """Read, insert, claim, send, record and acknowledge, against a script that only inserts, claims and records."""

    def script(count: int, how: str) -> float:
        database = bench.home.path("bare.db")
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(database + suffix):
                os.unlink(database + suffix)
        return bench.peer("sqlite_queue.py", bench.lines(LINE, count), database, how)

    contenders = {
        "hs-cluster -N2, null executor": lambda count: bench.cluster(bench.lines(LINE, count), "-N2", null=True),
        "bare sqlite3 script": lambda count: script(count, "apart"),
        "the same, claimed as inserted": lambda count: script(count, "at-once"),
    }
    ours, bare, _ = (found := rates(contenders, tasks=bench.tasks(TASKS), rounds=bench.rounds)).values()
    return [
        Judged(
            row="sqlite",
            what="control plane, SQLite, of a bare script",
            value=ours.median / bare.median,
            bar=at_least(0.4),
            aim="100,000 tasks/s",
            figures=figures(found.values(), "tasks/s"),
        )
    ]


def relay(bench: Bench) -> list[Judged]:
    """The same without a database, against a bare encrypted relay of the same bundles and outcomes."""
    return [_relayed(bench, size, results) for size, results in ((1, 500), (100, 2_000))]


def _relayed(bench: Bench, size: int, result_tasks: int) -> Judged:
    """`size`: tasks of a bundle; `result_tasks`: of a Result that ours sends then."""
    options = ("-N2", "--no-db", "-b", str(size))

    def peer(script: str, count: int) -> float:
        return bench.peer(script, bench.lines(LINE, count), str(size), str(result_tasks))

    contenders = {
        f"hs-cluster {' '.join(options)}, null": lambda n: bench.cluster(bench.lines(LINE, n), *options, null=True),
        f"bare CURVE relay, {size} in a bundle": lambda n: peer("relay.py", n),
        "the same, with the fewest books": lambda n: peer("books.py", n),
    }
    ours, bare, _ = (found := rates(contenders, tasks=bench.tasks(4 * TASKS), rounds=bench.rounds)).values()
    return Judged(
        row="relay",
        what=f"control plane, --no-db, -b {size}, of a bare CURVE relay",
        value=ours.median / bare.median,
        bar=at_least(0.4),
        aim="300,000 tasks/s",
        figures=figures(found.values(), "tasks/s"),
    )
