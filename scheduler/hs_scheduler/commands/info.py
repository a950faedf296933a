"""`hs task info`: everything that is known of one task, and what it printed."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import click

from hs_common.command_line import SETTINGS, one_of
from hs_common.errors import RefusedError
from hs_scheduler.commands.printing import print_bytes, print_texts

EXAMPLES = """\b
Examples:
  hs task info 01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b
  hs task info 01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b -x exit_status
  hs task info 01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b --stderr | tail
"""


@click.command(context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("task_id", metavar="ID")
@click.option("-x", "--extract", metavar="FIELD", help="Print only the value of this field.")
@one_of("style", "json", "--json", help="As one JSON object; with -x as a JSON value.")
@one_of("style", "yaml", "--yaml", help="As YAML.")
@one_of("stream", "outpath", "--stdout", help="Print what it wrote to stdout, if it was captured.")
@one_of("stream", "errpath", "--stderr", help="Print what it wrote to stderr, if it was captured.")
@click.option(
    "--database",
    metavar="PATH|URL",
    help="Look only into this one.  [the standing queue, the one used last, every run]",
)
def info(task_id: str, extract: str | None, style: str | None, stream: str | None, database: str | None) -> None:
    """Show the task with this id, wherever it is recorded."""
    if stream and (extract or style):
        raise RefusedError("--stdout and --stderr print what the task wrote: they exclude -x, --json and --yaml")
    if extract and style == "yaml":
        raise RefusedError("-x and --yaml exclude each other: use -x with --json")
    # Only now: --help needs none of this.
    from hs_scheduler.commands.finding import find, uid_of  # noqa: PLC0415
    from hs_scheduler.search import formats  # noqa: PLC0415
    from hs_scheduler.tasks.conditions import field_named  # noqa: PLC0415
    from hs_scheduler.tasks.fields import FIELDS  # noqa: PLC0415

    if extract:
        field_named(extract)
    found = find(uid_of(task_id), database)
    task = found.shown()
    if stream:
        from hs_scheduler.search.captured import output_of  # noqa: PLC0415

        print_bytes(output_of(task[stream], task["worker_host"]))
    elif extract:
        print_bytes([value_line(task[extract], as_json=style == "json")])
    elif style is None:
        print_texts(formats.as_normal(FIELDS, [found.values]))
    else:
        print_texts(object_texts(task, style))


def value_line(value: object, *, as_json: bool) -> bytes:
    """Return the line of one value: bytes as they are, no value as an empty line; or as JSON."""
    from hs_scheduler.search.formats import plain  # noqa: PLC0415

    if as_json:
        return json.dumps(plain(value)).encode() + b"\n"
    if isinstance(value, bytes):
        return value + b"\n"
    text = "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)
    return text.encode(errors="backslashreplace") + b"\n"


def object_texts(task: dict[str, Any], style: str) -> Iterable[str]:
    """Return the texts of a task as one JSON object, or as YAML."""
    from hs_scheduler.search.formats import plain  # noqa: PLC0415

    values = {name: plain(value) for name, value in task.items()}
    return [json.dumps(values) + "\n"] if style == "json" else _yaml(values)


def _yaml(values: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each field: JSON values are YAML too. Source: YAML 1.2.2, section 1.2."""
    for name, value in values.items():
        # Not escaped: a pair of surrogates, as JSON would have it, means something else in YAML.
        yield f"{name}: {json.dumps(value, ensure_ascii=False)}\n"
