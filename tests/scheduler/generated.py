"""Tasks and questions made by chance, and what Python says which tasks they mean: for a database to be measured against."""

import json
import operator
import re
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from hs_common.tasks import Detail, Outcome, OutcomeKind, Started, Tag
from hs_scheduler.stores.changes import PIECE_ROWS, Action, Change, Piece
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.store import NewTask, Retry
from hs_scheduler.tasks.fields import BY_NAME, Field
from hs_scheduler.tasks.filters import ENDS, Filter

T0 = 1_700_000_000.0
TASKS = 150
WORDS = ("", "echo", "éa", "a b", "x'y", 'q"q', "7", "%_", "z\\n")
TAGS: dict[str, tuple[Tag, ...]] = {
    "n": (0, 1, 2, 2.5, -3, "2", True, False, None),
    "kind": ("x", "two words", "é", "", "null"),
    "only.now-1": (True, 1, "true"),
}
HOSTS = ("n1", "n2", "ñ3")
NUMBERED = ("group", "priority", "attempt", "dispatch", "exit_status", "memory_max", "cores", "memory")

Row = dict[str, Any]


def fill(store: SqlStore, random: Random) -> None:
    """Put tasks of every kind into an empty database."""
    with store.transaction():
        tasks = []
        for number in range(TASKS):
            submitter, cwd = random.choice(("", "elsewhere")), f"/work/{number % 3}".encode()
            tasks += store.add([_line(random)], [number % 4], cwd, T0 + number * 0.5, submitter=submitter)
    out = [task for number, task in enumerate(tasks) if number % 4]
    with store.transaction():
        store.started(b"s" * 16, "n9", [Started(task.row, 1, T0 + 100.25) for task in out[::7]])
        for task in out[::2]:
            host = random.choice(HOSTS)
            store.record(
                host.encode().ljust(16, b"."), host, [_outcome(random, task.row)], Retry(1, eager=False), T0 + 200
            )
    for action, test in (
        (Action.HOLD, "group == 1"),
        (Action.CANCEL, "priority == 3"),
        (Action.REVERT, "exit_status == 2"),
    ):
        with store.transaction():
            store.change(Piece(Change(filter=Filter(conditions=(test,)), action=action), 1, PIECE_ROWS), T0 + 300)


def _line(random: Random) -> NewTask:
    args = f"{random.choice(WORDS)} {random.randrange(20)}".strip() or "true"
    tags = tuple((key, random.choice(values)) for key, values in TAGS.items() if random.random() < 0.5)
    detail = Detail(random.choice((0.0, 1.5, 60.0)), random.choice((0, 1, 4)), random.choice((0, 1 << 30)), tags, b"")
    rejected = "NUL in the line" if random.random() < 0.05 else ""
    plain = random.random() < 0.3
    return NewTask(
        args.encode(), None if plain else detail, random.choice((0, 1, 2)), random.choice((0, 3, -1)), rejected
    )


def _outcome(random: Random, row: int) -> Outcome:
    kind = random.choices((OutcomeKind.FINISHED, OutcomeKind.REJECTED, OutcomeKind.CRASHED), (8, 1, 1))[0]
    ran = kind is OutcomeKind.FINISHED
    status = random.choice((0, 0, 1 << 8, 2 << 8, 9)) if ran else 0
    reason = random.choice(("", "", "timeout")) if ran else "template: {[9]} is out of range"
    start = T0 + 100 + random.randrange(40) / 4 if ran else 0.0
    paths = (b"/out/\xc3\xa9", b"/err") if random.random() < 0.5 else (b"", b"")
    usage = (random.randrange(8) / 4, 0.5, 0.25, random.choice((0, 1 << 20)))
    return Outcome(row, 1, kind, status, reason, start, *usage, random.choice((b"", b"expanded")), *paths)


class Asked(NamedTuple):
    """A question as it is typed."""

    filter: Filter
    order_by: str | None
    descending: bool
    limit: int | None


