"""Whole runs whose tasks are kept on a PostgreSQL server."""

import json
import os
import shlex
import signal
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest
from tests.faults.processes import reaped, until
from tests.postgres_server import PostgresServer

from hs_scheduler.stores.engines import open_reader, owner_of

pytestmark = pytest.mark.system

SECRET = f"pw-that-nobody-shows-{os.getpid()}"
"""No other: these tests may run twice on one machine, and look at all of its processes."""


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "site"
    monkeypatch.setenv("HYPERSHELL_SITE", str(path))
    return path


@pytest.fixture
def url(postgres: PostgresServer, postgres_url: str) -> str:
    """With a password, for which this server does not ask: wherever it shows, it was us."""
    return postgres_url.replace("hs@", f"hs:{SECRET}@")


def run(*command: str, given: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=60, check=False, env=os.environ | settings
    )


def test_a_run_is_recorded_looked_at_and_continued(url: str) -> None:
    first = run("hs-cluster", "-N2", "--initdb", "--database", url, given="echo a\nexit 3\n")
    assert (first.returncode, first.stdout) == (1, "a\n"), first.stderr

    # The server's database is `latest` now.
    failed = run("hs", "task", "search", "-F", "--json")
    assert [(task["args"], task["exit_status"]) for task in json.loads(failed.stdout)] == [("exit 3", 3)]

    submitted = run("hs", "submit", "--database", url, "--", "echo submitted")
    shown = run("hs", "task", "info", submitted.stdout.strip(), "--database", url, "-x", "args")
    assert shown.stdout == "echo submitted\n"

    again = run("hs-cluster", "--restart", HYPERSHELL_DATABASE_URL=url)
    assert again.stdout == "submitted\n", again.stderr


def test_tables_are_made_only_when_asked_for(url: str) -> None:
    refused = run("hs-cluster", "--database", url, given="true\n")

    assert refused.returncode == 3
    assert "has no task tables yet: --initdb makes them" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("location", "status", "said"),
    [
        ("postgresql://hs:{}@127.0.0.1:1/x", 3, "Connection refused"),
        ("postgresql://hs:{}@[", 2, "is no URL of a PostgreSQL database"),
        ("postgresql://hs:{}@/x?no_such=1", 2, "is no URL of a PostgreSQL database"),
        ("mysql://hs:{}@x/y", 2, "neither a path nor a postgresql:// URL"),
    ],
)
@pytest.mark.parametrize("command", ["hs-cluster", "hs submit -f -", "hs task search"])
def test_a_server_out_of_reach_is_one_clear_line(location: str, status: int, said: str, command: str) -> None:
    done = run(*command.split(), "--database", location.format(SECRET), given="true\n")

    (line,) = done.stderr.splitlines()
    assert done.returncode == status, done.stderr
    assert said in line
    assert SECRET not in line


