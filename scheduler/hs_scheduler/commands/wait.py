"""`hs task wait`: until tasks have ended."""

from math import inf
from typing import Any

import click

from hs_common.command_line import SETTINGS, Seconds, one_of
from hs_common.ending import say
from hs_scheduler.commands.printing import print_texts

TIMED_OUT = 124
"""As timeout(1) ends."""

EXAMPLES = """\b
Examples:
  hs task wait $(hs submit -- make)
  hs task wait 01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b --return --timeout 60
"""


@click.command(context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("task_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", type=Seconds(0), metavar="SEC", help="Wait so long at most, seconds; then status 124.")
@one_of("shows", "info", "--info", help="Print what is known of each in the end.")
@one_of("shows", "status", "--status", help="Print the exit status of each, a line each.")
@click.option(
    "--return", "returns", is_flag=True, help="End with the status of the first one that failed, as a shell has it."
)
@click.option("--database", metavar="PATH|URL", help="Look only into this one.  [as hs task info]")
def wait(task_ids: tuple[str, ...], **asked: Any) -> int:  # noqa: ANN401 - click gives what is declared above
    """Wait until these tasks have ended, their retries included. The scheduler says when; without one that is refused.

    Status: 0 they ended, whichever way; with --return the task's (128 + n for signal n, 125 if it has none); 124 --timeout.
    """
    # Only now: --help needs none of this.
    from hs_common.client import DeadlineError  # noqa: PLC0415
    from hs_common.clock import monotonic  # noqa: PLC0415
    from hs_scheduler.commands.finding import uid_of  # noqa: PLC0415
    from hs_scheduler.commands.waiting import ended, returned  # noqa: PLC0415
    from hs_scheduler.search import formats  # noqa: PLC0415
    from hs_scheduler.tasks.fields import FIELDS  # noqa: PLC0415

    timeout, shows = asked["timeout"], asked["shows"]
    until = inf if timeout is None else monotonic() + timeout
    try:
        found = ended([uid_of(text) for text in task_ids], asked["database"], until)
    except DeadlineError:
        say(f"not all of them ended within {timeout:g} s")
        return TIMED_OUT
    if shows == "info":
        print_texts(formats.as_normal(FIELDS, [task.values for task in found]))
    statuses = [task.shown() for task in found]
    if shows == "status":
        print_texts(f"{'' if task['exit_status'] is None else task['exit_status']}\n" for task in statuses)
    return next((status for status in map(returned, statuses) if status), 0) if asked["returns"] else 0
