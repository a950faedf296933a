"""What a scheduler reads for others: page by page, each bounded, in turns that leave it its time."""

from collections.abc import Callable, Iterator
from itertools import count
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest
from tests.scheduler import generated
from tests.scheduler.test_desk import CLIENT, OTHER, SESSION, Bench, bench, store, submission, tasks

from hs_common.message_requests import AGAIN, DONE, MISUSED
from hs_common.messages import Request
from hs_scheduler.search.questions import Question, asking, spans
from hs_scheduler.serving.asking import LOOK_BYTES_MAX, pack_ids, pack_look, unpack_info, unpack_look, unpack_page
from hs_scheduler.serving.looks import QUIET_S, REST, Looks
from hs_scheduler.stores import pages
from hs_scheduler.stores.engines import open_reader
from hs_scheduler.stores.pages import PAGE_BYTES, Look, Page, page_of
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import StoreBusyError
from hs_scheduler.tasks.fields import BY_NAME, FIELDS
from hs_scheduler.tasks.filters import Filter

__all__ = ["bench", "store"]

ARGS = (BY_NAME["args"],)
EVERYTHING = Filter()


def always() -> bool:
    return True


def never() -> bool:
    return False


def read(location: str, look: Look, enough: Callable[[], bool] = always) -> Iterator[Page]:
    """Yield all pages, as a client asks for them: what is left of one is what the next one is about."""
    with open_reader(location) as reader:
        while True:
            page = page_of(reader, unpack_look(pack_look(look)), enough)
            yield page
            if page.last < page.first:
                return
            look = look._replace(first=page.first, last=page.last)


@pytest.fixture
def location(tmp_path: Path) -> str:
    """A database with tasks of every kind."""
    own = SqliteStore(str(tmp_path / "generated.db"))
    generated.fill(own, Random(4))
    own.close()
    return own.name


@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize("ended", ["", "failed"])
def test_pages_put_together_are_the_answer(
    location: str, monkeypatch: pytest.MonkeyPatch, ended: str, *, downwards: bool
) -> None:
    """However many there are."""
    monkeypatch.setattr(pages, "STEP_ROWS", 7)
    tasks_meant = Filter(ended=ended)
    found = list(read(location, Look(tasks_meant, FIELDS, downwards=downwards)))
    with asking(location, Question(filter=tasks_meant, fields=FIELDS, descending=downwards)) as rows:
        assert [row[1:] for page in found for row in page.rows] == [list(row) for row in rows]
    assert len(found) > 20


