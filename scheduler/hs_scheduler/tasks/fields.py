"""The public fields of a task: one table for everything that shows tasks.

`sql` is an expression over `FROM`, the tables that a task is spread over. What comes out of the database is raw (seconds, blobs,
numbers of states); `shown` makes of it what people and JSON get: ISO 8601 text in UTC, UUID text, names of states.
"""

import json
from time import gmtime, strftime
from typing import Any, NamedTuple

from hs_common.ids import uuid_text
from hs_scheduler.tasks.state import State


class Field(NamedTuple):
    """A public field."""

    name: str
    kind: str
    """integer, real, time, uuid, text, bytes, state or json."""
    sql: str


_JOINS = {table: f"LEFT JOIN {table} ON {table}.{table} = task.{table}" for table in ("run", "place", "worker")}

FROM = "\n".join(["task", *_JOINS.values()])

FIELDS = (
    Field("id", "uuid", "task.uid"),
    Field("run_id", "uuid", "run.uid"),
    Field("args", "bytes", "task.args"),
    # What ran is the args themselves unless a template made something else of them.
    Field("command", "bytes", "CASE WHEN task.start_time IS NOT NULL THEN coalesce(task.command, task.args) END"),
    Field("tag", "json", "coalesce(task.tag, '{}')"),
    Field("group", "integer", 'task."group"'),
    Field("priority", "integer", "task.priority"),
    Field("state", "state", "task.state"),
    Field("reason", "text", "task.reason"),
    Field("attempt", "integer", "task.attempt"),
    Field("dispatch", "integer", "task.dispatch"),
    Field("exit_status", "integer", "task.exit_status"),
    Field("submit_time", "time", "task.submit_time"),
    Field("submit_host", "text", "place.host"),
    Field("schedule_time", "time", "task.schedule_time"),
    Field("start_time", "time", "task.start_time"),
    Field("completion_time", "time", "task.completion_time"),
    Field("duration", "real", "task.duration"),
    Field(
        "waited",
        "real",
        "CASE WHEN task.start_time < task.submit_time THEN 0.0 ELSE task.start_time - task.submit_time END",
    ),
    Field("worker_id", "uuid", "worker.uid"),
    Field("worker_host", "text", "worker.host"),
    Field("cpu_user", "real", "task.cpu_user"),
    Field("cpu_system", "real", "task.cpu_system"),
    Field("memory_max", "integer", "task.memory_max"),
    Field("outpath", "bytes", "task.outpath"),
    Field("errpath", "bytes", "task.errpath"),
    Field("previous_id", "uuid", "(SELECT uid FROM task AS other WHERE other.row = task.previous)"),
    Field("next_id", "uuid", "(SELECT uid FROM task AS other WHERE other.row = task.next)"),
    Field("timeout", "real", "task.timeout"),
    Field("cores", "integer", "task.cores"),
    Field("memory", "integer", "task.memory"),
    Field("cwd", "bytes", "place.cwd"),
)

BY_NAME = {field.name: field for field in FIELDS}


def tables_of(sql: str) -> str:
    """Return as much of `FROM` as these expressions ask for: an engine looks into each table that is named, used or not."""
    return " ".join(["task", *(join for table, join in _JOINS.items() if f"{table}." in sql)])


def shown(field: Field, raw: Any) -> Any:  # noqa: ANN401 - what a column holds
    """Return a raw value as it is shown; bytes stay bytes, None stays None."""
    if raw is None:
        return None
    match field.kind:
        case "time":
            return time_text(raw)
        case "uuid":
            return uuid_text(raw)
        case "state":
            return State(raw).name
        case "json":
            return json.loads(raw)
        case "real":
            return round(float(raw), 6)  # microseconds: what the clocks behind them give
    return raw


def time_text(seconds: float) -> str:
    """Return an instant (seconds since the epoch) as ISO 8601 text in UTC, to the microsecond."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(whole))}.{micro:06d}Z"
