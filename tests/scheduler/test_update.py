"""`hs task update` as it is typed: what it asks, what it says."""

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.processes import reaped
from tests.scheduler.building import a_database, output, run

from hs_common.errors import RefusedError, StoppedError
from hs_scheduler.commands.search import search
from hs_scheduler.commands.update import update
from hs_scheduler.stores.sqlite import SqliteStore


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Two that wait, one that succeeded, one that failed."""
    return a_database(tmp_path / "tasks.db", None, None, 0, 3)


def waiting(database: str) -> int:
    return int(output(search, "-c", "-w", "state == NEW", "--database", database))


def test_it_says_how_many_were_changed_and_why_others_were_not(database: str) -> None:
    assert output(update, "--cancel", "--all", "-y", "--database", database).splitlines() == [
        f"2 tasks changed in {database}",
        "1 task left as it is: failed",
        "1 task left as it is: succeeded",
    ]


def test_where_nothing_is_found_nothing_is_asked(database: str) -> None:
    assert output(update, "--cancel", "-t", "none:1", "--database", database) == f"0 tasks changed in {database}\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--cancel", "-F"], "-y"),  # nobody to ask
        (["--cancel", "-y"], "--all"),
        (["--cancel", "--all", "-F", "-y"], "exclude"),
        (["-F", "-y"], "what is to be changed"),
        (["--cancel", "-w", "nonsense", "-y"], "nonsense"),
        (["state=DONE", "--all", "-y"], "state=DONE"),
        (["--delete", "color:red", "--all", "-y"], "--delete"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_changed(
    database: str, options: list[str], named: str
) -> None:
    result = run(update, *options, "--database", database)

    assert isinstance(result.exception, RefusedError)
    assert named in str(result.exception)
    assert "\n" not in str(result.exception)
    assert waiting(database) == 2


def test_the_question_names_the_database_and_the_number(database: str) -> None:
    result = run(update, "--cancel", "-R", "--database", database)
    assert str(result.exception).startswith(f"Cancel 2 tasks in {database}? ")


def test_an_owner_that_takes_no_requests_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hs_scheduler.commands.live.START_S", 0.0)
    owner = SqliteStore(database)
    result = run(update, "--cancel", "-R", "-y", "--database", database)
    owner.close()

    assert isinstance(result.exception, StoppedError)
    assert f"pid {os.getpid()}" in str(result.exception)
    assert waiting(database) == 2


@pytest.mark.parametrize(("answer", "status", "left"), [(b"n\n", 1, 2), (b"\n", 1, 2), (b"y\n", 0, 0)])
def test_on_a_terminal_it_asks(database: str, answer: bytes, status: int, left: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from hs_deploy.cli import main; main()"]
    with reaped(
        subprocess.Popen(
            [*command, "task", "update", "--cancel", "-R", "--database", database],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
    ) as process:
        os.close(theirs)
        said = b""
        while b"[y/N]" not in said:
            assert select.select([ours], [], [], 60)[0], said
            said += os.read(ours, 4096)
        assert b"Cancel 2 tasks in" in said
        os.write(ours, answer)
        assert process.wait(60) == status
    os.close(ours)
    assert waiting(database) == left
