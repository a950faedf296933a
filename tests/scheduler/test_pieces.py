"""Changes in pieces, and their way to a scheduler."""

from typing import Any

import msgpack
import pytest
from tests.scheduler.changing import T0, new, store

from hs_common.errors import WireError
from hs_scheduler.search.questions import spans
from hs_scheduler.stores.changes import PIECE_ROWS, Action, Change, Piece, Span
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import NewTask
from hs_scheduler.tasks.filters import Filter

__all__ = ["store"]


def test_only_pieces_with_such_tasks_are_looked_at(store: SqlStore) -> None:
    first, *_ = (new(store) for _ in range(3))
    with store.transaction():
        store.add([NewTask(b"x", None, 0, 0, "")] * PIECE_ROWS, [0] * PIECE_ROWS, b"/", T0)
    new(store, group=3)
    last = new(store)

    assert spans(store.name, Filter()) == [
        Span(first.row, PIECE_ROWS, PIECE_ROWS),
        Span(PIECE_ROWS + 1, last.row, last.row - PIECE_ROWS),
    ]
    assert spans(store.name, Filter(group=3)) == [Span(PIECE_ROWS + 1, last.row - 1, 1)]
    assert spans(store.name, Filter(group=4)) == []


def test_only_the_rows_of_the_piece_are_changed(store: SqlStore) -> None:
    rows = [new(store).row for _ in range(4)]
    asked = Change(filter=Filter(), action=Action.CANCEL)
    with store.transaction():
        done = store.change(Piece(asked, 2, 3), T0)

    assert [number for number, _ in done.cancelled] == rows[1:3]


def test_regular_expressions_are_worked_out_by_who_asks(store: SqlStore) -> None:
    """One can take a day for a single row, and whoever carries a change out has workers to answer."""
    meant = [new(store, args=b"echo caf\xe9").row for _ in range(2)]
    new(store)
    new(store, args=b"echo caf\xe9", group=1)
    tasks = Filter(conditions=("args ~ caf\udce9$",), group=0)
    found = spans(store.name, tasks)

    assert found == [Span(1, meant[-1], 2, tuple(meant))]

    asked = Change(filter=tasks.split()[0], action=Action.CANCEL)
    with store.transaction():
        done = store.change(Piece(asked, 1, meant[-1], (meant[0],)), T0)
    assert [number for number, _ in done.cancelled] == meant[:1]


def test_a_change_survives_its_way_to_the_scheduler() -> None:
    one = Piece(
        Change(
            filter=Filter(conditions=("args == caf\udce9",), tags=("a:1",), group=2, ended="failed"),
            action=Action.RETRY,
            assignments=("args=caf\udce9",),
            removed_tags=("x",),
        ),
        3,
        PIECE_ROWS + 2,
        (3, 7),
    )

    assert Piece.from_plain(msgpack.unpackb(msgpack.packb(one.plain()))) == one


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        [[], "cancel", [], []],
        [[[], [], None, ""], "destroy", [], []],
        [[[], [], None, ""], "cancel", ["text"], []],
        [[[], [], None, "sometimes"], "cancel", [], []],
        [[[], [], "group", ""], "cancel", [], []],
        [[None, [], None, ""], "cancel", [], []],
        [[[b"args ~ (a+)+$"], [], None, ""], "cancel", [], []],
    ],
    ids=repr,
)
def test_what_is_no_change_is_the_peers_fault(plain: Any) -> None:
    with pytest.raises(WireError):
        Piece.from_plain([plain, 1, 2, None])


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 1), (1, PIECE_ROWS + 1), ("1", 2), (1 << 63, 1 << 63)])
def test_a_piece_is_bounded(first: Any, last: Any) -> None:
    with pytest.raises(WireError):
        Piece.from_plain([Change(filter=Filter(), action=Action.CANCEL).plain(), first, last, None])


@pytest.mark.parametrize("rows", [1, ["1"], [None], list(range(PIECE_ROWS + 1))])
def test_so_are_the_rows_that_were_chosen(rows: Any) -> None:
    with pytest.raises(WireError):
        Piece.from_plain([Change(filter=Filter(), action=Action.CANCEL).plain(), 1, 2, rows])
