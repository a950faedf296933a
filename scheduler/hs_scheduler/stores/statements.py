"""The SQL of the hot path, and the values that go with it.

What is put together here is put together out of constants; every value travels as a parameter.
"""
# ruff: noqa: S608

import json
from collections.abc import Sequence
from typing import Any

from hs_common.tasks import Detail, Tag
from hs_scheduler.stores.engine import Bulk
from hs_scheduler.tasks.fields import FIELDS, FROM
from hs_scheduler.tasks.state import ASIDE, FAILED, OUT, State

_PLAIN = "row, state, dispatch, bundle, submit_time, schedule_time, run, place, uid, args"
_PLAIN_KINDS = ("INTEGER", "INTEGER", "INTEGER", "INTEGER", "REAL", "REAL", "INTEGER", "INTEGER", "BLOB", "BLOB")

INSERT_PLAIN = Bulk(f"INSERT INTO task ({_PLAIN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _PLAIN_KINDS)
"""A task without tags: nearly every one."""

ATTEMPTS_MAX = 2**31
"""More than any task has: for a retry that was asked for by name."""

_FULL = '"group", priority, reason, completion_time, timeout, cores, memory, tag, template'
_FULL_KINDS = ("INTEGER", "INTEGER", "TEXT", "REAL", "REAL", "INTEGER", "INTEGER", "TEXT", "BLOB")

INSERT_FULL = Bulk(
    f"INSERT INTO task ({_PLAIN}, {_FULL}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    _PLAIN_KINDS + _FULL_KINDS,
)

INSERT_RETRY = Bulk(
    """INSERT INTO task (row, state, dispatch, attempt, submit_time, run, place, "group", late, priority,
previous, origin, timeout, cores, memory, uid, tag, template, args)
SELECT ?, 0, 0, attempt + 1, ?, run, place, "group", ?, priority,
row, coalesce(origin, row), timeout, cores, memory, ?, tag, template, args
FROM task WHERE row = ? AND attempt <= ?""",
    ("INTEGER", "REAL", "INTEGER", "BLOB", "INTEGER", "INTEGER"),
)
"""Number, now, `late` and id of the attempt; row of the one before, and most retries."""

LINK_RETRY = Bulk("UPDATE task SET next = ? WHERE row = ?", ("INTEGER", "INTEGER"))

# `{by INDEX}`: SQLite is told; with the statistics that `optimize` gathers it might sort, or look at, a million rows instead.
READY = """SELECT row, uid, dispatch, attempt, args, timeout, cores, memory, tag, template, place, "group"
FROM task {by task_ready} WHERE state = 0 {scope} AND "group" = (
    SELECT "group" FROM task {by task_ready} WHERE state = 0 {scope} ORDER BY "group" LIMIT 1
) ORDER BY late, priority DESC, row LIMIT :count"""

ASSIGN = Bulk(
    """UPDATE task SET state = 1, dispatch = ?, bundle = ?, schedule_time = ?
WHERE row = ? AND state = 0 AND dispatch < ?""",
    ("INTEGER", "INTEGER", "REAL", "INTEGER", "INTEGER"),
)

STARTED = Bulk(
    "UPDATE task SET state = 2, worker = ?, start_time = ? WHERE row = ? AND dispatch = ? AND state = 1",
    ("INTEGER", "REAL", "INTEGER", "INTEGER"),
)

_ENDING = """exit_status = ?, reason = ?, start_time = ?, completion_time = ?, duration = ?, cpu_user = ?, cpu_system = ?,
memory_max = ?, command = ?, outpath = ?, errpath = ?"""

_ENDING_KINDS = ("INTEGER", "TEXT", "REAL", "REAL", "REAL", "REAL", "REAL", "INTEGER", "BLOB", "BLOB", "BLOB")

FINISH = Bulk(
    f"UPDATE task SET state = 3, worker = ?, {_ENDING} WHERE row = ? AND dispatch = ? AND state IN (1, 2)",
    ("INTEGER", *_ENDING_KINDS, "INTEGER", "INTEGER"),
)
"""With the whole fence: whoever gets `rowcount` 1 was the first, and the present dispatch."""

END = f"UPDATE task SET state = ?, crashes = ?, worker = ?, {_ENDING} WHERE row = ?"

TO_NEW = """UPDATE task SET state = 0, crashes = ?, bundle = NULL, worker = NULL, schedule_time = NULL, start_time = NULL
WHERE row = ?"""

RELEASE = Bulk(
    """UPDATE task SET state = 0, bundle = NULL, worker = NULL, schedule_time = NULL, start_time = NULL
WHERE row = ? AND dispatch = ? AND state IN (1, 2)""",
    ("INTEGER", "INTEGER"),
)

RELEASE_ALL = f"""UPDATE task {{by task_out}}
SET state = 0, bundle = NULL, worker = NULL, schedule_time = NULL, start_time = NULL
WHERE {OUT} {{scope}}"""

LOOK = "SELECT state, dispatch, fence, attempt, crashes FROM task WHERE row = ?"

MEANT = f"""SELECT task.row, task.state, task.dispatch, {FAILED}, task.previous, task.next, task.run, task.tag
FROM {FROM}"""

CANCEL = Bulk(
    "UPDATE task SET state = 4, completion_time = coalesce(completion_time, ?) WHERE row = ?", ("REAL", "INTEGER")
)
"""What had failed keeps all that was recorded. A row that is out keeps its bundle until whoever has it lets go of it: SETTLE."""

SETTLE = Bulk("UPDATE task SET bundle = NULL WHERE row = ? AND dispatch = ? AND state = 4", ("INTEGER", "INTEGER"))

SETTLE_ALL = f"""UPDATE task {{by task_aside}} SET bundle = NULL
WHERE {ASIDE} AND state = {State.CANCELLED:d} AND bundle IS NOT NULL {{scope}}"""

SET_STATE = Bulk("UPDATE task SET state = ? WHERE row = ?", ("INTEGER", "INTEGER"))

REVERT = Bulk(
    """UPDATE task SET state = 0, fence = dispatch, crashes = 0, bundle = NULL, worker = NULL, exit_status = NULL,
schedule_time = NULL, start_time = NULL, completion_time = NULL, duration = NULL, cpu_user = NULL, cpu_system = NULL,
memory_max = NULL, reason = NULL, command = NULL, outpath = NULL, errpath = NULL WHERE row = ?""",
    ("INTEGER",),
)
"""As it was submitted; results of what was started before do not count any more."""

LINK_PREVIOUS = Bulk("UPDATE task SET previous = ? WHERE row = ?", ("INTEGER", "INTEGER"))

DELETE = Bulk("DELETE FROM task WHERE row = ?", ("INTEGER",))

_KINDS = {
    "args": "BLOB",
    "group": "INTEGER",
    "priority": "INTEGER",
    "cores": "INTEGER",
    "memory": "INTEGER",
    "timeout": "REAL",
    "tag": "TEXT",
}
"""Of columns that the user sets."""

COUNTS = f"""SELECT {State.NEW:d}, false, false, count(*) FROM task {{by task_ready}} WHERE state = 0 {{scope}}
UNION ALL SELECT state, false, false, count(*) FROM task {{by task_out}} WHERE {OUT} {{scope}} GROUP BY 1
UNION ALL SELECT state, false, next IS NOT NULL, count(*) FROM task {{by task_aside}} WHERE {ASIDE} {{scope}} GROUP BY 1, 3
UNION ALL SELECT state, true, next IS NOT NULL, count(*) FROM task {{by task_failed}} WHERE {FAILED} {{scope}} GROUP BY 1, 3
UNION ALL SELECT {State.DONE:d}, false, false, count(*) FROM task WHERE true {{scope}}"""
"""All rows, as if each had succeeded, which an engine only counts; and those that have not, which are in indexes."""

_HELD = """SELECT task.bundle, task.row, task.dispatch, worker.uid, task."group", task.state FROM task {by INDEX}
LEFT JOIN worker ON worker.worker = task.worker WHERE task.bundle IS NOT NULL"""

HELD = f"""{_HELD.replace("INDEX", "task_out")} AND {OUT} {{scope}}
UNION ALL {_HELD.replace("INDEX", "task_aside")} AND {ASIDE} AND state = {State.CANCELLED:d} {{scope}} ORDER BY 2"""

FAILURES = f"""SELECT args, timeout, cores, memory, tag, template, "group", priority FROM task
WHERE {FAILED} AND next IS NULL {{scope}} ORDER BY coalesce(origin, row)"""

INPUT_ORDER = "SELECT row, state, next FROM task WHERE row > :after AND attempt = 1 {scope} ORDER BY row LIMIT :count"

ENDED_AGAIN = f"""SELECT row, previous FROM task WHERE row IN ({{marks}}) AND next IS NULL AND state >= {State.DONE:d}
AND (previous IS NOT NULL OR row <= ?) ORDER BY row"""

FAILED_GROUP = f"""SELECT min("group") FROM task WHERE {FAILED} AND next IS NULL {{scope}}"""

LEFT_OF_GROUP = f"""SELECT (SELECT count(*) FROM task {{by task_ready}} WHERE state = 0 AND "group" = :group {{scope}})
+ (SELECT count(*) FROM task {{by task_out}} WHERE {OUT} AND "group" = :group {{scope}})"""

OTHERS = f"""SELECT (SELECT count(*) FROM task {{by task_ready}} WHERE state = 0 AND (run IS NULL OR run <> :run))
+ (SELECT count(*) FROM task {{by task_out}} WHERE {OUT} AND (run IS NULL OR run <> :run))
+ (SELECT count(*) FROM task {{by task_aside}} WHERE {ASIDE} AND state = {State.ON_HOLD:d} AND (run IS NULL OR run <> :run))"""

ON_HOLD_GROUP = f"""SELECT min("group") FROM task {{by task_aside}}
WHERE {ASIDE} AND state = {State.ON_HOLD:d} {{scope}}"""

FAILURES_BEFORE = f"""SELECT count(*) FROM task
WHERE {FAILED} AND next IS NULL AND completion_time < :instant {{scope}}"""

FAILED_ROWS = f"SELECT row FROM task WHERE {FAILED} AND next IS NULL AND dispatch > 0 {{scope}} ORDER BY row"

SUBMITTED = """SELECT args, timeout, cores, memory, tag, template, "group", priority FROM task WHERE previous IS NULL
ORDER BY row"""

PUBLIC = f"SELECT task.row, {', '.join(field.sql for field in FIELDS)} FROM {FROM}"

ENDED = f"{PUBLIC} WHERE task.state >= {State.DONE:d} {{scope}} ORDER BY task.completion_time, task.row"

_INPUT = ("path", "device", "inode", "size", "modified_ns", '"offset"', "line", "tags", "ended")

SAVE_INPUT = f"""INSERT INTO input (run, {", ".join(_INPUT)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _INPUT)}"""


def setting(columns: Sequence[str]) -> Bulk:
    """Return what sets these columns of a row; they are among `changes.SETTABLE`, or the tags."""
    values = ", ".join(f'"{name}" = ?' for name in columns)
    return Bulk(f"UPDATE task SET {values} WHERE row = ?", (*(_KINDS[name] for name in columns), "INTEGER"))


def detail_values(detail: Detail | None) -> tuple[Any, ...]:
    """Return timeout, cores, memory, tag, template as columns hold them."""
    if detail is None:
        return (None, None, None, None, None)
    tag = json.dumps(dict(detail.tags), ensure_ascii=False) if detail.tags else None
    return (detail.timeout or None, detail.cores or None, detail.memory or None, tag, detail.template or None)


def detail_of(
    timeout: float | None, cores: int | None, memory: int | None, tag: str | None, template: bytes | None
) -> Detail | None:
    """Return the detail in those columns, None where a task has none."""
    if timeout is None and cores is None and memory is None and tag is None and template is None:
        return None
    return Detail(timeout or 0.0, cores or 0, memory or 0, tags_of(tag or "[]"), template or b"")


def tags_of(text: str) -> tuple[tuple[str, Tag], ...]:
    """Return tags out of a JSON object, or out of a list of pairs."""
    found: dict[str, Tag] | Sequence[Sequence[Any]] = json.loads(text)
    return tuple(found.items()) if isinstance(found, dict) else tuple((key, value) for key, value in found)
