"""`hs task search`: which tasks, which of their fields, in which order and form."""

from itertools import islice
from typing import Any

import click

from hs_common.command_line import SETTINGS
from hs_common.errors import RefusedError
from hs_scheduler.commands.filtering import filter_of, filter_options
from hs_scheduler.commands.printing import print_texts

FORMATS = ("normal", "plain", "table", "csv", "json")

EXAMPLES = """\b
Examples:
  hs task search -F                             what failed in the run before
  hs task search id args -w 'exit_status == 2' -f table
  hs task search -w 'duration > 60' -s duration --desc -l 10
  hs task search --triage                       why it failed: each kind once, with how many
  hs task search -t kind:train --json | jq '.[].worker_host'
"""


@click.command(context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("fields", nargs=-1, metavar="[FIELD]...")
@filter_options
@click.option("-s", "--order-by", metavar="FIELD", help="Sort by this field.  [order of submission]")
@click.option("--desc", is_flag=True, help="From the last to the first.")
@click.option("-l", "--limit", type=click.IntRange(min=1), metavar="NUM", help="At most so many.")
@click.option("-c", "--count", is_flag=True, help="Print how many there are, nothing else.")
@click.option("-f", "--format", "style", type=click.Choice(FORMATS), help="[normal]")
@click.option("--json", "style", flag_value="json", help="Same as -f json: one array of objects.")
@click.option("--csv", "style", flag_value="csv", help="Same as -f csv.")
@click.option(
    "--triage", is_flag=True, help="What failed, by exit status, host and last line of captured stderr, with a sample."
)
@click.option("--database", metavar="PATH|URL", help="Look into this one.  [the one used last]")
def search(**asked: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """List, count and filter tasks. FIELDs are those that --json shows."""
    if asked["triage"]:
        _triage(asked)
        return
    # Only now: --help needs none of this.
    from hs_scheduler.commands.location import to_read  # noqa: PLC0415
    from hs_scheduler.commands.looking import asking, number_of  # noqa: PLC0415
    from hs_scheduler.search import formats  # noqa: PLC0415
    from hs_scheduler.search.questions import Question  # noqa: PLC0415
    from hs_scheduler.tasks.conditions import field_named  # noqa: PLC0415
    from hs_scheduler.tasks.fields import BY_NAME  # noqa: PLC0415

    style = asked["style"] or "normal"
    names = asked["fields"] or (formats.TABLE_FIELDS if style in ("table", "plain") else tuple(BY_NAME))
    question = Question(
        filter=filter_of(asked),
        fields=tuple(field_named(name) for name in names),
        order_by=None if asked["order_by"] is None else field_named(asked["order_by"]),
        descending=asked["desc"],
        limit=asked["limit"],
    )
    location = to_read(asked["database"])
    if asked["count"]:
        print_texts([f"{number_of(location, question)}\n"])
        return
    with asking(location, question) as rows:
        print_texts(formats.FORMATS[style](question.fields, rows))


def _triage(asked: dict[str, Any]) -> None:
    """Print the kinds of failures."""
    for name, option in (("fields", "FIELD"), ("order_by", "-s"), ("desc", "--desc"), ("count", "-c")):
        if asked[name]:
            raise RefusedError(f"--triage shows kinds of failures, the most frequent first: it excludes {option}")
    if asked["ended"] not in (None, "failed"):
        raise RefusedError("--triage is about what failed: it excludes -S, -C and -R")
    from hs_scheduler.commands.location import to_read  # noqa: PLC0415
    from hs_scheduler.commands.looking import asking  # noqa: PLC0415
    from hs_scheduler.search import formats, triage  # noqa: PLC0415
    from hs_scheduler.search.captured import end_of  # noqa: PLC0415
    from hs_scheduler.search.questions import Question  # noqa: PLC0415
    from hs_scheduler.tasks.fields import BY_NAME  # noqa: PLC0415

    fields = tuple(BY_NAME[name] for name in ("id", "args", "exit_status", "reason", "worker_host", "errpath"))
    failed = filter_of(asked | {"ended": "failed"})
    found = triage.Triage()
    with asking(to_read(asked["database"]), Question(filter=failed, fields=fields)) as rows:
        for *known, errpath in rows:
            end = end_of(errpath)
            found.add(triage.Failure._make((*known, None if end is None else triage.last_line(end))))
    kinds = islice(found.rows(), asked["limit"])
    print_texts(formats.FORMATS[asked["style"] or "table"](triage.FIELDS, kinds))
