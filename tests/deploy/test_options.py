"""What hs-cluster refuses before anything starts, one row per bound and exclusion."""

import json
import os
from typing import Any

import pytest

from hs_common.config import Settings, load_settings
from hs_common.errors import RefusedError
from hs_deploy.arguments import settings_of
from hs_deploy.options import Options, check_exclusions, options, recall
from hs_deploy.runs.folders import Run

NOTHING: dict[str, Any] = {
    "file": None,
    "num_tasks": None,
    "template": None,
    "shell": None,
    "bundlesize": None,
    "bundlewait": None,
    "max_retries": None,
    "eager": False,
    "failures": None,
    "joblog": None,
    "capture": False,
    "keep_order": False,
    "group_output": False,
    "output": None,
    "errors": None,
    "cores": None,
    "walltime": None,
    "autoscaling": None,
    "factor": None,
    "period": None,
    "init_size": None,
    "min_size": None,
    "max_size": None,
    "timeout": None,
    "memory": None,
    "task_timeout": None,
    "signalwait": None,
    "database": None,
    "no_db": False,
    "halt": None,
    "restart": False,
    "retry_failed": False,
    "once": False,
    "forever": False,
    "initdb": False,
    "bind": None,
    "port": None,
    "ssh": None,
    "ssh_group": None,
    "ssh_args": None,
    "ssh_tunnel": False,
    "env": False,
    "mpi": False,
    "launcher": None,
    "remote_exe": None,
    "no_confirm": False,
    "delay_start": None,
    "verbose": 0,
    "quiet": False,
    "dry_run": False,
}


def some_settings(**environ: str) -> Settings:
    return load_settings({"HOME": "/nowhere", **environ}, cwd="/nowhere", system="/nowhere/hypershell.toml")


def asked(settings: Any = None, **typed: Any) -> Options:
    return options(NOTHING | typed, settings or some_settings())


@pytest.mark.parametrize(
    ("name", "low", "high", "below", "above"),
    [
        ("num_tasks", "0", "10000", "-1", "10001"),
        ("bundlesize", "1", "10000", "0", "10001"),
        ("bundlewait", "0", "86400", "-0.1", "86401"),
        ("max_retries", "0", "1000", "-1", "1000001"),
        ("port", "1", "65535", "0", "65536"),
        ("delay_start", "-86400", "86400", "-86401", "inf"),
        ("task_timeout", "0", "1e9", "-1", "1e10"),
        ("signalwait", "0", "3600", "-1", "3601"),
    ],
)
def test_every_number_has_bounds(name: str, low: str, high: str, below: str, above: str) -> None:
    """What lies outside is refused with the value and the bounds."""
    asked(**{name: low})
    asked(**{name: high})
    for wrong in (below, above):
        with pytest.raises(RefusedError, match=r"not in .*\.\.") as refused:
            asked(**{name: wrong})
        assert wrong in str(refused.value)


@pytest.mark.parametrize("name", ["num_tasks", "bundlesize", "max_retries", "port"])
@pytest.mark.parametrize("value", ["two", "1.5", "", "0x10", "nan"])
def test_a_count_is_a_whole_number(name: str, value: str) -> None:
    """Anything else is named as it was typed."""
    with pytest.raises(RefusedError, match="not an integer"):
        asked(**{name: value})


@pytest.mark.parametrize("name", ["bundlewait", "delay_start", "task_timeout", "signalwait"])
@pytest.mark.parametrize("value", ["soon", "", "nan"])
def test_seconds_are_a_number(name: str, value: str) -> None:
    """Nan would pass every comparison."""
    with pytest.raises(RefusedError, match="not a number"):
        asked(**{name: value})


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ({"no_db": True, "database": "x.db"}, "--no-db and --database"),
        ({"quiet": True, "verbose": 1}, "-q and -v"),
        ({"restart": True, "file": "tasks.txt"}, r"--restart and FILE \(tasks.txt\)"),
        ({"restart": True, "file": "-"}, "--restart and FILE"),
        ({"restart": True, "once": True}, "--restart and --once"),
        ({"restart": True, "forever": True}, "--restart and --forever"),
        ({"restart": True, "no_db": True}, "--no-db and --restart"),
        ({"retry_failed": True, "file": "tasks.txt"}, "--retry-failed and FILE"),
        ({"retry_failed": True, "once": True}, "--retry-failed and --once"),
        ({"retry_failed": True, "forever": True}, "--retry-failed and --forever"),
        ({"retry_failed": True, "no_db": True}, "--no-db and --retry-failed"),
        ({"no_db": True, "forever": True}, "--no-db and --forever"),
        ({"no_db": True, "once": True}, "--no-db and --once"),
        ({"no_db": True, "initdb": True}, "--no-db and --initdb"),
    ],
)
def test_what_makes_no_sense_together_is_refused(typed: dict[str, Any], names: str) -> None:
    """Both options are named."""
    with pytest.raises(RefusedError, match=names):
        check_exclusions(NOTHING | typed)


