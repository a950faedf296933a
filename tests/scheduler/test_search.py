"""`hs task search`: the conditions, the order, the forms."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hs_common.errors import RefusedError, StoppedError
from hs_common.tasks import Detail, Outcome
from hs_scheduler.commands.search import search
from hs_scheduler.stores.database import Database
from hs_scheduler.stores.ownership import this_process
from hs_scheduler.stores.reader import reading
from hs_scheduler.stores.sqlite import SqliteStore
from hs_scheduler.stores.store import NewTask, Retry
from hs_scheduler.tasks.conditions import parse_condition
from hs_scheduler.tasks.fields import BY_NAME
from hs_scheduler.tasks.state import State

DOCS = Path(__file__).parents[2] / "docs"
RUN = bytes(range(16))
T0 = 1_700_000_000.0


def a_line(args: bytes, *, group: int = 0, **tags: object) -> NewTask:
    return NewTask(args, Detail(0.0, 0, 0, tuple(tags.items()), b"") if tags else None, group, 0, "")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five that ended with 0 to 4, one that failed and waits to be tried again, one that can never run."""
    path = str(tmp_path_factory.mktemp("search") / "tasks.db")
    store = SqliteStore(path)
    store.open_run(RUN, {}, T0)
    lines = [a_line(b"exit %d" % i, n=i, kind="x", even=i % 2 == 0) for i in range(5)]
    lines += [a_line(b"caf\xe9 \x1b[31m", group=2, none=None, text="7", real=1.5)]
    with store.transaction():
        tasks = store.add(lines, range(1, 7), b"/work", T0)
        store.add([a_line(b"a\0b")._replace(rejected="NUL in the line")], [0], b"/work", T0)
    results = [
        Outcome(t.row, 1, 0, i << 8, "", T0 + i, i / 2, 0.5, 0.25, 0, b"", b"", b"") for i, t in enumerate(tasks)
    ]
    with store.transaction():
        store.record(b"w" * 16, "host1", results[:5], Retry(0, eager=False), T0 + 9)
        store.record(b"w" * 16, "host1", [results[5]._replace(reason="timeout")], Retry(1, eager=False), T0 + 9)
    store.close()
    return path


def run(database: str, *options: str) -> Result:
    return CliRunner().invoke(search, [*options, "--database", database])


def output(database: str, *options: str) -> str:
    result = run(database, *options)
    assert result.exception is None, result.exception
    return result.stdout


def test_a_database_may_have_any_name(database: str, tmp_path: Path) -> None:
    """Also one that means something in a URI."""
    odd = tmp_path / "100%25 ?mode=rwc#end é.db"
    shutil.copy(database, odd)

    assert output(str(odd), "-c") == output(database, "-c")


