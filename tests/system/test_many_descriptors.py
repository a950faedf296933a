"""Whoever starts us may have more than a thousand descriptors open, and leave them to us: then ours have numbers above 1,023."""

import os
import resource
import subprocess
import sys

import pytest
from tests.faults.home import Home
from tests.faults.processes import until

pytestmark = pytest.mark.system

END_S = 60.0
NEEDED = 1100
"""Those that are left to us, and ours."""

OPENER = """
import os, resource, sys
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
fd = 0
while fd < 1030:
    os.set_inheritable(fd := os.open(os.devnull, os.O_RDONLY), True)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Starts a program with so many descriptors that no lower number is free."""


def given(fifo: str, text: bytes) -> bool:
    """Write into a FIFO if somebody reads it by now; whether it was so."""
    try:
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    with open(fd, "wb") as file:
        file.write(text)
    return True


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < NEEDED, reason="nobody can have so many here")
@pytest.mark.parametrize(
    ("argv", "printed"),
    [
        (["hs-cluster", "-k", "FIFO"], b"a\nb\n"),
        (["hs-cluster", "--dry-run", "FIFO"], b"echo a\necho b\n"),
        (["hs", "submit", "-f", "FIFO"], b"2\n"),
    ],
)
def test_a_stream_whose_number_is_high_is_read_as_any_other(home: Home, argv: list[str], printed: bytes) -> None:
    """Select takes no number above 1,023; poll has no such end."""
    os.mkfifo(home.path("FIFO"))
    started = home.start(sys.executable, "-c", OPENER, *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: given(home.path("FIFO"), b"echo a\necho b\n") or started.poll() is not None, END_S)

    out, err = started.communicate(timeout=END_S)

    assert (started.returncode, out) == (0, printed), err
