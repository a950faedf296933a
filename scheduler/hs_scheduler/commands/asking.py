"""What commands say and ask before they change many tasks."""

import sys

import click

from hs_common.ending import say
from hs_common.errors import RefusedError


def agreed(question: str, *, yes: bool) -> bool:
    """Ask on the terminal, and return whether the answer is yes; `yes`: it was given beforehand.

    Raises:
        RefusedError: There is nobody to ask.

    """
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RefusedError(f"{question} There is no terminal to answer on: -y says yes")
    if click.confirm(question, err=True):
        return True
    say("nothing was changed")
    return False


def tasks_text(count: int) -> str:
    """Return a number of tasks in words."""
    return f"{count} task{'' if count == 1 else 's'}"
