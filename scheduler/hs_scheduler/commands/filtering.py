"""The options of task commands that say which tasks are meant: `filters.filter_of` makes one of them."""

from collections.abc import Callable
from typing import Any

import click

from hs_common.command_line import one_of

_OPTIONS = (
    click.option(
        "-w",
        "--where",
        multiple=True,
        metavar="COND",
        help="FIELD == VALUE, also != > >= < <= and ~ (a regular expression).",
    ),
    click.option("-t", "--with-tag", multiple=True, metavar="TAG", help="KEY:VALUE, or KEY with any value."),
    click.option("-g", "--group", type=int, metavar="GROUP", help="Only this group."),
    one_of("ended", "failed", "-F", "--failed", help="Only failed ones."),
    one_of("ended", "succeeded", "-S", "--succeeded", help="Only those that succeeded."),
    one_of("ended", "completed", "-C", "--completed", help="Only those that have ended."),
    one_of("ended", "remaining", "-R", "--remaining", help="Only those that have not ended."),
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
