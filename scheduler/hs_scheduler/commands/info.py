"""`hs task info` for people: options by click, each mistake explained."""

from typing import Any

import click

from hs_common.command_line import SETTINGS, one_of

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
def info(**asked: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """Show the task with this id, wherever it is recorded."""
    from hs_scheduler.commands.showing import show_task  # noqa: PLC0415 - --help needs none of it

    show_task(asked)
