"""Two hundred generated questions: SQLite and PostgreSQL give the same rows, in the same order."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hs_common.errors import RefusedError
from hs_common.tasks import Detail, Outcome, OutcomeKind
from hs_scheduler.search.questions import Question, asking, number_of
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.store import NewTask, Retry
from hs_scheduler.tasks.fields import FIELDS, shown
from hs_scheduler.tasks.filters import ENDS, Filter

QUESTIONS = 200
TASKS = 300
SEED = 7
T0 = 1_700_000_000.0

TAGS: tuple[Any, ...] = (None, True, False, 0, 1, 7, -3, 10**15, 0.5, 7.0, 1e300, "", "x", "7", "true", "ä ö", "null")
KEYS = ("kind", "n", "x.y", "Kind")
LINES = (b"echo a", b"echo \xff\xfe", "grüße".encode(), b"exit 3", b"it's", b"a%b_c", b"?:x", b"{}", b"A")
REASONS = ("", "", "", "timeout", "memory", "Timeout")


class Pair(NamedTuple):
    """The same tasks twice."""

    file: str
    url: str


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres: Any) -> Pair:
    found = Pair(str(tmp_path_factory.mktemp("agree") / "tasks.db"), postgres.new_schema("agree"))
    fill(found.file)
    open_store(found.url, create=True).close()
    copy(found)
    return found


def fill(file: str) -> None:
    """Make tasks of all kinds: waiting, running, over with and without success, tried again, rejected."""
    dice = random.Random(SEED)
    with closing(open_store(file)) as store:
        for run, host in ((b"r" * 16, "host-a"), (b"s" * 16, "Host-b")):
            store.open_run(run, {}, T0)
            lines = [a_line(dice) for _ in range(TASKS // 2)]
            with store.transaction():
                tasks = store.add(lines, [dice.choice((0, 1)) for _ in lines], b"/w\xff", T0 + dice.random())
            kinds = (OutcomeKind.FINISHED,) * 6 + tuple(OutcomeKind)
            outcomes = [
                Outcome(
                    row=task.row,
                    dispatch=1,
                    kind=dice.choice(kinds),
                    status=dice.choice((0, 0, 256, 768, 9)),
                    reason=dice.choice(REASONS),
                    start=dice.choice((0.0, T0 + dice.uniform(-1, 9))),
                    duration=dice.choice((0.5, 1.0, dice.random())),
                    cpu_user=dice.random(),
                    cpu_system=0.0,
                    memory_max=dice.choice((0, 2**40)),
                    command=dice.choice((b"", b"sh \xff")),
                    outpath=dice.choice((b"", b"/o")),
                    errpath=dice.choice((b"", b"/e")),
                )
                for task in tasks
                if dice.random() < 0.7
            ]
            with store.transaction():
                store.record(host.encode().ljust(16), host, outcomes, Retry(1, eager=False), T0 + 99)


def a_line(dice: random.Random) -> NewTask:
    tags = tuple({dice.choice(KEYS): dice.choice(TAGS) for _ in range(dice.randint(0, 3))}.items())
    detail = Detail(dice.choice((0.0, 1.5)), dice.choice((0, 2)), dice.choice((0, 2**33)), tags, b"")
    rejected = dice.choice(("", "", "", "", "NUL in the line"))
    return NewTask(
        dice.choice(LINES), dice.choice((None, detail, detail)), dice.randint(-1, 2), dice.randint(0, 2), rejected
    )


def copy(pair: Pair) -> None:
    """Copy the rows as they are, ids too."""
    with closing(sqlite3.connect(pair.file)) as file, psycopg.connect(pair.url) as server:
        for table in ("run", "place", "worker", "task"):
            rows = file.execute(f"SELECT * FROM {table}")
            names = ", ".join(f'"{column[0]}"' for column in rows.description)
            marks = ", ".join(["%s"] * len(rows.description))
            server.cursor().executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})".encode(), rows.fetchall())


def values_of(file: str) -> dict[str, list[str]]:
    """Return what users would compare each field with: values that are there, and some that are not."""
    with asking(file, Question(filter=Filter(), fields=FIELDS)) as rows:
        found = list(rows)
    values: dict[str, list[str]] = {}
    for number, field in enumerate(FIELDS):
        raw = {row[number] for row in found}
        texts = {text_of(shown(field, value)) for value in raw} - {""}
        values[field.name] = sorted(texts | {"0", "1.5", "zz", "null", "2023-11-14T22:13:21"})
    return values


def text_of(value: object) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value)


@pytest.fixture(scope="module")
def values(pair: Pair) -> Iterator[None]:
    VALUES.update(values_of(pair.file))
    yield
    VALUES.clear()


VALUES: dict[str, list[str]] = {}
PATTERNS = ("^echo", "a", "o$", "[0-9]+", "(?i)TIMEOUT", "ü|x", r"\d{4}-", "", ".", "DONE|NEW", "^$", '"kind": 7')

names = st.sampled_from([field.name for field in FIELDS])


@st.composite
def conditions(draw: st.DrawFn) -> str:
    name = draw(names)
    operator = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "~", "~"]))
    value = draw(st.sampled_from(PATTERNS)) if operator == "~" else draw(st.sampled_from(VALUES[name]))
    return f"{name} {operator} {value}"


tags = st.builds(
    lambda key, value: key if value is None else f"{key}:{value}",
    st.sampled_from(KEYS),
    st.sampled_from([None, "null", "true", "false", "0", "7", "7.0", "0.5", '"7"', '"true"', "x", '"ä ö"', "-3", '""']),
)
filters = st.builds(
    Filter,
    conditions=st.lists(conditions(), max_size=2).map(tuple),
    tags=st.lists(tags, max_size=1).map(tuple),
    group=st.sampled_from([None, None, None, 0, 1]),
    ended=st.sampled_from(["", "", "", *ENDS]),
)
questions = st.builds(
    Question,
    filter=filters,
    fields=st.just(FIELDS),
    order_by=st.sampled_from([None, *FIELDS]),
    descending=st.booleans(),
    limit=st.sampled_from([None, None, 1, 10]),
)


def answer(location: str, question: Question) -> tuple[int, list[Any]] | str:
    """Return the number and the rows, or why the question makes no sense."""
    try:
        with asking(location, question) as rows:
            return number_of(location, question), [tuple(row) for row in rows]
    except RefusedError as exc:
        return str(exc)


@settings(
    max_examples=QUESTIONS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_both_engines_give_the_same_rows(pair: Pair, values: None, data: st.DataObject) -> None:
    question = data.draw(questions)

    assert answer(pair.file, question) == answer(pair.url, question)


@pytest.mark.parametrize("field", [field.name for field in FIELDS])
def test_each_field_can_be_asked_for_and_sorted_by(pair: Pair, values: None, field: str) -> None:
    """No chance decides whether a field is among those of the other test."""
    number = 0
    for operator in ("==", "!=", "<", ">", "~"):
        for value in VALUES[field][:4]:
            (order,) = [one for one in FIELDS if one.name == field]
            asked = Filter(conditions=(f"{field} {operator} {value}",))
            question = Question(filter=asked, fields=FIELDS, order_by=order, descending=operator == ">")
            found = answer(pair.file, question)
            assert found == answer(pair.url, question)
            number += not isinstance(found, str) and found[0]
    assert number, "nothing was ever found"
