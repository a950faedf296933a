"""`hs task search`: which tasks, which of their fields, in which order and form."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from hs_common.errors import StoppedError

ROWS_AT_ONCE = 1000

FORMATS = ("normal", "plain", "table", "csv", "json")

EXAMPLES = """\b
Examples:
  hs task search -F                             what failed in the run before
  hs task search id args -w 'exit_status == 2' -f table
  hs task search -w 'duration > 60' -s duration --desc -l 10
  hs task search -t kind:train --json | jq '.[].worker_host'
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.argument("fields", nargs=-1, metavar="[FIELD]...")
@click.option(
    "-w",
    "--where",
    multiple=True,
    metavar="COND",
    help="FIELD == VALUE, also != > >= < <= and ~ (a regular expression).",
)
@click.option("-t", "--with-tag", multiple=True, metavar="TAG", help="KEY:VALUE, or KEY with any value.")
@click.option("-g", "--group", type=int, metavar="GROUP", help="Only this group.")
@click.option("-F", "--failed", "ended", flag_value="failed", help="Only failed ones.")
@click.option("-S", "--succeeded", "ended", flag_value="succeeded", help="Only those that succeeded.")
@click.option("-C", "--completed", "ended", flag_value="completed", help="Only those that have ended.")
@click.option("-R", "--remaining", "ended", flag_value="remaining", help="Only those that have not ended.")
@click.option("-s", "--order-by", metavar="FIELD", help="Sort by this field.  [order of submission]")
@click.option("--desc", is_flag=True, help="From the last to the first.")
@click.option("-l", "--limit", type=click.IntRange(min=1), metavar="NUM", help="At most so many.")
@click.option("-c", "--count", is_flag=True, help="Print how many there are, nothing else.")
@click.option("-f", "--format", "style", type=click.Choice(FORMATS), help="[normal]")
@click.option("--json", "style", flag_value="json", help="Same as -f json: one array of objects.")
@click.option("--csv", "style", flag_value="csv", help="Same as -f csv.")
@click.option("--database", metavar="PATH", help="Look into this one.  [the one used last]")
def search(**asked: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """List, count and filter tasks. FIELDs are those that --json shows."""
    # Only now: --help needs none of this.
    from hs_scheduler import formats, reader  # noqa: PLC0415
    from hs_scheduler.commands.location import to_read  # noqa: PLC0415
    from hs_scheduler.conditions import field_named  # noqa: PLC0415
    from hs_scheduler.fields import BY_NAME  # noqa: PLC0415

    style = asked["style"] or "normal"
    names = asked["fields"] or (formats.TABLE_FIELDS if style in ("table", "plain") else tuple(BY_NAME))
    fields = [field_named(name) for name in names]
    query = Query(asked)
    with reader.reading(to_read(asked["database"])) as connection:
        query.prepare(connection)
        if asked["count"]:
            _print(f"{count}\n" for (count,) in connection.execute(query.counting(), query.values))
        else:
            rows = _rows(connection.execute(query.selecting([field.sql for field in fields]), query.values))
            _print(formats.FORMATS[style](fields, rows))


class Query:
    """What was asked for, as SQL.

    Raises:
        RefusedError: A condition, tag or field makes no sense.

    """

    def __init__(self, asked: dict[str, Any]) -> None:
        from hs_scheduler import conditions  # noqa: PLC0415

        self._conditions = [conditions.parse_condition(text) for text in asked["where"]]
        self._conditions += [conditions.tagged(text) for text in asked["with_tag"]]
        if asked["group"] is not None:
            self._conditions.append(conditions.in_group(asked["group"]))
        if asked["ended"]:
            self._conditions.append(getattr(conditions, f"{asked['ended'].upper()}_ONLY"))
        down = " DESC" if asked["desc"] else ""
        by = f"{conditions.field_named(asked['order_by']).sql}{down}, " if asked["order_by"] else ""
        self._order = f"ORDER BY {by}task.row{down}"
        self._limit = f"LIMIT {asked['limit']}" if asked["limit"] else ""
        self.values = [value for condition in self._conditions for value in condition.values]

    def prepare(self, connection: Any) -> None:  # noqa: ANN401 - a connection; its module is slow to load
        """Give the connection the functions that the conditions call."""
        for number, condition in enumerate(self._conditions):
            if condition.function is not None:
                connection.create_function(f"matches_{number}", 1, condition.function, deterministic=True)

    def selecting(self, columns: Sequence[str]) -> str:
        """Return the statement for these columns."""
        from hs_scheduler.fields import FROM  # noqa: PLC0415

        return f"SELECT {', '.join(columns)} FROM {FROM} {self._where()} {self._order} {self._limit}"  # noqa: S608 - ours

    def counting(self) -> str:
        """Return the statement that counts."""
        return f"SELECT count(*) FROM ({self.selecting(['1'])})"  # noqa: S608 - ours

    def _where(self) -> str:
        parts = [
            f"({condition.sql.replace('{function}', f'matches_{number}')})"
            for number, condition in enumerate(self._conditions)
        ]
        return f"WHERE {' AND '.join(parts)}" if parts else ""


def _rows(cursor: Any) -> Iterator[Sequence[Any]]:  # noqa: ANN401 - a cursor
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield from rows


def _print(texts: Iterator[str]) -> None:
    """Write to stdout; that nobody reads any more (`| head`) is no failure."""
    try:
        for text in texts:
            sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What is buffered must not be tried once more at the end of the program.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as exc:
        raise StoppedError(f"stdout: {exc.strerror}") from exc
