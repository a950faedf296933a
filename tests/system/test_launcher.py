"""What is said of a launcher that fails, and how one is named. What all have in common is in `test_elsewhere`."""

import os

import pytest
from tests.faults.home import Home

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("sh -c 'echo no nodes >&2; exit 5' sh", b"ended with status 5 (no nodes)"),
        ("sh -c 'kill -9 $$' sh", b"was killed by SIGKILL"),
        ("true", b"must stay in the foreground"),
        # It puts its worker into the background.
        ("sh -c '\"$@\" & exit 0' sh", b"must stay in the foreground"),
        ("sh -c 'exec \"$@\" --no-such-option' sh", b"No such option"),
    ],
)
def test_a_launcher_that_fails_ends_the_run(home: Home, launcher: str, said: bytes) -> None:
    """With its own words, and with what to do about what is left."""
    done = home.run("hs-cluster", "--launcher", launcher, stdin=b"sleep 100\n")

    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert b"to go on: hs-cluster --restart" in done.stderr
    assert home.leftovers() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--launcher", "/no/such/program -n 2"], b"/no/such/program"),
        (["--launcher", "srun 'x"], b"No closing quotation"),
        (["--launcher", " "], b"expected a program"),
        (["--launcher", "true", "--mpi"], b"exclude each other"),
        (["--launcher", "true", "-k"], b"exclude each other"),
        (["--launcher", "true", "-o", "out"], b"exclude each other"),
    ],
)
def test_misuse_is_refused_before_anything_starts(home: Home, options: list[str], said: bytes) -> None:
    """One line that says what."""
    done = home.run("hs-cluster", *options, stdin=b"true\n")

    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert said in line


def test_a_continued_run_uses_the_same_launcher(home: Home) -> None:
    """It is one of the settings that a run records."""
    os.chmod(home.write("both", b'#!/bin/sh\necho launched >> launches\n"$@"\n'), 0o755)
    first = home.run("hs-cluster", "--launcher", "./both", "-t", "[ -e go ]", stdin=b"x\n")

    home.write("go", b"")
    second = home.run("hs-cluster", "--retry-failed")

    assert (first.returncode, second.returncode) == (1, 0), second.stderr
    assert home.read("launches") == b"launched\n" * 2


def test_what_a_launcher_left_goes_on_with_another_one(home: Home) -> None:
    """With its own it fails again, with the same words; what is typed wins, and `env` starts the worker here."""
    failing = "sh -c 'echo no nodes >&2; exit 5' sh"
    first = home.run("hs-cluster", "--launcher", failing, stdin=b"echo done\n")

    again = home.run("hs-cluster", "--restart")
    here = home.run("hs-cluster", "--restart", "--launcher", "env")

    assert (first.returncode, again.returncode) == (3, 3)
    assert b"ended with status 5 (no nodes)" in again.stderr
    assert (here.returncode, here.stdout) == (0, b"done\n"), here.stderr
    assert b"--launcher env instead of" in here.stderr


def test_a_worker_program_elsewhere_can_be_named(home: Home) -> None:
    """Where the workers run it may be installed in another place."""
    os.chmod(home.write("theirs", b'#!/bin/sh\ntouch used\nexec hs-worker "$@"\n'), 0o755)

    done = home.run("hs-cluster", "--launcher", "env A=b", "--remote-exe", home.path("theirs"), stdin=b"echo $A\n")

    assert (done.returncode, done.stdout) == (0, b"b\n"), done.stderr
    assert os.path.exists(home.path("used"))
