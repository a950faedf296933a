"""`hs task info`: everything that is known of one task, and what it printed."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from hs_common.errors import RefusedError
from hs_scheduler.commands.finding import find, uid_of
from hs_scheduler.commands.printing import print_bytes, print_texts
from hs_scheduler.search import formats
from hs_scheduler.search.formats import plain
from hs_scheduler.tasks.conditions import field_named
from hs_scheduler.tasks.fields import FIELDS


def show_task(asked: dict[str, Any]) -> None:
    """Print a task, one of its values, or what it wrote.

    Args:
        asked: What was typed, by the names of the parameters.

    Raises:
        RefusedError: It makes no sense.
        StoppedError: The task, or what it wrote, is not found.

    """
    extract, style, stream = asked["extract"], asked["style"], asked["stream"]
    if stream and (extract or style):
        raise RefusedError("--stdout and --stderr print what the task wrote: they exclude -x, --json and --yaml")
    if extract and style == "yaml":
        raise RefusedError("-x and --yaml exclude each other: use -x with --json")
    if extract:
        field_named(extract)
    found = find(uid_of(asked["task_id"]), asked["database"])
    task = found.shown()
    if stream:
        from hs_scheduler.search.captured import output_of  # noqa: PLC0415 - few ask for it

        print_bytes(output_of(task[stream], task["worker_host"]))
    elif extract:
        print_bytes([_value_line(task[extract], as_json=style == "json")])
    elif style is None:
        print_texts(formats.as_normal(FIELDS, [found.values]))
    else:
        print_texts(_object_texts(task, style))


def _value_line(value: object, *, as_json: bool) -> bytes:
    """Return the line of one value: bytes as they are, no value as an empty line; or as JSON."""
    if as_json:
        return json.dumps(plain(value)).encode() + b"\n"
    if isinstance(value, bytes):
        return value + b"\n"
    text = "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)
    return text.encode(errors="backslashreplace") + b"\n"


def _object_texts(task: dict[str, Any], style: str) -> Iterable[str]:
    """Return the texts of a task as one JSON object, or as YAML."""
    values = {name: plain(value) for name, value in task.items()}
    return [json.dumps(values) + "\n"] if style == "json" else _yaml(values)


def _yaml(values: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each field: JSON values are YAML too. Source: YAML 1.2.2, section 1.2."""
    for name, value in values.items():
        # Not escaped: a pair of surrogates, as JSON would have it, means something else in YAML.
        yield f"{name}: {json.dumps(value, ensure_ascii=False)}\n"
