"""`hs submit`: accepted means committed."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hs_common.errors import RefusedError, StoppedError
from hs_common.tasks import Detail
from hs_scheduler.commands.submit import submit
from hs_scheduler.sqlite import NO_RUN, SqliteStore
from hs_scheduler.store import Ready


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    monkeypatch.setenv("HYPERSHELL_SITE", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return folder


def run(*options: str) -> Result:
    return CliRunner().invoke(submit, options)


def accepted(*options: str) -> str:
    result = run(*options)
    assert result.exception is None, result.exception
    return result.stdout.strip()


def refusal(*options: str) -> str:
    result = run(*options)
    assert isinstance(result.exception, RefusedError)
    return str(result.exception)


def queue(site: Path) -> list[Ready]:
    store = SqliteStore(str(site / "main/tasks.db"), brief=True)
    store.open_run(NO_RUN, {}, 1.0)
    found = store.ready(100)
    store.close()
    return found


def test_one_command_gets_an_id(site: Path, tmp_path: Path) -> None:
    task_id = accepted("--", "echo", "hello world")

    (item,) = queue(site)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", task_id)
    assert item.task.uid.hex() == task_id.replace("-", "")
    assert (item.task.args, item.task.detail, item.cwd) == (b"echo 'hello world'", None, os.fsencode(tmp_path))
    assert os.listdir(site / "main") == ["tasks.db"], "nothing else is left"
    assert (site / "latest").resolve() == site / "main"


def test_a_single_argument_is_a_command_line_as_it_stands(site: Path) -> None:
    accepted("--", "echo a | wc -l")

    assert [item.task.args for item in queue(site)] == [b"echo a | wc -l"]


def test_a_file_is_counted_and_its_tags_count(site: Path) -> None:
    Path("tasks.txt").write_text("echo 1\n# HYPERSHELL: k:2\n\necho 2 # HYPERSHELL: n:3 group:-1\n")

    assert accepted("-f", "tasks.txt") == "2"

    assert [(i.task.args, i.task.detail and i.task.detail.tags) for i in queue(site)] == [
        (b"echo 2", (("k", 2), ("n", 3))),
        (b"echo 1", None),
    ]


def test_options_set_what_a_line_does_not(site: Path) -> None:
    Path("tasks.txt").write_text("a # HYPERSHELL: k:own cores:2\nb\n")

    accepted("-f", "tasks.txt", "-t", "k:given", "-t", "note:two words", "--template", "echo {}", "-g", "3",
             "--priority", "-1", "--cores", "4", "--memory", "1K", "-W", "90")  # fmt: skip

    assert [item.task.detail for item in queue(site)] == [
        Detail(90.0, 2, 1024, (("k", "own"), ("note", "two words")), b"echo {}"),
        Detail(90.0, 4, 1024, (("k", "given"), ("note", "two words")), b"echo {}"),
    ]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "-f FILE"),
        (["-f", "x", "--", "true"], "-f FILE"),
        (["-f", "no-such-file"], "no-such-file"),
        (["-t", "group:x", "--", "true"], "group:x"),
        (["--cores", "0", "--", "true"], "cores:0"),
        (["--memory", "lots", "--", "true"], "memory:lots"),
        (["-W", "-1", "--", "true"], "timeout:-1"),
        (["--", "a\nb"], "one line"),
        (["--", " "], "empty"),
        (["--", "x" * 1_100_000], "1048576"),
    ],
)
def test_misuse_is_refused_and_nothing_is_added(site: Path, options: list[str], named: str) -> None:
    assert named in refusal(*options)
    assert not (site / "main/tasks.db").exists()


def test_a_bad_tag_in_a_file_refuses_all_of_it(site: Path) -> None:
    Path("tasks.txt").write_text("true\ntrue # HYPERSHELL: cores:none\n")

    assert "tasks.txt, line 2: bad tag cores:none" in refusal("-f", "tasks.txt")
    assert not (site / "main/tasks.db").exists()


def test_a_database_that_a_scheduler_owns_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "mine.db")
    store = SqliteStore(path)

    result = run("--database", path, "--", "true")

    assert isinstance(result.exception, StoppedError)
    assert f"owned by hs-scheduler on host {os.uname().nodename}, pid {os.getpid()}" in str(result.exception)
    store.close()


def start(*options: str) -> "subprocess.Popen[str]":
    script = f"from hs_scheduler.commands.submit import submit; submit({list(options)!r}, standalone_mode=False)"
    pipe: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", script], text=True, **pipe)


def test_lines_from_stdin_are_accepted_as_they_come(site: Path) -> None:
    """A producer that pauses does not keep the database from others."""
    with start("-f", "-") as process:
        assert process.stdin is not None
        process.stdin.write("echo 1\necho")
        process.stdin.flush()
        while not (site / "main/tasks.db").exists() or not queue(site):
            assert process.poll() is None

        accepted("--", "other")
        out, errors = process.communicate(" 2\necho 3 # HYPERSHELL: group:x\n", timeout=30)

    assert (out, process.returncode) == ("3\n", 0)
    assert "1 of 3 lines can never run" in errors
    assert [item.task.args for item in queue(site)] == [b"echo 1", b"other", b"echo 2"]


def test_many_at_once_are_all_accepted(site: Path) -> None:
    Path("tasks.txt").write_text("true\n" * 10)
    several = [start("-f", "tasks.txt") for _ in range(6)]

    for process in several:
        with process:
            out, errors = process.communicate(timeout=30)
            assert (out, errors, process.returncode) == ("10\n", "", 0)

    assert len(queue(site)) == 60
