"""`hs submit` for people: options by click, each mistake explained."""

from typing import Any

import click

from hs_common.command_line import SETTINGS, Seconds
from hs_scheduler.commands.additions import LINES_AT_ONCE
from hs_scheduler.commands.submission import submit_tasks

EXAMPLES = """\b
Examples:
  hs submit -- convert a.png a.jpg        prints the id of the task
  hs submit -f tasks.txt -t kind:train    prints how many there were
  seq 100 | hs submit -f - --template 'echo {}'
"""


@click.command(context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("args", nargs=-1, metavar="[-- ARGS...]")
@click.option("-f", "--file", metavar="FILE", help="Lines of this file; - is stdin.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="TAG", help="KEY:VALUE for each task.")
@click.option(
    "--template",
    metavar="CMD",
    help="What to run for the args. Expanded now; the worker's own template is not applied.",
)
@click.option("-g", "--group", metavar="GROUP", help="A group is run after those with a lower number.  [0]")
@click.option("--priority", metavar="INT", help="Higher goes first inside its group.  [0]")
@click.option("--cores", metavar="NUM", help="Cores that each task needs.")
@click.option("--memory", metavar="SIZE", help="Memory that each task needs, as 512M or 4G.")
@click.option("-W", "--task-timeout", "timeout", metavar="SEC", help="Time limit of each task, seconds.")
@click.option(
    "-b",
    "--bundlesize",
    type=click.IntRange(1, LINES_AT_ONCE),
    metavar="SIZE",
    default=LINES_AT_ONCE,
    show_default=True,
    help="Lines of a stream that are handed on together, at most.",
)
@click.option(
    "-w",
    "--bundlewait",
    type=Seconds(0, 86_400),
    metavar="SEC",
    default=0.0,
    show_default=True,
    help="How long fewer lines may be held back, for more to come, seconds.",
)
@click.option("--once", is_flag=True, help="Only those lines of FILE that the database does not hold yet.")
@click.option("--initdb", is_flag=True, help="Create missing tables first (SQLite: always done).")
@click.option(
    "--database", metavar="PATH|URL", help="Into this SQLite file or postgresql:// URL.  [the standing queue]"
)
@click.option(
    "--connection", metavar="FILE|NAME", help="To the scheduler of this cluster, by its submit or control connection."
)
def submit(args: tuple[str, ...], **asked: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """Add tasks: the lines of a file or of stdin, or one command (one ARG as it stands, several quoted and joined).

    What the options say holds for each task; a line's own tags win.
    """
    submit_tasks(args, asked)
