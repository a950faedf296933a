"""`hs submit`: accepted means committed."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.faults.processes import reaped, until

from hs_common import limits
from hs_common.errors import RefusedError, StoppedError
from hs_common.tasks import Detail
from hs_scheduler.commands.sink import pieces
from hs_scheduler.commands.submit import submit
from hs_scheduler.serving.asking import Submission, new_key, pack_submission
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NO_RUN, NewTask, Ready


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
    found: list[Ready] = []
    with contextlib.suppress(LookupError), store.transaction():
        # A group at a time; nothing of it stays.
        while some := store.ready(100):
            found += some
            store.assign([(1, [item.task for item in some])], 1.0)
        raise LookupError
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
        Detail(90.0, 2, 1024, (("k", "own"), ("note", "two words")), b"{}"),
        Detail(90.0, 4, 1024, (("k", "given"), ("note", "two words")), b"{}"),
    ]


def test_a_template_is_expanded_at_once_and_never_again(site: Path) -> None:
    """The line is stored as it will run, with the template that changes nothing: the worker's own is not applied to it."""
    Path("tasks.txt").write_text("a/b.c 1 # HYPERSHELL: k:v\nd 2\n")

    assert accepted("-f", "tasks.txt", "--template", "echo {[0]} {= x.upper() =} {{}}") == "2"

    assert [(item.task.args, item.task.detail) for item in queue(site)] == [
        (b"echo a/b.c A/B.C 1 {}", Detail(0.0, 0, 0, (("k", "v"),), b"{}")),
        (b"echo d D 2 {}", Detail(0.0, 0, 0, (), b"{}")),
    ]


def test_a_line_that_cannot_be_expanded_is_recorded_as_rejected(site: Path) -> None:
    """The others are accepted; of a single command nothing is."""
    Path("tasks.txt").write_text("a b\nonly\n")

    result = run("-f", "tasks.txt", "--template", "echo {[1]}")

    assert (result.stdout, result.exception) == ("2\n", None)
    assert "1 of 2 lines can never run" in result.stderr
    assert [item.task.args for item in queue(site)] == [b"echo b"]
    assert "{[1]} is out of range: 1 arguments" in refusal("--template", "{[1]}", "--", "only")


@pytest.mark.parametrize("group", ["{slot}", "{id}", "{attempt}", "{% date %}"])
def test_what_is_known_only_when_a_task_runs_is_refused(site: Path, group: str) -> None:
    """With the place where it can be given."""
    message = refusal("--template", f"echo {group} {{}}", "--", "x")

    assert group in message
    assert "hs-cluster -t" in message
    assert not (site / "main/tasks.db").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "-f FILE"),
        (["-f", "x", "--", "true"], "exclude each other"),
        (["--database", "", "--", "true"], "--database ''"),  # a variable that is not set
        (["-f", "no-such-file"], "no-such-file"),
        (["-t", "group:x", "--", "true"], "group:x"),
        (["-t", "", "--", "true"], "-t '': a key has letters"),
        (["-t", "group:3", "-g", "4", "--", "true"], "-t group:3 and -g 4 do not agree"),
        (["-g", "", "--", "true"], "-g '' is not an integer"),
        (["-f", ""], "-f '': expected a file"),
        (["--template", "", "--", "true"], "--template '': expected a command"),
        (["--connection", "", "--", "true"], "'' is no name of a cluster"),
        (["--cores", "0", "--", "true"], "--cores '0' is not"),
        (["--memory", "lots", "--", "true"], "--memory 'lots' is not a size"),
        (["-W", "-1", "--", "true"], "-W '-1' is not a duration"),
        (["-t", "k:\udcff", "--", "true"], "not UTF-8"),
        (["--template", "{= ) =}", "--", "true"], "{= ) =} is no Python expression"),
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


def test_a_database_that_a_scheduler_owns_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hs_scheduler.commands.live.START_S", 0.0)
    path = str(tmp_path / "mine.db")
    store = SqliteStore(path)

    result = run("--database", path, "--", "true")

    assert isinstance(result.exception, StoppedError)
    assert f"owned by hs-scheduler on host {os.uname().nodename}, pid {os.getpid()}" in str(result.exception)
    store.close()


def test_who_has_the_file_locked_for_a_moment_is_waited_for(site: Path) -> None:
    """As a shell of SQLite, or a program that copies the file: it knows nothing of our lock."""
    accepted("--", "first")
    with contextlib.closing(sqlite3.connect(site / "main/tasks.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with start("--", "second") as process:
            assert until((site / "main/tasks.db.lock").exists)
            other.execute("COMMIT")
            assert process.wait(60) == 0
    assert [item.task.args for item in queue(site)] == [b"first", b"second"]


def test_a_file_that_stays_locked_is_one_line(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hs_scheduler.stores.database.COMMAND_BUSY_S", 0.0)
    accepted("--", "first")
    with contextlib.closing(sqlite3.connect(site / "main/tasks.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = run("--", "second")

    assert isinstance(result.exception, StoppedError)
    assert str(result.exception) == f"database {site}/main/tasks.db: database is locked"


def test_what_one_request_holds_stays_below_what_a_message_may() -> None:
    """Whatever makes it long: args, tags that hold for all lines, or the reason why a line can never run."""
    tags = tuple((f"key{number}", "x" * 1_000) for number in range(100))
    heavy = NewTask(b"true", Detail(0.0, 0, 0, tags, b""), 0, 0, "")
    batch = [heavy] * 200 + [NewTask(b"x" * limits.LINE_BYTES_MAX, None, 0, 0, "y" * limits.MIB)] * 5

    some = list(pieces(batch))

    assert [task for piece in some for task in piece] == batch
    sizes = [len(pack_submission(Submission(new_key(), "host", b"/", piece))) for piece in some]
    assert max(sizes) < limits.BODY_BYTES_MAX


def start(*options: str) -> contextlib.AbstractContextManager["subprocess.Popen[str]"]:
    script = f"from hs_scheduler.commands.submit import submit; submit({list(options)!r}, standalone_mode=False)"
    pipe: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return reaped(subprocess.Popen([sys.executable, "-c", script], text=True, **pipe))


def test_lines_from_stdin_are_accepted_as_they_come(site: Path) -> None:
    """A producer that pauses does not keep the database from others."""
    with start("-f", "-") as process:
        assert process.stdin is not None
        process.stdin.write("echo 1\necho")
        process.stdin.flush()
        assert until(lambda: (site / "main/tasks.db").exists() and queue(site))

        accepted("--", "other")
        out, errors = process.communicate(" 2\necho 3 # HYPERSHELL: group:x\n", timeout=60)

    assert (out, process.returncode) == ("3\n", 0)
    assert "1 of 3 lines can never run" in errors
    assert [item.task.args for item in queue(site)] == [b"echo 1", b"other", b"echo 2"]


def test_many_at_once_are_all_accepted(site: Path) -> None:
    Path("tasks.txt").write_text("true\n" * 10)
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(start("-f", "tasks.txt")) for _ in range(6)]
        for process in several:
            out, errors = process.communicate(timeout=60)
            assert (out, errors, process.returncode) == ("10\n", "", 0)

    assert len(queue(site)) == 60
