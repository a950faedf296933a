"""Processes as tasks get them, by the real kernel: environment, signals, session, descriptors; and how their end is noticed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from errno import ENOENT

import pytest

from hs_worker.execution.spawner import Spawner


@pytest.fixture
def ignoring() -> Iterator[None]:
    """As under nohup, in the background of a script."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    # We may be in the background of a script ourselves.
    before[signal.SIGQUIT] = signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def says(spawner: Spawner, script: bytes, *own: bytes) -> list[bytes]:
    """Return the lines that a shell prints for this script; its status is 0."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as file:
        pid = spawner.spawn(b"/bin/sh", [b"sh", b"-c", script], list(own), [(os.POSIX_SPAWN_DUP2, write_end, 1)])
        os.close(write_end)
        said = file.read().splitlines()
    assert os.waitpid(pid, 0) == (pid, 0)
    return said


def test_a_task_has_the_environment_of_all_and_its_own() -> None:
    """Nothing of one task is left for the next."""
    spawner = Spawner({b"A": b"1"})
    many = [b"OWN%d=x" % number for number in range(20)]

    assert says(spawner, b"echo $A $B $C", b"B=2", b"C=3") == [b"1 2 3"]
    assert says(spawner, b"echo $A $B $C", b"B=4") == [b"1 4"]
    assert says(spawner, b"echo $A $OWN0 $OWN19", *many) == [b"1 x x"]
    assert says(spawner, b"echo $A $OWN0") == [b"1"]

    spawner.inherit({b"A": b"5"})
    assert says(spawner, b"echo $A $B", b"B=6") == [b"5 6"]


@pytest.mark.usefixtures("ignoring")
def test_only_what_the_user_ignored_is_ignored_and_nothing_is_blocked() -> None:
    """`nohup hs-cluster` holds for its tasks; what Python ignores does not, nor what a script ignores in its background."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})

    said = says(Spawner({}), b"exec grep -E 'SigBlk|SigIgn' /proc/self/status")

    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    masks = {line.split(b":")[0]: int(line.split()[1], 16) for line in said}
    # The C library ignores the two signals that it keeps for itself, 32 and 33.
    standard = (1 << 31) - 1
    assert masks[b"SigBlk"] == 0
    assert masks[b"SigIgn"] & standard == 1 << (signal.SIGHUP - 1)


def test_a_task_has_a_session_of_its_own() -> None:
    """So that all of it can be found and signalled."""
    pid, session = says(Spawner({}), b"exec cut -d' ' -f1,6 /proc/self/stat")[0].split()

    assert pid == session


def test_a_program_is_searched_in_our_path_where_that_is_asked() -> None:
    """Without a search a name is a path."""
    spawner = Spawner({})

    pid = spawner.spawn(b"true", [b"true"], [], None, search=True)

    assert os.waitpid(pid, 0) == (pid, 0)
    with pytest.raises(OSError, match="No such file") as caught:
        spawner.spawn(b"true", [b"true"], [], None)
    assert caught.value.errno == ENOENT


WATCH = """
import os, select
from hs_worker.execution.children import Children
from hs_worker.execution.spawner import Spawner

children = Children()
poll = select.poll()
poll.register(children.fd, select.POLLIN)
for _ in range(2):
    pid = Spawner({}).spawn(b"/bin/sh", [b"sh", b"-c", b":"], [], None)
    assert poll.poll(60_000), "nothing was said"
    children.clear()
    assert os.waitpid(pid, 0) == (pid, 0)
    assert not poll.poll(0), "it was said twice"
"""


def test_the_end_of_a_child_makes_a_descriptor_readable_until_it_is_noted() -> None:
    """Each once. In a process of its own: another thread of this one would take the signal."""
    done = subprocess.run([sys.executable, "-c", WATCH], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