def rows(database: str, *options: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(output(database, "--json", *options))
    return found


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ([], 8),
        (["-F"], 6),  # four exits, one timeout, one rejected
        (["-S"], 1),
        (["-C"], 7),
        (["-R"], 1),
        (["-g", "2"], 2),
        (["-l", "3"], 3),
        (["-w", "exit_status >= 3"], 3),
        (["-w", "exit_status != 3", "-w", "exit_status > 1"], 3),
        (["-w", "exit_status == null"], 2),
        (["-w", "exit_status != null"], 6),
        (["-w", "reason==timeout"], 1),
        (["-w", "args ~ ^exit.[12]"], 2),
        (["-w", "args ~ caf\udce9"], 2),
        (["-w", "args == exit 3"], 1),
        (["-w", "worker_host ~ ^host"], 6),
        (["-w", "state == rejected"], 1),
        (["-w", "state ~ ^(NEW|DONE)$"], 7),
        (["-w", "duration < 0.75"], 2),
        (["-w", "start_time > 2023-11-14T22:13:22Z"], 3),
        (["-w", "start_time > 2023-11-14T22:13:22"], 3),
        (["-w", "start_time <= 1700000002"], 3),
        (["-w", "run_id == 00010203-0405-0607-0809-0a0b0c0d0e0f"], 8),
        (["-w", "next_id != null"], 1),
        (["-w", "attempt == 2", "-R"], 1),
        (["-w", "tag ~ kind.*x"], 5),
        (["-t", "n:2"], 1),
        (["-t", "n:2.0"], 1),
        (["-t", "n:1"], 1),
        (["-t", "even:true"], 3),  # true is not 1
        (["-t", "even:1"], 0),
        (["-t", "kind"], 5),
        (["-t", "kind:y"], 0),
        (["-t", "kind:x", "-t", "n:4"], 1),
        (["-t", "none"], 2),
        (["-t", "none:null"], 2),
        (["-t", "text:7"], 0),  # it is text
        (["-t", 'text:"7"'], 2),
        (["-t", "real:1.5"], 2),
        (["-t", "missing"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_conditions_choose_tasks(database: str, options: list[str], count: int) -> None:
    assert int(output(database, "-c", *options)) == count
    assert len(rows(database, *options)) == count


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-w", "nonsense"], "nonsense"),
        (["-w", "exit_status = 3"], "exit_status = 3"),
        (["-w", "no_such_field == 1"], "no_such_field"),
        (["-w", "exit_status == abc"], "abc"),
        (["-w", "exit_status =="], "exit_status =="),
        (["-w", "exit_status > null"], "null"),
        (["-w", "duration > long"], "long"),
        (["-w", "start_time > soon"], "soon"),
        (["-w", "start_time > nan"], "nan"),  # the engines do not agree on it
        (["-w", "duration < nan"], "nan"),
        (["-w", "id == 123"], "123"),
        (["-w", "id > 00010203-0405-0607-0809-0a0b0c0d0e0f"], "id"),
        (["-w", "state == SLEEPING"], "SLEEPING"),
        (["-w", "args ~ ("], "("),
        (["-w", "priority == 99999999999999999999"], "99999999999999999999"),
        (["-g", "99999999999999999999"], "99999999999999999999"),
        (["-w", "submit_host == \udcc3"], "submit_host"),
        (["-w", "tag == 1"], "-t"),
        (["-t", "a b c"], "a b c"),
        (["-t", "group:1"], "group"),
        (["no_such_field"], "no_such_field"),
        (["-s", "no_such_field"], "no_such_field"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_makes_no_sense_is_refused_by_name(database: str, options: list[str], named: str) -> None:
    result = run(database, *options)

    assert isinstance(result.exception, RefusedError)
    assert named in str(result.exception)
    assert "\n" not in str(result.exception)


def test_values_never_become_sql() -> None:
    condition = parse_condition("reason == x' OR '1' == '1")

    assert condition.sql == "task.reason = ?"
    assert condition.values == ("x' OR '1' == '1",)


def test_json_is_one_array_of_objects_with_every_field(database: str) -> None:
    found = rows(database)

    assert [list(row) for row in found] == [list(BY_NAME)] * 8
    ok, failed = found[0], found[5]
    assert (
        ok.items()
        >= {
            "run_id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "args": "exit 0",
            "command": "exit 0",
            "tag": {"n": 0, "kind": "x", "even": True},
            "state": "DONE",
            "exit_status": 0,
            "submit_time": "2023-11-14T22:13:20.000000Z",
            "submit_host": os.uname().nodename,
            "start_time": "2023-11-14T22:13:20.000000Z",
            "duration": 0.0,
            "waited": 0.0,
            "worker_id": "77777777-7777-7777-7777-777777777777",
            "worker_host": "host1",
            "memory_max": None,
            "cwd": "/work",
            "previous_id": None,
        }.items()
    )
    assert (failed["args"], failed["exit_status"], failed["reason"]) == ("caf\\xe9 \x1b[31m", 5, "timeout")
    assert failed["next_id"] == found[7]["id"]
    assert found[7].items() >= {"previous_id": failed["id"], "attempt": 2, "state": "NEW", "command": None}.items()


def test_nothing_found_is_an_empty_array(database: str) -> None:
    assert rows(database, "-t", "missing") == []


@pytest.mark.parametrize("options", [["id"], ["-c"], ["--triage"], ["id", "-w", "args ~ ."]])
def test_no_limit_is_too_high(database: str, options: list[str]) -> None:
    """It is above all that can be found, and above the numbers of SQL."""
    assert output(database, *options, "--limit", f"{10**30}") == output(database, *options)


def test_the_order_is_that_of_a_field_else_of_submission(database: str) -> None:
    def statuses(*options: str) -> list[object]:
        return [row["exit_status"] for row in rows(database, "-w", "exit_status < 5", *options)]

    assert statuses() == [0, 1, 2, 3, 4]
    assert statuses("--desc") == [4, 3, 2, 1, 0]
    assert statuses("-s", "duration", "--desc", "-l", "2") == [4, 3]


def test_csv_has_a_header_and_quotes_what_needs_it(database: str) -> None:
    text = output(
        database, "args", "tag", "exit_status", "-s", "exit_status", "--desc", "-w", "exit_status <= 4", "--csv"
    )

    lines = list(csv.reader(text.splitlines()))
    assert lines[0] == ["args", "tag", "exit_status"]
    assert lines[1] == ["exit 4", '{"n": 4, "kind": "x", "even": true}', "4"]
    assert output(database, "args", "exit_status", "-f", "csv").splitlines()[5] == "exit 4,4"


def test_what_people_see_cannot_steer_their_terminal(database: str) -> None:
    forms = [output(database, "args", "-f", form) for form in ("normal", "plain", "table")]

    assert [("\x1b" in form, "\0" in form, "caf\\xe9 \\x1b[31m" in form) for form in forms] == [
        (False, False, True)
    ] * 3


def test_a_table_has_columns_and_plain_has_tabs(database: str) -> None:
    table = output(database, "args", "exit_status", "-f", "table", "-l", "2")
    plain = output(database, "args", "exit_status", "-f", "plain", "-l", "2")
    normal = output(database, "args", "exit_status", "reason", "-l", "2")

    assert table == "args    exit_status\nexit 0            0\nexit 1            1\n"
    assert plain == "exit 0\t0\nexit 1\t1\n"
    assert normal == "       args: exit 0\nexit_status: 0\n\n       args: exit 1\nexit_status: 1\n"


def test_a_database_may_be_read_while_its_owner_writes(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "tasks.db"))
    with store.transaction():
        store.add([a_line(b"true")], [0], b"/", T0)

    assert output(store.name, "-c") == "1\n"
    store.close()


def test_without_a_database_there_is_one_clear_error(tmp_path: Path) -> None:
    result = run(str(tmp_path / "none.db"), "-c")

    assert isinstance(result.exception, StoppedError)
    assert "none.db" in str(result.exception)


def test_on_a_network_file_system_only_its_owner_reads_it_until_the_end(tmp_path: Path) -> None:
    def on_nfs(folder: str) -> str:
        return "NFS" if folder else ""

    path = str(tmp_path / "tasks.db")
    owner = Database(path, this_process("hs-scheduler", brief=False), T0, on_nfs)
    with (
        pytest.raises(StoppedError, match=f"NFS and owned by hs-scheduler .* pid {os.getpid()}"),
        reading(path, on_nfs),
    ):
        raise AssertionError
    owner.close()

    with reading(path, on_nfs) as connection:
        assert connection.execute("SELECT count(*) FROM task").fetchone() == (0,)
    assert os.listdir(tmp_path) == ["tasks.db"], "no shared memory file was made"


def test_what_a_killed_owner_left_on_a_network_file_system_is_recovered(tmp_path: Path) -> None:
    def on_nfs(folder: str) -> str:
        return "NFS" if folder else ""

    path = str(tmp_path / "tasks.db")
    owner = Database(path, this_process("hs-scheduler", brief=False), T0, on_nfs)
    os.link(f"{path}-wal", tmp_path / "kept-wal")
    owner.connection.execute("UPDATE meta SET value = 5")
    log = Path(f"{path}-wal").read_bytes()
    owner.close()
    Path(f"{path}-wal").write_bytes(log)

    with reading(path, on_nfs) as connection:
        assert connection.execute("SELECT value FROM meta").fetchone() == (5,)
    assert sorted(os.listdir(tmp_path)) == ["kept-wal", "tasks.db"]


def test_a_reader_that_goes_away_is_no_error(database: str) -> None:
    """`hs task search | head -1`."""
    script = f"""
from hs_scheduler.commands.search import search
search(["--json", "--database", {database!r}] + ["-w", "attempt > 0"], standalone_mode=False)
"""
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    done = subprocess.run([sys.executable, "-c", script], stdout=writing_end, stderr=subprocess.PIPE, check=False)
    os.close(writing_end)

    assert (done.returncode, done.stderr) == (0, b"")


def test_the_documents_list_every_field_and_state() -> None:
    """docs/queries.md has a row for each, in the order in which they are shown."""
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "queries.md").read_text(), re.MULTILINE)
    assert rows == [*BY_NAME, *(state.name for state in State)]
