"""`hs`: whatever its help lists is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from hs_deploy.cli import LAZY, LAZY_TASK

HS = Path(sys.executable).with_name("hs")


@pytest.mark.parametrize(
    "command", [*((name,) for name in LAZY), *(("task", name) for name in LAZY_TASK)], ids=" ".join
)
def test_every_command_says_how_it_is_used(command: tuple[str, ...]) -> None:
    """The place of a lazy command is only looked at when it is used; so each is, here."""
    said = subprocess.run([HS, *command, "--help"], capture_output=True, text=True, timeout=30, check=False)

    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"Usage: hs {' '.join(command)} ")