def question(random: Random, rows: list[Row]) -> Asked:
    """Make a question about these tasks."""
    conditions = tuple(_condition(random, rows) for _ in range(random.choice((0, 1, 1, 2))))
    tags = tuple(_tag(random) for _ in range(random.choice((0, 0, 1))))
    return Asked(
        Filter(
            conditions=conditions,
            tags=tags,
            group=random.choice((None, None, None, 0, 1)),
            ended=random.choice(("", "", *ENDS)),
        ),
        random.choice((None, *BY_NAME)) if random.random() < 0.7 else None,
        random.random() < 0.5,
        random.choice((None, None, 1, 10)),
    )


def _condition(random: Random, rows: list[Row]) -> str:
    field = random.choice(list(BY_NAME.values()))
    value = random.choice(rows)[field.name]
    if random.random() < 0.15:
        return f"{field.name} {random.choice(('==', '!='))} null"
    if value is None or field.kind == "json" or random.random() < 0.2:
        return f"{field.name} ~ {random.choice(('^.', '[0-9]', 'a', 'e$', '(1|x)', 'null', 'DONE|NEW', '-'))}"
    operators = ("==", "!=") if field.kind in ("state", "uuid") else ("==", "!=", "<", "<=", ">", ">=")
    text = str(value).strip()
    if field.name in NUMBERED and random.random() < 0.5:
        text = str(random.randrange(-1, 5))
    return f"{field.name} {random.choice(operators)} {text}" if text else f"{field.name} ~ ^$"


def _tag(random: Random) -> str:
    key = random.choice((*TAGS, "missing"))
    value = random.choice(TAGS.get(key, (1,)))
    if random.random() < 0.3:
        return key
    as_text = isinstance(value, str) and (value in ("2", "true", "null") or '"' in value)
    return f"{key}:{json.dumps(value) if as_text or not isinstance(value, str) else value}"


# --- What Python says ---

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def answer(asked: Asked, rows: list[Row]) -> list[str]:
    """Return the ids that a question means. `rows`: the public fields of all tasks, in the order of submission."""
    found = [(number, row) for number, row in enumerate(rows) if _means(asked.filter, row)]

    def place(item: tuple[int, Row]) -> tuple[Any, ...]:
        value = None if asked.order_by is None else _sortable(BY_NAME[asked.order_by], item[1][asked.order_by])
        return (value is not None, value, item[0])

    found.sort(key=place, reverse=asked.descending)
    return [row["id"] for _, row in found[: asked.limit]]


def _means(tasks: Filter, row: Row) -> bool:
    failed = row["state"] in ("REJECTED", "QUARANTINED") or (
        row["state"] == "DONE" and (row["exit_status"] != 0 or row["reason"] is not None)
    )
    over = row["state"] in ("DONE", "CANCELLED", "REJECTED", "QUARANTINED")
    ended = {"": True, "failed": failed, "succeeded": row["state"] == "DONE" and not failed, "completed": over}
    return (
        all(_holds(text, row) for text in tasks.conditions)
        and all(_tagged(text, row["tag"]) for text in tasks.tags)
        and (tasks.group is None or row["group"] == tasks.group)
        and ended.get(tasks.ended, not over)
    )


def _holds(text: str, row: Row) -> bool:
    name, sign, wanted = text.split(" ", 2)
    field, value = BY_NAME[name], row[name]
    if sign == "~":
        shown = json.dumps(value, ensure_ascii=False) if field.kind == "json" else str(value)
        return value is not None and re.search(wanted, shown) is not None
    if wanted == "null":
        return (value is None) == (sign == "==")
    number: Any = {"integer": int, "real": float}.get(field.kind, str)(wanted)
    return value is not None and _COMPARE[sign](value, number)


def _tagged(text: str, tags: dict[str, Any]) -> bool:
    key, colon, wanted = text.partition(":")
    if not colon or key not in tags:
        return key in tags
    try:
        value = json.loads(wanted)
    except ValueError:
        value = wanted
    # True is not 1.
    return isinstance(tags[key], bool) == isinstance(value, bool) and bool(tags[key] == value)


def _sortable(field: Field, value: Any) -> Any:
    """Return what is sorted: states by their number, tags by their text."""
    if value is None:
        return None
    if field.kind == "state":
        return ("ON_HOLD", "NEW", "ASSIGNED", "RUNNING", "DONE", "CANCELLED", "QUARANTINED", "REJECTED").index(value)
    return json.dumps(value, ensure_ascii=False).encode() if field.kind == "json" else value
