"""Databases of every earlier schema, as a program of that time left them: looked at, brought up to date, gone on with."""

import json
import sqlite3
from dataclasses import astuple
from pathlib import Path

import pytest
from click.testing import CliRunner

from hs_scheduler.commands.search import search
from hs_scheduler.stores import schema
from hs_scheduler.stores.changes import Action, Change, Piece
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NO_RUN, Counts
from hs_scheduler.tasks.filters import Filter

T0 = 1_800_000_000.0
GOLDEN = Path(__file__).parent / "golden"
VERSIONS = range(1, len(schema.STEPS))

COUNTS = {
    1: Counts(new=3, succeeded=2, failed=3, retried=2),
    2: Counts(new=2, on_hold=1, succeeded=2, failed=3, retried=2),
    3: Counts(on_hold=1, assigned=1, succeeded=3, failed=3, cancelled=1, retried=2),
}
"""What is in them."""


def load(path: Path, version: int) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / f"schema-{version}.sql").read_text())
    connection.close()
    return path


def structure(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    parts = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return [row for row in parts if not row[0].startswith("sqlite_stat")]


def rows(version: int) -> int:
    return sum(astuple(COUNTS[version]))


def found(path: Path, *options: str) -> int:
    result = CliRunner().invoke(search, ["-c", "--database", str(path), *options])
    assert result.exception is None, result.exception
    return int(result.stdout)


def agrees(path: Path, version: int) -> bool:
    """Whether a search finds what is to be in it."""
    counts = COUNTS[version]
    left = counts.new + counts.on_hold + counts.assigned
    return [found(path), found(path, "-F"), found(path, "-R")] == [rows(version), counts.failed + counts.retried, left]


def test_there_is_one_of_every_earlier_schema() -> None:
    assert sorted(file.name for file in GOLDEN.iterdir()) == [f"schema-{version}.sql" for version in VERSIONS]
    assert sorted(COUNTS) == list(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_it_can_be_looked_at_without_being_changed(tmp_path: Path, version: int) -> None:
    path = load(tmp_path / "tasks.db", version)
    before = path.read_bytes()

    assert agrees(path, version)
    shown = CliRunner().invoke(search, ["--json", "-s", "waited", "--database", str(path)])
    assert len(json.loads(shown.stdout)) == rows(version)
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_brought_up_to_date_it_is_like_a_new_one(tmp_path: Path, version: int) -> None:
    path = load(tmp_path / "tasks.db", version)
    SqliteStore(str(path)).close()
    SqliteStore(str(tmp_path / "new.db")).close()

    assert structure(path) == structure(tmp_path / "new.db")
    assert agrees(path, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_work_goes_on_in_it(tmp_path: Path, version: int) -> None:
    store = SqliteStore(str(load(tmp_path / "tasks.db", version)))
    store.open_run(NO_RUN, {}, T0)
    assert store.counts == COUNTS[version]
    assert len(list(store.held())) == COUNTS[version].assigned

    again = Change(filter=Filter(ended="failed"), action=Action.RETRY)
    with store.transaction():
        done = store.change(Piece(again, 1, rows(version)), T0)
    assert (done.count, done.left) == (2, {"cannot run: the line was refused as it was read": 1})
    assert [item.task.attempt for item in store.ready(9)][-2:] == [3, 3]
    store.close()
