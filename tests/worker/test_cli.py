"""What is typed, and what hs-cluster passes, to options."""

import subprocess
import sys
from pathlib import Path

import pytest

from hs_worker.cli import read_quickly
from hs_worker.options import Options


def test_what_hs_cluster_passes_is_read_without_a_parser() -> None:
    """The way that everybody waits for."""
    arguments = (
        "--connection - --errors-fd 5 -N 4 -t {} --shell /bin/bash -b 1 -w 2.5 -d -3 -S 7 -W 9 --no-confirm --relay"
    )

    assert read_quickly(arguments.split()) == Options(
        connection="-",
        errors_fd=5,
        num_tasks=4,
        template="{}",
        shell="/bin/bash",
        bundlewait_s=2.5,
        delay_start_s=-3.0,
        signalwait_s=7.0,
        task_timeout_s=9.0,
        confirm=False,
        relay=True,
    )


@pytest.mark.parametrize(
    "arguments",
    ["", "-N 4", "--connection file", "--connection - -N", "--connection - -N four", "--connection - --help"],
)
def test_anything_else_is_left_to_the_parser(arguments: str) -> None:
    """It explains itself; the quick way never does."""
    assert read_quickly(arguments.split()) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--connection", "no/such/file"],
        ["--connection", "x", "-N", "-1"],
        ["--connection", "x", "-N", "two"],
        ["--connection", "x", "--shell", "no-such-shell"],
        ["--connection", "x", "-o", "/no/such/folder/out"],
        ["--connection", "-", "-N", "99999"],
        ["--connection", "-", "-t", ""],
        ["--connection", "x", "-t", " "],
        ["--connection", "x", "-o", ""],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_misuse_is_said_with_its_value_and_status_2(arguments: list[str], tmp_path: Path) -> None:
    """Before anything starts."""
    done = subprocess.run(
        [sys.executable, "-m", "hs_worker", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        env={"HYPERSHELL_SITE": str(tmp_path / "site"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stdout == b""
    assert (arguments[-1].strip() or repr(arguments[-1])).encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_guardian_never_loads_the_sockets() -> None:
    """It forks: a context would not survive that. And start-up time is a feature."""
    code = "import sys, hs_worker.cli; print(sorted({'zmq', 'msgpack', 'click', 'structlog', 'logging'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout == "['msgpack']\n"
