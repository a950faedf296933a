"""Rows about a long queue: `submit` and `search`."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from tests.bench.bench import Bench
from tests.bench.measure import Series, measured
from tests.bench.table import Judged, at_least, at_most, figures
from tests.postgres_server import PostgresServer

from hs_scheduler.stores.engines import open_store

LINES = 1_000_000
LINE = "echo {}"
MIB = 1 << 20
MEMORY_MIB_MAX = 150

FAILED_EACH = 100
"""Every so many tasks one has failed."""


def submit(bench: Bench) -> list[Judged]:
    """`hs submit` of a file, against nothing but the inserts of the same rows: a file by executemany, a server by COPY."""
    database = bench.home.path("submit.db")

    def empty_file() -> None:
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(database + suffix):
                os.unlink(database + suffix)
        open_store(database).close()

    judged = _submitted(bench, database, empty_file, "SQLite, of a bare executemany")
    with _server() as server:
        url = server.new_schema("submit")
        open_store(url, create=True).close()
        judged += _submitted(bench, url, lambda: server.execute("TRUNCATE submit.task"), "PostgreSQL, of a bare COPY")
    return judged


def _submitted(bench: Bench, location: str, empty: Callable[[], None], what: str) -> list[Judged]:
    count = bench.tasks(LINES)
    source, peak = bench.lines(LINE, count), bench.home.path("peak")

    def ours() -> float:
        empty()
        return count / bench.peer("peak.py", peak, "hs", "submit", "-f", source, "--database", location)

    def bare() -> float:
        empty()
        return count / bench.peer("bulk.py", source, location)

    found = measured({"hs submit -f": ours, what: bare}, lambda timed: timed(), rounds=bench.rounds)
    rate, bare_rate = found.values()
    memory = Series(name="hs submit", values=(int(bench.home.read("peak")) / MIB,))
    return [
        Judged(
            row="submit",
            what=f"{count:,} lines, {what}",
            value=rate.median / bare_rate.median,
            bar=at_least(0.5),
            aim="100,000 lines/s",
            figures=figures(found.values(), "lines/s"),
        ),
        Judged(
            row="submit",
            what=f"most memory of it, {what.partition(',')[0]}",
            value=memory.median,
            bar=at_most(MEMORY_MIB_MAX, "MiB"),
            aim="flat",
            figures=figures([memory], "MiB"),
        ),
    ]


def search(bench: Bench) -> list[Judged]:
    """How many of a million failed, against a command that only says its version."""
    count = bench.tasks(LINES)
    source, file = bench.lines(LINE, count), bench.home.path("search.db")
    open_store(file).close()
    bench.peer("bulk.py", source, file)
    over = f"UPDATE task SET state = 3, exit_status = (CASE WHEN row % {FAILED_EACH} = 0 THEN 1 ELSE 0 END)"
    with closing(sqlite3.connect(file)) as db:
        db.execute(over)
        db.commit()
    with _server() as server:
        url = server.new_schema("search")
        open_store(url, create=True).close()
        bench.peer("bulk.py", source, url)
        server.execute(f"SET search_path = search; {over}")
        # As its own autovacuum leaves it within minutes: what is measured is the search, not the work of that beside it.
        server.execute("VACUUM ANALYZE search.task")
        server.execute("CHECKPOINT")
        contenders = {
            "hs --version": ("hs", "--version"),
            "SQLite": ("hs", "task", "search", "-F", "-c", "--database", file),
            "PostgreSQL": ("hs", "task", "search", "-F", "-c", "--database", url),
        }
        found = measured(contenders, lambda argv: bench.timed(*argv), rounds=3 * bench.rounds)
    version, *searches = found.values()
    return [
        Judged(
            row="search",
            what=f"search -F -c of {count:,} rows, {series.name}, beyond hs --version",
            value=series.median - version.median,
            bar=at_most(0.1, "s"),
            figures=figures([version, series], "s"),
        )
        for series in searches
    ]


@contextmanager
def _server() -> Iterator[PostgresServer]:
    """Give a server that is as careful as ours are: each commit is on the disk."""
    server = PostgresServer(fsync="on", shared_buffers="128MB", max_wal_size="4GB")
    try:
        server.start()
        yield server
    finally:
        server.remove()
