"""`hs task info`: where a task is found, in which form it is shown, what it printed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.sshd import Sshd

from hs_common import site
from hs_common.errors import RefusedError, StoppedError
from hs_common.ids import uuid_text
from hs_common.tasks import Outcome
from hs_scheduler.commands import finding
from hs_scheduler.commands.finding import uid_of
from hs_scheduler.commands.info import info
from hs_scheduler.commands.waiting import last_attempts
from hs_scheduler.stores.engines import open_reader
from hs_scheduler.stores.reader import Reader
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NewTask, Retry
from hs_scheduler.tasks.fields import BY_NAME

T0 = 1_700_000_000.0
HERE = os.uname().nodename
UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERSHELL_SITE", str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)


def recorded(folder: str, *, args: bytes = b"true", now: float = T0, host: str = HERE, out: bytes = b"") -> str:
    """Record one finished task in the database of this folder and return its id."""
    os.makedirs(folder, exist_ok=True)
    store = SqliteStore(os.path.join(folder, "tasks.db"))
    with store.transaction():
        (task,) = store.add([NewTask(args, None, 0, 0, "")], [1], b"/", now)
        end = Outcome(task.row, 1, 0, 3 << 8, "", now, 0.5, 0.0, 0.0, 0, b"", out, out and out + b".err")
        store.record(b"w" * 16, host, [end], Retry(0, eager=False), now)
    store.close()
    return uuid_text(task.uid)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(info, arguments)


def output(*arguments: str) -> bytes:
    result = run(*arguments)
    assert result.exception is None, result.exception
    return result.stdout_bytes


# --- Where it is found ---


def run_folder(began: float) -> str:
    """Name the folder of a run as hs-cluster does."""
    return os.path.join(
        site.runs(), f"{int(began * 1000):012x}"[:8] + f"-{int(began * 1000):012x}"[8:] + "-7000-8000-000000000000"
    )


def test_a_task_is_found_in_the_queue_the_latest_and_every_run() -> None:
    in_main = recorded(site.main(), args=b"main")
    in_runs = [recorded(run_folder(T0 + day), args=b"run %d" % day, now=T0 + day + 1) for day in range(3)]
    elsewhere = recorded("elsewhere", args=b"latest")
    site.set_latest("elsewhere")

    found = [output(uid, "-x", "args") for uid in (in_main, *in_runs, elsewhere)]
    assert found == [b"main\n", b"run 0\n", b"run 1\n", b"run 2\n", b"latest\n"]


def test_many_tasks_are_found_with_one_look_at_each_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for thousands of tasks is to take no thousands of connections."""
    opened = []

    def noted(location: str) -> AbstractContextManager[Reader]:
        opened.append(os.path.basename(os.path.dirname(location)))
        return open_reader(location)

    in_main = [recorded(site.main(), args=b"%d" % number) for number in range(3)]
    in_run = recorded(run_folder(T0), args=b"run", now=T0 + 1)
    monkeypatch.setattr(finding, "open_reader", noted)

    asked = [uid_of(uid) for uid in (in_run, *in_main)]
    found = last_attempts([*asked, *asked], None)

    assert [found[uid].shown()["args"] for uid in asked] == [b"run", b"0", b"1", b"2"]
    assert opened == ["main", os.path.basename(run_folder(T0))]
    with pytest.raises(StoppedError, match=f"there is no task {UNKNOWN}"):
        last_attempts([*asked, uid_of(UNKNOWN)], None)


def test_a_database_that_is_named_is_the_only_one() -> None:
    uid = recorded(site.main())
    recorded("other")

    result = run(uid, "--database", "other/tasks.db")
    assert isinstance(result.exception, StoppedError)
    assert str(result.exception) == f"there is no task {uid} in other/tasks.db"


def test_an_unknown_id_is_status_three_and_one_line() -> None:
    recorded(site.main())
    result = run(UNKNOWN)

    assert isinstance(result.exception, StoppedError)
    assert str(result.exception) == f"there is no task {UNKNOWN}"


def test_a_database_that_cannot_be_read_is_named_where_nothing_is_found() -> None:
    recorded(site.main())
    Path(site.main(), "tasks.db").write_bytes(b"no database at all, but long enough to look at" * 99)

    result = run(UNKNOWN)
    assert "main/tasks.db" in str(result.exception)


@pytest.mark.parametrize("text", ["", "12", "zz" * 16, UNKNOWN + "0"])
def test_what_is_no_id_is_refused(text: str) -> None:
    result = run(text)
    assert isinstance(result.exception, RefusedError)


# --- Forms ---


