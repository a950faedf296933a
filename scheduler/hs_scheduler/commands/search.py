"""`hs task search`: which tasks, which of their fields, in which order and form."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hs_scheduler.commands.filtering import filter_of, filter_options
from hs_scheduler.commands.printing import print_texts

if TYPE_CHECKING:
    from hs_scheduler.dialect import Dialect
    from hs_scheduler.filters import Where

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
@filter_options
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
    from hs_scheduler import engines, formats  # noqa: PLC0415
    from hs_scheduler.commands.location import to_read  # noqa: PLC0415
    from hs_scheduler.conditions import field_named  # noqa: PLC0415
    from hs_scheduler.fields import BY_NAME  # noqa: PLC0415

    style = asked["style"] or "normal"
    names = asked["fields"] or (formats.TABLE_FIELDS if style in ("table", "plain") else tuple(BY_NAME))
    fields = [field_named(name) for name in names]
    location = to_read(asked["database"])
    query = _query(asked, [field.sql for field in fields], engines.dialect_of(location))
    with engines.open_reader(location) as reader, reader.defined(query.where.functions):
        if asked["count"]:
            print_texts(f"{count}\n" for (count,) in reader.execute(query.counting, query.where.values))
        else:
            rows = _rows(reader.execute(query.selecting, query.where.values))
            print_texts(formats.FORMATS[style](fields, rows))


class Query(NamedTuple):
    """What was asked for, as SQL."""

    where: "Where"
    selecting: str
    counting: str


def _query(asked: dict[str, Any], columns: Sequence[str], dialect: "Dialect") -> Query:
    from hs_scheduler.conditions import field_named  # noqa: PLC0415
    from hs_scheduler.fields import FROM  # noqa: PLC0415

    where = filter_of(asked).where(dialect)
    down = " DESC" if asked["desc"] else ""
    # Said, because the engines do not agree on it: what has no value comes before all values.
    nulls = "NULLS LAST" if asked["desc"] else "NULLS FIRST"
    by = f"{field_named(asked['order_by']).sql}{down} {nulls}, " if asked["order_by"] else ""
    limit = f"LIMIT {asked['limit']}" if asked["limit"] else ""
    found = f"FROM {FROM} WHERE {where.sql}"
    return Query(
        where,
        f"SELECT {', '.join(columns)} {found} ORDER BY {by}task.row{down} {limit}",
        f"SELECT count(*) FROM (SELECT 1 {found} {limit}) AS found",  # noqa: S608
    )


def _rows(cursor: Any) -> Iterator[Sequence[Any]]:  # noqa: ANN401 - a cursor
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield from rows
