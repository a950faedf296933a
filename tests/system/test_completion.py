"""Real shells, at a terminal, asked for completions by the tab key."""

import os
import pty
import re
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.home import Home

import hs_deploy
from hs_common.clock import monotonic

pytestmark = pytest.mark.system

SCRIPTS = Path(hs_deploy.__file__).parent / "completion"
WAIT_S = 60.0
SHELLS = {
    "bash": "bash --norc --noprofile -i",
    "zsh": "zsh -f -i",
    "fish": "fish --no-config -i",
}
READY = {
    "bash": f"source {SCRIPTS}/bash/hs-cluster",
    "zsh": f"fpath=({SCRIPTS}/zsh $fpath); autoload -Uz compinit; compinit -u -D; bindkey -e",
    "fish": f"set fish_complete_path {SCRIPTS}/fish; bind \\ca beginning-of-line; bind \\ce end-of-line",
}
START, END = "\x01", "\x05"  # Ctrl-A, Ctrl-E: to either end of the line


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, home: Home, shell: str) -> None:
        self._fd, self._theirs = pty.openpty()
        name = os.ttyname(self._theirs)
        environment = {"TERM": "dumb", "COLUMNS": "200", "HISTFILE": "/dev/null"}
        # Who leads a session and opens a terminal by its name has it for its own: fish wants that.
        home.start("sh", "-c", f"exec {SHELLS[shell]} <{name} >{name} 2>&1", env=environment)
        self._asked = 0

    def close(self) -> None:
        """Hang up."""
        os.close(self._fd)
        os.close(self._theirs)

    def run(self, line: str) -> None:
        """Run a line, and wait until it is done."""
        self._send(f"{line}; echo {self._mark()}\r")
        self._read()

    def complete(self, line: str) -> str:
        """Return what a line is after the tab key, without running it."""
        self._send(f"{line}\t{START}echo b''egin '{END}' {self._mark()}\r")
        return self._read().strip()

    def _mark(self) -> str:
        self._asked += 1
        return f"e''nd{self._asked}"

    def _send(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def _read(self) -> str:
        """Return what was printed up to the mark; the quotes keep the echo of the line from being taken for it."""
        printed, deadline = "", monotonic() + WAIT_S
        while not (found := re.search(rf"(?:begin(?P<line>[^\r\n]*))?end{self._asked}\b", printed)):
            left = deadline - monotonic()
            assert select.select([self._fd], [], [], max(0.0, left))[0], f"nothing more came after {printed!r}"
            printed += os.read(self._fd, 65536).decode(errors="replace")
        return found["line"] or ""


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, home: Home) -> Iterator[Terminal]:
    """Each shell, as a person finds it after an installation."""
    home.write("tasks list.txt", b"true\n")
    one = Terminal(home, request.param)
    one.run(READY[request.param])
    yield one
    one.close()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("hs conf", "hs config"),
        ("hs-cluster --max-r", "hs-cluster --max-retries"),
        ("hs cluster -N 8 --max-r", "hs cluster -N 8 --max-retries"),
        ("hs task search exit_s", "hs task search exit_status"),
        ("hs config set logging.format js", "hs config set logging.format json"),
        ("hs task search --format=ta", "hs task search --format=table"),
        ("hs-cluster -N 2 tas", r"hs-cluster -N 2 tasks\ list.txt"),
        ("hs-cluster --failures=tas", r"hs-cluster --failures=tasks\ list.txt"),
    ],
)
def test_the_tab_key_completes(terminal: Terminal, line: str, completed: str) -> None:
    """Commands, options, fields, values of settings, files with blanks in their names."""
    assert terminal.complete(line) == completed