def test_a_server_that_answers_nothing_is_one_clear_line_too() -> None:
    """As a host that is off: its port takes the connection, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run("hs-cluster", "--database", f"postgresql://hs@127.0.0.1:{silent.getsockname()[1]}/x", given="true\n")

    (line,) = done.stderr.splitlines()
    assert done.returncode == 3, line
    assert "timeout expired" in line


def test_a_scheduler_that_is_started_again_waits_for_a_server_that_is_down(site: Path, tmp_path: Path) -> None:
    """Its run was under way, so there is a server: it may be starting again, and with it the run goes on."""
    server = PostgresServer()
    try:
        server.start()
        location = server.new_schema("again")
        go = tmp_path / "go"
        os.mkfifo(go)
        command = ["hs-cluster", "--initdb", "--database", location, "-t", f"cat {go}"]
        pipe = subprocess.PIPE
        with reaped(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)) as cluster:
            assert cluster.stdin is not None
            cluster.stdin.write("x\n")
            cluster.stdin.close()
            # Whoever has only just taken it has not said yet who it is.
            assert until(lambda: (owner := owner_of(location)) is not None and owner.pid)
            scheduler = owner_of(location)
            assert scheduler is not None
            with go.open("w") as gate:
                gate.write("done\n")
                server.stop(signal.SIGQUIT)
                os.kill(scheduler.pid, signal.SIGKILL)
                assert cluster.stderr is not None
                assert any("store.awaited" in line for line in cluster.stderr)
                server.start()
            cluster.stdin = None
            output, said = cluster.communicate(timeout=60)
        assert (cluster.returncode, output) == (0, "done\n"), said
    finally:
        server.remove()


def test_a_server_that_is_killed_while_a_run_opens_its_database_is_waited_for() -> None:
    """It was there a moment ago, so its name is right."""
    server = PostgresServer()
    try:
        server.start()
        location = server.new_schema("opening")
        assert run("hs", "initdb", "--database", location).returncode == 0
        pipe = subprocess.PIPE
        with psycopg.connect(location, autocommit=True) as session:
            session.execute("BEGIN; LOCK TABLE owner IN ACCESS EXCLUSIVE MODE")
            command = ["hs-cluster", "--database", location]
            with reaped(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)) as cluster:
                assert cluster.stderr is not None
                assert "store.busy" in next(line for line in cluster.stderr if "store." in line)
                server.stop(signal.SIGQUIT)
                session.close()
                assert "store.awaited" in next(
                    line for line in cluster.stderr if "store.awaited" in line or "hs-cluster:" in line
                )
                server.start()
                output, said = cluster.communicate("echo one\n", timeout=60)
        assert (cluster.returncode, output) == (0, "one\n"), said
    finally:
        server.remove()


def test_a_password_is_nowhere_but_in_a_private_file(url: str, site: Path, tmp_path: Path) -> None:
    """Tasks look into the command lines and environments of all daemons while these run."""
    look = tmp_path / "look.py"
    look.write_text(
        "import glob\n"
        "for path in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):\n"
        "    try:\n"
        "        content = open(path, 'rb').read()\n"
        "    except OSError:\n"
        "        continue\n"
        f"    if content.startswith(b'hs-') or b'hs_' in content or b'bin/hs' in content:\n"
        f"        print(path, {SECRET!r}.encode() in content and b'hs-cluster' not in content)\n"
    )
    done = run("hs-cluster", "--initdb", "--database", url, "-t", f"python3 {look}", given="x\n")
    assert done.returncode == 0, done.stderr
    seen = [line.split() for line in done.stdout.splitlines()]
    assert len(seen) > 3
    assert [path for path, shows in seen if shows == "True"] == []
    assert SECRET not in done.stderr

    with open_reader(url) as reader:
        (settings,) = reader.execute("SELECT settings FROM run").fetchone()
    assert SECRET not in settings
    holding = [path for path in site.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert [(path.name, path.stat().st_mode & 0o777) for path in holding] == [("tasks.url", 0o600)]


def test_how_to_go_on_is_said_without_the_password(url: str) -> None:
    """Such lines stay in the logs of jobs, which others may read."""
    assert run("hs-cluster", "--initdb", "--database", url, given="false\n").returncode == 1
    over = run("hs-cluster", "--restart")
    assert run("hs", "submit", "--database", url, "--", "true").returncode == 0
    assert run("hs-cluster", given="true\n").returncode == 0
    older = run("hs-cluster", "--restart")

    shown = shlex.quote(url.replace(f":{SECRET}", ""))
    assert (over.returncode, older.returncode) == (1, 0)
    assert f"hs-cluster --retry-failed --database {shown}\n" in over.stderr
    assert f"hs-cluster --restart --database {shown}\n" in older.stderr


def test_an_idle_scheduler_whose_session_was_ended_notices_what_was_submitted(url: str, tmp_path: Path) -> None:
    """Nobody owns the database for a moment: the command writes into it by itself, and the scheduler has to look again."""
    assert run("hs", "initdb", "--database", url).returncode == 0
    command = ["hs-cluster", "--forever", "-N1", "--database", url]
    with (tmp_path / "out").open("wb") as out, reaped(subprocess.Popen(command, stdout=out, stderr=out)) as cluster:
        assert until(lambda: run("hs", "submit", "--database", url, "--", "echo one").returncode == 0)
        assert until(lambda: b"one\n" in (tmp_path / "out").read_bytes())
        with psycopg.connect(url, autocommit=True) as session:
            # Sent before the scheduler can have another session: what it then finds was put there by somebody else.
            session.execute("BEGIN; LOCK TABLE owner IN ACCESS EXCLUSIVE MODE")
            session.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE 'hs-scheduler/%'"
            )
            row = "INSERT INTO task (row, state, dispatch, submit_time, place, uid, args)"
            session.execute(f"{row} SELECT 1000, 0, 0, 0, 1, 'an id of 16 byte', 'echo two'".encode())
            session.execute("UPDATE owner SET uuid = 'another'")
            session.execute("COMMIT")
        assert until(lambda: b"two\n" in (tmp_path / "out").read_bytes()), (tmp_path / "out").read_text()
        cluster.terminate()
        assert cluster.wait(60) == 128 + signal.SIGTERM
