"""The row about what is over: `history`."""

import os
import shutil
import sqlite3
from contextlib import closing
from functools import partial

from tests.bench.bench import Bench
from tests.bench.measure import measured, rates
from tests.bench.table import Judged, at_least, at_most, figures

from hs_scheduler.stores.engines import open_store

LONG, SHORT = 1_000_000, 10_000
"""Tasks that are over."""

TASKS = 50_000
"""N of the marginal rates."""

FEW = 10
"""Tasks of a run of which little but its start is measured."""

LINE = "echo {}"


def history(bench: Bench) -> list[Judged]:
    """Claim, run (executing nothing) and record what waits in a queue, by how much has ended there before."""
    names = {_name(count): _ended(bench, count) for count in (LONG, SHORT)}
    found = rates(
        {name: partial(_restarted, bench, past) for name, past in names.items()},
        tasks=bench.tasks(TASKS),
        rounds=bench.rounds,
    )
    starts = measured(names, lambda past: _restarted(bench, past, FEW), rounds=bench.rounds)
    (long, short), (late, early) = found.values(), starts.values()
    return [
        Judged(
            row="history",
            what=f"claim and record after {LONG:,} tasks, of the rate after {SHORT:,}",
            value=long.median / short.median,
            bar=at_least(0.9),
            figures=figures(found.values(), "tasks/s"),
        ),
        Judged(
            row="history",
            what=f"a cluster's start and end after {LONG:,} tasks, more than after {SHORT:,}",
            value=late.median - early.median,
            bar=at_most(0.5, "s"),
            figures=figures(starts.values(), "s"),
        ),
    ]


def _name(count: int) -> str:
    return f"{count:,} tasks over"


def _ended(bench: Bench, count: int) -> str:
    """Return the path of a database in which so many tasks have succeeded (the count is never scaled)."""
    path = bench.home.path(f"history-{count}.db")
    open_store(path).close()
    bench.peer("bulk.py", bench.lines(LINE, count), path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "UPDATE task SET state = 3, dispatch = 1, bundle = row, worker = 1, exit_status = 0, schedule_time = 0.0,"
            " start_time = 0.0, completion_time = 0.0, duration = 0.0, cpu_user = 0.0, cpu_system = 0.0"
        )
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _restarted(bench: Bench, past: str, tasks: int) -> float:
    """Time a cluster that runs so many waiting tasks of a copy of that database."""
    database = bench.home.path("queue.db")
    shutil.copyfile(past, database)
    bench.timed("hs", "submit", "-f", bench.lines(LINE, tasks), "--database", database)
    # Else the disk writes the copy while we measure.
    os.sync()
    try:
        return bench.timed("hs-cluster", "--restart", "--database", database, "-N2", null=True)
    finally:
        os.unlink(database)