def test_the_forms_hold_every_public_field() -> None:
    uid = recorded(site.main(), args=b"echo caf\xe9 \xc3\xa9")

    as_json = json.loads(output(uid, "--json"))
    assert list(as_json) == list(BY_NAME)
    assert (
        as_json.items() >= {"id": uid, "exit_status": 3, "state": "DONE", "tag": {}, "args": "echo caf\\xe9 é"}.items()
    )
    assert yaml.safe_load(output(uid, "--yaml")) == as_json
    assert b"exit_status: 3\n" in output(uid)


def test_one_field_is_its_value_and_nothing_else() -> None:
    uid = recorded(site.main(), args=b"caf\xe9")

    assert output(uid, "-x", "exit_status") == b"3\n"
    assert output(uid, "-x", "args") == b"caf\xe9\n", "bytes as they are"
    assert output(uid, "-x", "tag") == b"{}\n"
    assert output(uid, "-x", "reason") == b"\n"
    assert output(uid, "-x", "reason", "--json") == b"null\n"
    assert output(uid, "-x", "state", "--json") == b'"DONE"\n'


@pytest.mark.parametrize(
    "options", [["-x", "nothing"], ["--stdout", "--json"], ["--stderr", "-x", "id"], ["-x", "id", "--yaml"]]
)
def test_what_makes_no_sense_is_refused(options: list[str]) -> None:
    result = run(recorded(site.main()), *options)
    assert isinstance(result.exception, RefusedError)


# --- What it printed ---


def test_captured_output_comes_out_unchanged(tmp_path: Path) -> None:
    whole = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(whole)
    (tmp_path / "file.err").write_bytes(b"")
    uid = recorded(site.main(), out=os.fsencode(tmp_path / "file"))

    assert output(uid, "--stdout") == whole
    assert output(uid, "--stderr") == b""


def test_what_is_not_there_is_said_with_its_reason(tmp_path: Path) -> None:
    gone = recorded(site.main(), out=b"/nowhere/file")
    never = recorded(site.main())

    assert str(run(gone, "--stdout").exception) == "/nowhere/file is not there any more"
    assert "--capture" in str(run(never, "--stdout").exception)


class Far(NamedTuple):
    """Another host, and a HOME whose SSH settings call it `far`."""

    server: Sshd
    home: Path

    def make_known(self, *lines: str) -> None:
        """Tell its key, among lines that mean nothing to us, and these."""
        text = "\n".join(["@cert-authority *.example.org x", "# a comment", *lines, self.server.known_host])
        (self.home / ".ssh" / "known_hosts").write_text(text)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    served, home = tmp_path / "far", tmp_path / "home"
    served.mkdir()
    (served / "out").write_bytes(b"\xff\x00" * 3_000_000)
    (served / "out.err").write_bytes(b"")
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    server = Sshd(str(tmp_path / "sshd"), str(home), serves=str(served))
    (home / ".ssh" / "config").write_text(
        f"Host far\n HostName {server.address}\n Port {server.port}\n User {server.user}\n IdentityFile {server.key}\n"
    )
    yield Far(server, home)
    server.close()


def ask_from(home: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    script = "import sys; from hs_deploy.cli import main; main()"
    command = [sys.executable, "-c", script, "task", "info", *arguments]
    return subprocess.run(command, env=os.environ | {"HOME": str(home)}, capture_output=True, timeout=60, check=False)


def test_the_output_of_another_host_is_fetched_over_sftp(far: Far) -> None:
    """Its path here would be relative to this folder: there is none, so it is the other host's."""
    uid = recorded(site.main(), host="far", out=b"out")
    far.make_known()

    done = ask_from(far.home, uid, "--stdout")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"\xff\x00" * 3_000_000
    assert ask_from(far.home, uid, "--stderr").stdout == b""


def test_a_host_whose_key_is_not_known_is_refused(far: Far) -> None:
    uid = recorded(site.main(), host="far", out=b"out")

    done = ask_from(far.home, uid, "--stdout")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"known_hosts" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_host_whose_key_was_revoked_is_refused(far: Far) -> None:
    """Whatever else the file says of it."""
    uid = recorded(site.main(), host="far", out=b"out")
    far.make_known(f"@revoked * {far.server.known_host.split(' ', 1)[1].rstrip()}")

    done = ask_from(far.home, uid, "--stdout")
    assert (done.returncode, done.stdout) == (3, b"")


def test_what_another_host_has_not_is_said(far: Far) -> None:
    uid = recorded(site.main(), host="far", out=b"gone")
    far.make_known()

    done = ask_from(far.home, uid, "--stdout")
    assert (done.returncode, done.stderr) == (3, b"-c: host far: gone is not there any more\n")
