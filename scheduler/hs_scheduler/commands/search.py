"""`hs task search` for people: options by click, each mistake explained."""

from typing import Any

import click

from hs_common.command_line import SETTINGS
from hs_scheduler.commands.filtering import filter_options
from hs_scheduler.commands.quick_search import STYLES

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
@click.option("-f", "--format", "style", type=click.Choice(STYLES), help="[normal]")
@click.option("--json", "style", flag_value="json", help="Same as -f json: one array of objects.")
@click.option("--csv", "style", flag_value="csv", help="Same as -f csv.")
@click.option(
    "--triage", is_flag=True, help="What failed, by exit status, host and last line of captured stderr, with a sample."
)
@click.option("--database", metavar="PATH|URL", help="Look into this one.  [the one used last]")
def search(**asked: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """List, count and filter tasks. FIELDs are those that --json shows."""
    from hs_scheduler.commands.searching import search_tasks  # noqa: PLC0415 - --help needs none of it

    search_tasks(asked)