@pytest.mark.parametrize(
    ("typed", "reads"),
    [
        ({}, True),
        ({"file": "-"}, True),
        ({"file": "tasks.txt"}, False),
        ({"restart": True}, False),
        ({"retry_failed": True}, False),
        ({"forever": True}, False),
        ({"forever": True, "file": "-"}, True),
    ],
)
def test_stdin_is_read_where_nothing_else_is_named(typed: dict[str, Any], reads: bool) -> None:
    """Who continues or waits has no input unless it is named."""
    assert asked(**typed).reads_stdin == reads


@pytest.mark.parametrize("halt", ["0", "-1", "now", "now,0", "101%", "0%", "2.5", "", "soon"])
def test_a_halt_without_sense_is_refused(halt: str) -> None:
    """Before anything starts."""
    with pytest.raises(RefusedError, match="--halt"):
        asked(halt=halt)


def test_what_a_run_recorded_is_taken_up_unless_something_else_is_typed() -> None:
    """And the difference is said."""
    recorded = {
        "num_tasks": 4,
        "template": "a {}",
        "max_retries": 2,
        "eager": True,
        "bundlewait": 2.5,
        "halt": None,
        "cwd": "/x",
        "whole": True,
    }

    merged, differences = recall(NOTHING | {"num_tasks": "2", "bundlewait": "2.50"}, recorded)

    again = options(merged, some_settings())
    assert (again.slots, again.template, again.eager, again.bundlewait_s, again.halt) == (2, "a {}", True, 2.5, None)
    assert differences == ["--num-tasks 2 instead of 4 as recorded"]


def test_all_that_is_recorded_comes_back() -> None:
    """Each option by the name that it is typed by."""
    first = asked(
        num_tasks="3", template="t {}", bundlesize="2", bundlewait="1", max_retries="5", eager=True, no_confirm=True,
        delay_start="1", task_timeout="9", signalwait="4", output="/o", errors="/e", failures="/f", joblog="/j", halt="3%",
    )  # fmt: skip
    run = Run(uid=b"u" * 16, folder="/r", database="/r/tasks.db", runtime="/t")

    merged, differences = recall(NOTHING, json.loads(json.dumps(settings_of(first, run, spooled=True))))

    assert options(merged, some_settings()) == first
    assert differences == []


@pytest.mark.parametrize(
    ("database", "why"),
    [
        ("/no/such/folder/tasks.db", "no folder"),
        ("/tmp", "is a folder"),
        ("mysql://host/db", "neither a path nor a postgresql:// URL"),
    ],
)
def test_a_database_that_cannot_be_is_refused(database: str, why: str) -> None:
    """SQLite makes a missing file, not a missing folder."""
    with pytest.raises(RefusedError, match=why):
        asked(database=database)


@pytest.mark.parametrize("shell", ["no-such-shell-at-all", "/etc/passwd", "/no/such/shell"])
def test_a_shell_that_cannot_be_executed_is_refused(shell: str) -> None:
    """Otherwise every task would fail."""
    with pytest.raises(RefusedError, match=shell):
        asked(shell=shell)


def test_a_shell_is_looked_for_on_the_path() -> None:
    """`--shell sh` is what people type."""
    assert os.path.isabs(asked(shell="sh").shell)


def test_the_defaults() -> None:
    """As the reference says."""
    options = asked()

    assert (options.slots, options.template, options.shell) == (1, "{}", "/bin/sh")
    assert (options.bundlesize, options.bundlewait_s, options.retries_max, options.eager) == (1, 5.0, 0, False)
    assert (options.delay_s, options.task_timeout_s, options.signalwait_s) == (0, 0, 10)
    assert (options.no_db, options.database, options.confirm, options.listens) == (False, None, True, False)
    assert options.level is None


def test_an_option_wins_over_a_setting() -> None:
    """Option > environment > default."""
    settings = some_settings(HYPERSHELL_WORKER_NUM_TASKS="3", HYPERSHELL_SCHEDULER_EAGER="yes")

    assert asked(settings).slots == 3
    assert asked(settings).eager
    assert asked(settings, num_tasks="4").slots == 4


def test_a_setting_that_does_not_apply_is_passed_over() -> None:
    """Exclusions are judged among options typed."""
    settings = some_settings(HYPERSHELL_DATABASE_FILE="/tmp/x.db", HYPERSHELL_BROKER_PORT="6000")

    assert asked(settings).database == "/tmp/x.db"
    assert asked(settings, no_db=True).database is None
    assert not asked(settings).listens, "a port in a file opens none"
    assert asked(settings, bind="127.0.0.1").port == 6000


@pytest.mark.parametrize(
    ("typed", "level"),
    [
        ({}, None),
        ({"verbose": 1}, "info"),
        ({"verbose": 2}, "debug"),
        ({"verbose": 5}, "debug"),
        ({"quiet": True}, "error"),
    ],
)
def test_v_and_q_set_the_level_of_the_log(typed: dict[str, Any], level: str | None) -> None:
    """Without them the settings do."""
    assert asked(**typed).level == level


def test_a_dash_is_stdin() -> None:
    """Like no FILE at all."""
    assert asked(file="-").file is None