def test_what_is_counted_are_the_pieces_of_an_update(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pages", "changes"):
        monkeypatch.setattr(f"hs_scheduler.stores.{module}.PIECE_ROWS", 10)
    failed = Filter(ended="failed")
    found = list(read(location, Look(failed, None)))
    assert [tuple(row) for page in found for row in page.rows] == [span[:3] for span in spans(location, failed)]
    assert len(found) > 10


def test_a_page_ends_when_it_is_full_however_long_its_rows_are(bench: Bench) -> None:
    """Also in the middle of a step; a row that is larger than a page has one of its own."""
    half = PAGE_BYTES // 2
    with bench.store.transaction():
        bench.store.add(tasks(*(b"x" * size for size in (half, half, half, 3 * PAGE_BYTES, 1))), [0] * 5, b"/", 1.0)
    found = list(read(bench.store.name, Look(EVERYTHING, ARGS), never))
    assert [[len(args) for _, args in page.rows] for page in found] == [[half, half], [half, 3 * PAGE_BYTES], [1]]


def test_what_is_added_meanwhile_is_not_looked_at(bench: Bench) -> None:
    """Or whoever reads more slowly than others submit would never come to an end."""
    with bench.store.transaction():
        bench.store.add(tasks(*[b"true"] * 3), [0] * 3, b"/", 1.0)
    page = bench.store.page(Look(EVERYTHING, ARGS, last=0), always)
    with bench.store.transaction():
        bench.store.add(tasks(b"later"), [0], b"/", 1.0)
    assert (len(page.rows), page.first, page.last) == (3, 4, 3)


def test_a_question_waits_for_its_turn_and_is_answered_with_a_page(bench: Bench) -> None:
    """Those who came first go first."""
    bench.ask("submit", submission(b"one"))
    bench.commit()
    bench.said()
    bench.ask("search", pack_look(Look(EVERYTHING, ARGS)))
    bench.ask("search", pack_look(Look(EVERYTHING, None)), client=OTHER)
    assert bench.said() == []

    ticks = count(1.0)
    bench.desk.read(lambda: next(ticks))
    bench.desk.read(lambda: next(ticks))

    first, second = bench.said()
    assert (first.client, first.status, first.more, second.client) == (CLIENT, DONE, False, OTHER)
    assert unpack_page(first.body) == Page(0, 2, 1, [[1, b"one"]])
    assert unpack_page(second.body) == Page(0, 2, 1, [[1, 1, 1]])
    assert bench.desk.looks.due_at() == inf


def test_one_task_is_told_at_once(bench: Bench) -> None:
    """It is one look at an index; None: it is not in the database itself."""
    bench.ask("submit", submission(b"one"))
    bench.commit()
    uid = bytes.fromhex(bench.answer()["id"].replace("-", ""))
    bench.ask("info", pack_ids([uid]))
    bench.ask("info", pack_ids([bytes(16)]), request=2)
    there, nowhere = bench.said()
    archives, values = unpack_info(there.body)
    assert values is not None
    assert (archives, values[0], values[2]) == (0, uid, b"one")
    assert unpack_info(nowhere.body) == (0, None)


@pytest.mark.parametrize("leave", [lambda desk: desk.forget(CLIENT), lambda desk: desk.open(SESSION)])
def test_nothing_is_read_for_who_left(bench: Bench, leave: Callable[[Any], None]) -> None:
    bench.ask("search", pack_look(Look(EVERYTHING, ARGS)))
    leave(bench.desk)
    assert (len(bench.desk.looks), bench.desk.looks.due_at()) == (0, inf)


def test_a_store_that_cannot_be_read_now_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its client: nothing waits here."""

    def busy(*_: object) -> Page:
        raise StoreBusyError("locked")

    bench.ask("search", pack_look(Look(EVERYTHING, ARGS)))
    monkeypatch.setattr(bench.store, "page", busy)
    bench.desk.read(lambda: 1.0)
    assert bench.refusal() == (AGAIN, "locked")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x01", "not a question about tasks"),
        (msgpack.packb([EVERYTHING.plain(), None, 0, 1, False]), "not a question about tasks"),
        (msgpack.packb([EVERYTHING.plain(), ["secret"], 1, 1, False]), "there is no field secret"),
        (msgpack.packb([[[], [], None, "never"], None, 1, 1, False]), "not a filter of tasks"),
        (
            msgpack.packb([Filter(conditions=("args ~ (a+)+b",)).plain(), None, 1, 1, False]),
            "not a question about tasks",
        ),
        (b"x" * (LOOK_BYTES_MAX + 1), "not a question about tasks"),
    ],
)
def test_what_is_no_question_is_refused(bench: Bench, body: bytes, reason: str) -> None:
    bench.ask("search", body)
    status, why = bench.refusal()
    assert (status, why[: len(reason)]) == (MISUSED, reason)


@pytest.mark.parametrize(
    "tasks_meant",
    [
        Filter(conditions=("priority == 1e99",)),
        Filter(conditions=("priority == 99999999999999999999",)),
        Filter(conditions=("submit_host == \udcc3",)),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(bench: Bench, tasks_meant: Filter) -> None:
    """It is not the end of the scheduler."""
    bench.ask("search", pack_look(Look(tasks_meant, ARGS)))
    assert bench.refusal()[0] == MISUSED


def test_a_part_that_makes_no_sense_to_the_database_is_refused_in_its_turn(bench: Bench) -> None:
    """Nor is that its end."""
    bench.ask("search", pack_look(Look(Filter(group=1 << 63), ARGS)))
    assert bench.said() == []
    bench.desk.read(lambda: 1.0)
    assert bench.refusal()[0] == MISUSED


def asked(looks: Looks) -> None:
    request = Request(session=SESSION, client=CLIENT, request=1, verb="search", body=b"")
    looks.add(request, Look(EVERYTHING, None))


def test_readers_wait_while_the_scheduler_has_work_and_not_otherwise() -> None:
    """They get a quarter of its time."""
    looks = Looks()
    assert looks.due_at() == inf
    asked(looks)
    assert looks.due_at() < 100.0

    looks.worked(100.0)
    looks.took(100.0, 100.01)

    assert looks.due_at() == pytest.approx(100.01 + REST * 0.01)
    looks.took(100.0, 101.0)
    assert looks.due_at() == pytest.approx(100.0 + QUIET_S), "no work for so long: no rest"
