"""Questions about many tasks: 200 made by chance, against what Python says; and which indexes they follow."""

import json
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from tests.scheduler import generated
from tests.scheduler.building import output

from hs_scheduler.commands.search import search
from hs_scheduler.search.questions import Question, asking, number_of
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.tasks.conditions import field_named
from hs_scheduler.tasks.fields import BY_NAME, shown, tables_of
from hs_scheduler.tasks.filters import Filter

QUESTIONS = 200
SEED = 4


@pytest.fixture
def location(tmp_path: Path) -> str:
    """A database with tasks of every kind."""
    store = SqliteStore(str(tmp_path / "tasks.db"))
    generated.fill(store, Random(SEED))
    store.close()
    return store.name


def test_a_question_finds_what_python_finds_in_the_same_order(location: str) -> None:
    """Whatever is asked; that PostgreSQL says the same is for `test_engines_agree.py`."""
    rows = json.loads(output(search, "--json", "--database", location))
    random = Random(SEED)
    answered = []
    for _ in range(QUESTIONS):
        asked = generated.question(random, rows)
        question = Question(
            filter=asked.filter,
            fields=(BY_NAME["id"],),
            order_by=field_named(asked.order_by) if asked.order_by else None,
            descending=asked.descending,
            limit=asked.limit,
        )
        with asking(location, question) as found:
            ids = [shown(BY_NAME["id"], uid) for (uid,) in found]
        assert ids == generated.answer(asked, rows), asked
        assert number_of(location, question) == len(ids), asked
        answered.append(len(ids))
    assert len(rows) > generated.TASKS
    assert sum(count > 0 for count in answered) > QUESTIONS / 4, "many questions have an answer"
    assert len(set(answered)) > QUESTIONS / 20


@pytest.mark.parametrize(
    ("tasks", "on_sqlite", "on_postgres"),
    [
        (Filter(ended="failed"), "USING COVERING INDEX task_failed", "task_failed"),
        (Filter(ended="failed", group=3), "USING COVERING INDEX task_failed", "task_failed"),
        (
            Filter(conditions=("id == 01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b",)),
            "INDEX sqlite_autoindex_task_1 (uid=?)",
            "task_uid_key",
        ),
        (Filter(conditions=("state == NEW",)), "INDEX task_ready", "task_ready"),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_what_is_asked_often_follows_an_index(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str, tasks: Filter, on_sqlite: str, on_postgres: str
) -> None:
    on_server = engine == "postgres"
    location = request.getfixturevalue("postgres_url") if on_server else str(tmp_path / "tasks.db")
    explain, plan = ("EXPLAIN", on_postgres) if on_server else ("EXPLAIN QUERY PLAN", on_sqlite)
    with closing(open_store(location, create=True)) as store:
        where = tasks.where(store._engine.dialect)
        if on_server:
            # It would look at all rows of an empty table, whatever indexes there are.
            store._engine.execute("SET enable_seqscan = off")
        found = store._engine.execute(
            f"{explain} SELECT count(*) FROM (SELECT 1 FROM {tables_of(where.sql)} WHERE {where.sql}) AS found",
            where.values,
        ).fetchall()
    assert any(plan in str(step[-1]) for step in found), found
