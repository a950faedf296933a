"""What the command lines of all programs have in common."""

import click
import pytest

from hs_common.command_line import Seconds
from hs_scheduler.command import scheduler
from hs_scheduler.commands.submit import submit
from hs_scheduler.commands.wait import wait
from hs_worker.command import worker


@pytest.mark.parametrize("command", [scheduler, submit, wait, worker], ids=lambda command: command.name)
def test_what_is_no_number_of_seconds_is_refused(command: click.Command) -> None:
    """Compared with a bound nan is never beyond it; what waits for so long ends with a traceback, or never."""
    bounded = [option for option in command.params if isinstance(option.type, click.FloatRange)]

    assert bounded
    for option in bounded:
        with pytest.raises(click.BadParameter, match="'nan' is not a valid float"):
            option.type.convert("nan", option, None)


def test_seconds_are_between_their_bounds() -> None:
    """As click has it."""
    assert Seconds(0, 9).convert("4.5", None, None) == 4.5
    with pytest.raises(click.BadParameter, match="not in the range 0<=x<=9"):
        Seconds(0, 9).convert("inf", None, None)
