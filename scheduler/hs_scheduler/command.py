"""`hs-scheduler` for people: options by click, each mistake explained."""

from typing import Any

import click

from hs_common import limits
from hs_common.command_line import SETTINGS, Program, Seconds, version_option

EXAMPLES = """\b
Examples:
  hs-scheduler --connection main --forever                      the standing queue, until told to stop
  hs-scheduler --connection main tasks.txt -r2 -f failed.txt    a file, and then the end
"""


@click.command(cls=Program, context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("file", required=False)
@click.option(
    "--connection",
    metavar="FILE|NAME|-",
    required=True,
    help="Connection file of the role scheduler, or the name of a cluster of this site; -: from stdin.",
)
@click.option(
    "--database",
    metavar="PATH|URL",
    help="SQLite file with the tasks, or a postgresql:// URL.  [database.url, database.file, else the standing queue]",
)
@click.option("--no-db", is_flag=True, help="Keep tasks in memory only.")
@click.option("-b", "--bundlesize", type=click.IntRange(1, limits.BUNDLE_TASKS_MAX), metavar="SIZE",
              help="At most so many tasks are leased to one worker as a unit.  [scheduler.bundlesize, else 1]")  # fmt: skip
@click.option("-w", "--bundlewait", type=Seconds(0, 86_400), metavar="SEC",
              help="Longest wait for a part-filled bundle.  [scheduler.bundlewait, else 5]")  # fmt: skip
@click.option("-r", "--max-retries", type=click.IntRange(0, 1_000), metavar="NUM",
              help="More attempts for a task that failed.  [scheduler.max_retries, else 0]")  # fmt: skip
@click.option("--eager", is_flag=True, help="Retries go first.  [scheduler.eager]")
@click.option(
    "-f", "--failures", metavar="PATH", help="Write the args of finally failed tasks there (default: stdout)."
)
@click.option("--joblog", metavar="PATH", help="A TSV row for each finished attempt.")
@click.option("--halt", metavar="WHEN", help="Stop after so many failures: N, N%, or now,N to stop running tasks too.")
@click.option("--once", is_flag=True, help="Add only the lines that the database does not hold yet.")
@click.option("--forever", is_flag=True, help="Keep waiting for new tasks until told to stop.")
@click.option("--restart", is_flag=True, help="No input: continue the database.")
@click.option("--initdb", is_flag=True, help="Create missing tables first (SQLite: always done).")
@click.option("--report-fd", type=int, hidden=True)
@click.option("--input-fd", type=int, hidden=True)
@click.option("--spool", hidden=True)
@click.option("--order-file", hidden=True)
@version_option
def scheduler(**given: Any) -> None:  # noqa: ANN401 - click gives what Options declares
    """Read task lines from FILE (or stdin), hand them to workers through a broker, record the results."""
    # Only now: --help and a mistyped option need none of this.
    from hs_scheduler.program import run  # noqa: PLC0415

    run(given)
