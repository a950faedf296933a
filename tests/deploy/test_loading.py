"""What is loaded for what: a start is waited for, and a queue is filled by thousands of commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HS = Path(sys.executable).with_name("hs")
HEAVY = {
    "click",
    "zmq",
    "inspect",
    "dataclasses",
    "structlog",
    "logging",
    "asyncio",
    "psycopg",
    "rich",
    "subprocess",
    "urllib",
}


def loaded_by(*argv: str, home: Path) -> set[str]:
    """Return which of the heavy packages a command loads."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(argv, env=env, cwd=home, capture_output=True, text=True, timeout=60, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()} & HEAVY


@pytest.mark.parametrize(
    ("command", "loads"),
    [
        ("submit true", set()),
        ("submit -f tasks.txt -t kind:a -g1", set()),
        ("submit --template 'echo {}' -- x", set()),
        ("task search -F -c --database tasks.db", set()),
        ("task search id --json -l1 --database tasks.db", set()),
        ("task info ID -x exit_status --database tasks.db", set()),
        ("cluster --dry-run tasks.txt -N2", set()),
        ("status --help", {"click", "inspect"}),
    ],
)
def test_a_command_loads_what_it_needs(command: str, loads: set[str], tmp_path: Path) -> None:
    """No sockets where nobody is asked, no parser where there is nothing to parse."""
    (tmp_path / "tasks.txt").write_text("true\n")
    submitted = subprocess.run(
        [HS, "submit", "--database", "tasks.db", "true"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    words = command.replace("'", "").replace("ID", submitted.stdout.strip()).split()

    assert loaded_by(str(HS), *words, home=tmp_path) == loads


@pytest.mark.parametrize(
    ("module", "loads"),
    [
        ("hs_broker.cli", set()),
        ("hs_broker.program", {"zmq"}),
        ("hs_scheduler.cli", set()),
        ("hs_scheduler.daemon", {"zmq"}),
        ("hs_worker.cli", set()),  # the guardian: it forks, and a context of ZeroMQ would not survive that
        ("hs_worker.work", {"zmq"}),
        ("hs_deploy.start", set()),
        ("hs_deploy.program", set()),  # all until the daemons are started
    ],
)
def test_a_daemon_loads_what_it_needs(module: str, loads: set[str], tmp_path: Path) -> None:
    """Everybody waits for it."""
    assert loaded_by(sys.executable, "-c", f"import {module}", home=tmp_path) == loads
