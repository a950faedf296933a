"""Every option of hs-cluster, by tables of rows: what it refuses, which setting it has, what it does, what it excludes.

A new option needs a row in REFUSED if it takes a value, one in SETTINGS if a setting holds where it is not typed, and one in
DONE, or in ELSEWHERE the test where its effect is shown. What it excludes needs a row in EXCLUDED. The tests of the tables
themselves fail until they are there.
"""

import os
from pathlib import Path
from typing import Any

import click
import pytest
from tests.faults.home import Home

from hs_common.config import KEYS, load_settings
from hs_deploy.cli import cluster, main
from hs_deploy.options import EXCLUSIONS, options
from hs_deploy.pages.described import describe, flat

pytestmark = pytest.mark.system

TESTS = Path(__file__).parents[1]

REFUSED = [
    ("-N", "-1", "-N '-1' is not in 0..10000"),
    ("-N", "10001", "-N '10001' is not in 0..10000"),
    ("-N", "0x", "-N '0x' is not an integer"),
    ("-N", "1.5", "-N '1.5' is not an integer"),
    ("-N", "", "-N '' is not an integer"),
    ("-t", "{= x + =}", "template: {= x + =} is no Python expression"),
    ("-t", " ", "template: ' ' would run nothing"),
    ("--shell", "/no/shell", "--shell /no/shell: no such program"),
    ("--shell", "/etc/passwd", "--shell /etc/passwd: no such program"),
    ("-b", "0", "-b '0' is not in 1..10000"),
    ("-b", "10001", "-b '10001' is not in 1..10000"),
    ("-w", "-1", "-w '-1' is not in 0..86400"),
    ("-w", "soon", "-w 'soon' is not a number"),
    ("-w", "nan", "-w 'nan' is not a number"),
    ("-r", "-1", "-r '-1' is not in 0..1000"),
    ("-r", "1001", "-r '1001' is not in 0..1000"),
    ("-f", "/no/folder/f", "-f: cannot write /no/folder/f: No such file or directory"),
    ("-f", "", "-f '': expected the path of a file"),
    ("--joblog", "", "--joblog '': expected the path of a file"),
    ("-o", "", "-o '': expected the path of a file"),
    ("-e", "", "-e '': expected the path of a file"),
    ("--shell", "", "--shell '': expected a program"),
    ("--remote-exe", "", "--remote-exe '': expected a program"),
    ("--halt", "", "--halt '': expected N, N%, now,N or now,N%"),
    ("-A", "", "-A '': is none of fixed, dynamic"),
    ("-f", "tasks", "-f: tasks is the input"),
    ("-f", "/dev/stdout", "-f: /dev/stdout is a pipe or a descriptor: name a file"),
    ("--joblog", "/dev/fd/63", "--joblog: /dev/fd/63 is a pipe or a descriptor: name a file"),
    ("--joblog", "/tmp", "--joblog: cannot write /tmp: Is a directory"),
    ("-o", "/no/folder/o", "-o: cannot write /no/folder/o"),
    ("-o", "tasks", "-o: tasks is the input"),
    ("-e", "/no/folder/e", "-e: cannot write /no/folder/e"),
    ("-W", "-1", "-W '-1' is not in 0..1000000000"),
    ("-W", "1m", "-W '1m' is not a number"),
    ("-S", "-1", "-S '-1' is not in 0..3600"),
    ("-S", "3601", "-S '3601' is not in 0..3600"),
    ("--cores", "0", "--cores '0' is not 1 or more"),
    ("--cores", "two", "--cores 'two' is not an integer"),
    ("--memory", "0", "--memory '0' is not 1 or more"),
    ("--memory", "1X", "--memory '1X' is not a size such as 512K or 10M"),
    ("--walltime", "0", "--walltime '0' is not in 1.."),
    ("--walltime", "1:00", "--walltime '1:00' is not a number"),
    ("--halt", "0", "--halt 0"),
    ("--halt", "101%", "--halt 101%"),
    ("--halt", "soon", "--halt soon"),
    ("--database", "", "--database '': expected the path"),
    ("--database", "/tmp", "--database /tmp: is a folder"),
    ("--database", "/etc/passwd", "--database /etc/passwd: is a file of another kind"),
    ("--database", "/no/folder/x.db", "--database /no/folder/x.db: there is no folder /no/folder"),
    ("-H", "nowhere.invalid", "-H nowhere.invalid: cannot listen there"),
    ("-H", "", "-H '': expected an address of this host"),
    ("-p", "0", "-p '0' is not in 1..65535"),
    ("-p", "65536", "-p '65536' is not in 1..65535"),
    ("-p", "http", "-p 'http' is not an integer"),
    ("--launcher", "no-such-launcher -n 2", "--launcher no-such-launcher: no such program"),
    ("--launcher", "'", "--launcher ': No closing quotation"),
    ("--launcher", "", "--launcher '': expected a program"),
    ("--ssh", "n[1-", "--ssh n[1-: the brackets do not match"),
    ("--ssh", "tasks", "--ssh tasks: is a file, no host"),
    ("--ssh", "", "--ssh '': expected the names of hosts"),
    ("--ssh-group", "fast", "--ssh-group fast: ssh.nodelist has no groups"),
    ("--ssh-group", "", "--ssh-group '': expected the names of hosts"),
    ("--ssh-args", "-i key", "--ssh-args is only for --ssh"),
    ("--remote-exe", "hs-worker", "--remote-exe hs-worker: is only for --ssh, --mpi and --launcher"),
    ("-A", "fast", "-A fast: is none of fixed, dynamic"),
    ("-F", "2", "-F 2: is for a cluster that is scaled: give -A too"),
    ("-P", "2", "-P 2: is for a cluster that is scaled"),
    ("-I", "2", "-I 2: is for a cluster that is scaled"),
    ("-X", "2", "-X 2: is for a cluster that is scaled"),
    ("-Y", "2", "-Y 2: is for a cluster that is scaled"),
    ("-T", "2", "-T 2: is for a cluster that is scaled"),
    ("-d", "-86401", "-d '-86401' is not in -86400..86400"),
    ("-d", "later", "-d 'later' is not a number"),
]
"""Option, value, what the one line says."""

SETTINGS: list[tuple[str, str, str, str, str, Any, Any]] = [
    ("-N", "3", "worker.num_tasks", "4", "slots", 3, 4),
    ("-t", "a {}", "worker.template", "b {}", "template", "a {}", "b {}"),
    ("--shell", "/bin/sh", "worker.shell", "/bin/bash", "shell", "/bin/sh", "/bin/bash"),
    ("-b", "3", "scheduler.bundlesize", "4", "bundlesize", 3, 4),
    ("-w", "3", "scheduler.bundlewait", "4", "bundlewait_s", 3, 4),
    ("-r", "3", "scheduler.max_retries", "4", "retries_max", 3, 4),
    ("--eager", "", "scheduler.eager", "yes", "eager", True, True),
    ("-W", "3", "worker.task_timeout", "4", "task_timeout_s", 3, 4),
    ("-H", "127.0.0.1", "broker.bind", "::1", "bind", "127.0.0.1", "::1"),
    ("-p", "6001", "broker.port", "6002", "port", 6001, 6002),
    ("-d", "-3", "worker.delay_start", "4", "delay_s", -3, 4),
    ("-F", "3", "autoscale.factor", "4", "policy.factor", 3, 4),
    ("-P", "3", "autoscale.period", "4", "policy.period_s", 3, 4),
    ("-I", "0", "autoscale.init_size", "2", "policy.init_size", 0, 2),
    ("-X", "1", "autoscale.min_size", "2", "policy.min_size", 1, 2),
    ("-Y", "3", "autoscale.max_size", "4", "policy.max_size", 3, 4),
    ("-T", "3", "worker.timeout", "4", "timeout_s", 3, 4),
    ("--database", "/tmp/a.db", "database.file", "/tmp/b.db", "database", "/tmp/a.db", "/tmp/b.db"),
    (
        "--launcher",
        "env -i",
        "launcher",
        "env -u X",
        "elsewhere.launcher",
        ("/usr/bin/env", "-i"),
        ("/usr/bin/env", "-u", "X"),
    ),
]
"""Option, value, its setting, another value of that; where they arrive, as what each."""

NEEDS = {"--eager": ["-r", "1"], **{option: ["-A", "dynamic"] for option in ("-F", "-P", "-I", "-X", "-Y", "-T")}}
"""Options that mean nothing without another."""

DONE = [
    ("-N", "seq 2 | hs-cluster -N 2 -t 'true {}'", 0, "", "of 2 slots used"),
    ("-t", "echo a | hs-cluster -t 'echo {}-{}'", 0, "a-a\n", ""),
    ("--shell", "echo '[[ a == a ]] && echo yes' | hs-cluster --shell bash", 0, "yes\n", ""),
    ("-r", "echo false | hs-cluster -r 2", 1, "", "1 failed, 2 retried"),
    ("-f", "printf 'true\nfalse\n' | hs-cluster -f out; cat out", 0, "false\n", "1 failed"),
    ("--joblog", "echo 'exit 3' | hs-cluster --joblog out; tail -1 out | cut -f 2,6,9", 0, "1\t3\texit 3\n", ""),
    ("-c", "echo 'echo hi' | hs-cluster -c; cat `hs task search outpath -f plain`", 0, "hi\n", ""),
    ("-o", "echo 'echo hi' | hs-cluster -o out >other; cat out other", 0, "hi\n", ""),
    ("-e", "echo 'echo hi >&2' | hs-cluster -q -e out 2>other; cat out other", 0, "hi\n", ""),
    ("-k", "printf 'sleep 0.5; echo 1\necho 2\n' | hs-cluster -k -N 2", 0, "1\n2\n", ""),
    ("--group-output", "echo 'echo 1; sleep 0.3; echo 2' | hs-cluster --group-output", 0, "1\n2\n", ""),
    ("-W", "echo 'sleep 60' | hs-cluster -W 0.2; hs task search reason -f plain", 0, "timeout\n", "1 failed"),
    (
        "-S",
        "echo \"trap '' INT; sleep 60\" | hs-cluster -W 2 -S 0.2; hs task search exit_status -w 'duration < 12' -f plain",
        0,
        "-15\n",
        "1 failed",
    ),
    (
        "--cores",
        "yes 'mkdir one && sleep 0.2 && rmdir one # HYPERSHELL: cores:1' | head -n 3 | hs-cluster -N 3 --cores 1",
        0,
        "",
        "3 tasks, 0 failed",
    ),
    (
        "--memory",
        "yes 'mkdir one && sleep 0.2 && rmdir one # HYPERSHELL: memory:1M' | head -n 3 | hs-cluster -N 3 --memory 1M",
        0,
        "",
        "3 tasks, 0 failed",
    ),
    ("--halt", "printf 'false\n' | hs-cluster --halt 1", 1, "", "1 failed"),
    ("--restart", "hs-cluster --restart", 0, "", "nothing to do"),
    (
        "--retry-failed",
        "echo 'test -e go' | hs-cluster; touch go; hs-cluster --retry-failed",
        0,
        "",
        "1 task, 0 failed",
    ),
    ("--once", "echo 'echo hi' >t; hs-cluster --once t; hs-cluster --once t", 0, "hi\n", ""),
    ("--initdb", "echo 'echo hi' | hs-cluster --initdb", 0, "hi\n", ""),
    (
        "--database",
        "echo true | hs-cluster --database all.db; hs task search args --database all.db -f plain",
        0,
        "true\n",
        "",
    ),
    ("--no-db", "echo true | hs-cluster --no-db; find . -name '*.db'", 0, "", "1 task, 0 failed"),
    ("-H", "echo true | hs-cluster -v -H 127.0.0.1", 0, "", "tcp://127.0.0.1:"),
    ("--no-confirm", "seq 9 | hs-cluster --no-confirm -t 'echo {}' | sort | tail -1", 0, "9\n", "9 tasks, 0 failed"),
    ("-d", "a=$(date +%s%3N); echo true | hs-cluster -d 1.5; test $(($(date +%s%3N) - a)) -gt 1500", 0, "", "0 failed"),
    ("--dry-run", "echo 'touch made' | hs-cluster --dry-run; test ! -e made", 0, "touch made\n", ""),
    ("-v", "echo true | hs-cluster -v", 0, "", "broker.started"),
    ("-q", "echo true | hs-cluster -q 2>&1", 0, "", ""),
    ("-V", "hs-cluster -V | cut -d ' ' -f 1", 0, "hs-cluster\n", ""),
    ("-h", "hs-cluster -h | head -n 1", 0, "Usage: hs-cluster [OPTIONS] [FILE]\n", ""),
]
"""Option, what is run in an empty folder, its status, its stdout, what stderr has in it."""

ELSEWHERE = {
    "-b": ("scheduler/test_numbering.py", "bundlesize"),
    "-w": ("system/test_input_oddities.py", "--bundlewait"),
    "--eager": ("scheduler/test_groups.py", "eager"),
    "--walltime": ("system/test_walltime.py", "--walltime"),
    "--forever": ("system/test_restart.py", "--forever"),
    **{option: ("system/test_autoscaling.py", f'"{option}"') for option in ("-A", "-F", "-P", "-I", "-X", "-Y", "-T")},
    "-p": ("system/test_cluster_joining.py", "-p"),
    "--ssh": ("system/test_ssh.py", "--ssh"),
    "--ssh-group": ("system/test_ssh.py", "--ssh-group"),
    "--ssh-args": ("system/test_ssh.py", "--ssh-args"),
    "--ssh-tunnel": ("system/test_ssh.py", "--ssh-tunnel"),
    "-E": ("system/test_ssh.py", "-E"),
    "--mpi": ("system/test_launcher.py", "--mpi"),
    "--launcher": ("system/test_launcher.py", "--launcher"),
    "--remote-exe": ("system/test_launcher.py", "--remote-exe"),
}
"""Option -> the file of tests that shows what it does, and what stands there."""

MODES = ("--mpi", "--launcher env", "--ssh a", "--ssh-group b")
"""Where the workers are, if not here."""

EXCLUDED = [
    ("--no-db", "--database x.db"),
    ("--no-db", "--restart"),
    ("--no-db", "--retry-failed"),
    ("--no-db", "--forever"),
    ("--no-db", "--once"),
    ("--no-db", "--initdb"),
    ("--restart", "tasks"),
    ("--restart", "--once"),
    ("--restart", "--forever"),
    ("--restart", "--dry-run"),
    ("--retry-failed", "tasks"),
    ("--retry-failed", "--once"),
    ("--retry-failed", "--forever"),
    ("--retry-failed", "--dry-run"),
    ("--dry-run", "--once"),
    ("--dry-run", "--forever"),
    ("--capture", "-o out"),
    ("--capture", "-e err"),
    ("--capture", "-k"),
    ("--capture", "--group-output"),
    ("--mpi", "--launcher env"),
    *(
        ("--autoscaling fixed", other)
        for other in ("--no-db", "--once", "--dry-run", "--mpi", "--ssh a", "--ssh-group b")
    ),
    *(("--autoscaling fixed", other) for other in ("-o out", "-e err", "-k", "--group-output")),
    *((mode, hosts) for mode in MODES[:2] for hosts in MODES[2:]),
    *((mode, other) for mode in MODES for other in ("-o out", "-e err")),
    *((mode, other) for mode in MODES[:2] for other in ("-k", "--group-output")),
    ("-q", "-v"),
]
"""What cannot be typed together; a value is not part of the name."""


def first_names() -> dict[str, click.Option]:
    """Return each option by the name that comes first in its help."""
    return {
        option.opts[0]: option for option in cluster.params if isinstance(option, click.Option) and not option.hidden
    }


def typed(*argv: str) -> dict[str, Any]:
    """Return the parameters of a command line."""
    return cluster.make_context("hs-cluster", list(argv)).params


def set_to(**environ: str) -> Any:
    """Return settings that only these variables make."""
    return load_settings({"HOME": "/nowhere", **environ}, cwd="/nowhere", system="/nowhere/hypershell.toml")


def pair(one: str, other: str) -> frozenset[str]:
    """Return the parameters of two command lines."""
    nothing = typed()
    return frozenset(name for name, value in typed(*f"{one} {other}".split()).items() if value != nothing[name])


def arrived(argv: list[str], settings: Any, place: str) -> Any:
    """Return what a command line means in one place of the options; None: there is no such place."""
    found: Any = options(typed(*argv), settings)
    for name in place.split("."):
        found = getattr(found, name, None)
    return found


def refused(home: Home, *argv: str) -> str:
    """Return the one line of a refusal, before which nothing was started."""
    done = home.run("hs-cluster", *argv)
    assert (done.returncode, done.stdout) == (2, b""), done.stderr
    assert not os.path.exists(home.path("site", "runs"))
    (line,) = done.stderr.decode().splitlines()
    return line


def test_no_option_is_missing() -> None:
    """In the tables: a new one is added to them."""
    named = first_names()
    taking = {name for name, option in named.items() if not option.is_flag and not option.count}
    assert taking == {row[0] for row in REFUSED}
    # --help is no parameter before it is asked for.
    assert {*named, "-h"} == {row[0] for row in DONE} | ELSEWHERE.keys()


def test_no_setting_is_missing() -> None:
    """The reference says which setting an option has; so does the table."""
    page = next(page for page in flat(describe(main)) if page.name == "hs-cluster")
    said = {
        option.names.partition(",")[0].partition(" ")[0]: option.setting for option in page.options if option.setting
    }
    assert said == {row[0]: row[2] for row in SETTINGS}


def test_no_exclusion_is_missing() -> None:
    """Nor is one in the table that is none."""
    assert {pair(*row) for row in EXCLUDED} == {
        frozenset({one, other}) for one in EXCLUSIONS for other in EXCLUSIONS[one]
    }


@pytest.mark.parametrize(("option", "value", "said"), REFUSED)
def test_a_value_out_of_bounds_is_refused(home: Home, option: str, value: str, said: str) -> None:
    """With one line that names both."""
    home.write("tasks", b"true\n")
    assert refused(home, option, value, "tasks").startswith(f"hs-cluster: {said}")


# --ssh without a value goes together with --ssh-group.
@pytest.mark.parametrize(("one", "other"), [*EXCLUDED, ("--ssh a", "--ssh-group b")])
def test_what_makes_no_sense_together_is_refused(home: Home, one: str, other: str) -> None:
    """With one line that names both."""
    home.write("tasks", b"true\n")
    line = refused(home, *one.split(), *other.split())
    assert " exclude each other" in line
    assert all(words.split()[0] in line for words in (one, other))


@pytest.mark.parametrize(("option", "value", "key", "text", "place", "from_option", "from_setting"), SETTINGS)
def test_an_option_wins_over_its_setting_and_that_over_the_default(
    option: str, value: str, key: str, text: str, place: str, from_option: Any, from_setting: Any
) -> None:
    """And the default of both is one."""
    others = NEEDS.get(option, [])
    argv = [*others, option, value] if value else [*others, option]
    variable = {f"HYPERSHELL_{key.replace('.', '_').upper()}": text}
    default = KEYS[key].default

    assert arrived(argv, set_to(**variable), place) == from_option
    assert arrived(others, set_to(**variable), place) == from_setting
    assert (arrived(others, set_to(), place) or default) == default
    assert default not in (from_option, from_setting) or key == "worker.shell"


@pytest.mark.parametrize(("option", "command", "status", "printed", "said"), DONE)
def test_an_option_does_what_it_says(
    home: Home, option: str, command: str, status: int, printed: str, said: str
) -> None:
    """In a run of its own."""
    done = home.run("bash", "-c", command)
    assert (done.returncode, done.stdout.decode()) == (status, printed), done.stderr
    assert said in done.stderr.decode()
    assert option in command


@pytest.mark.parametrize(("path", "words"), ELSEWHERE.values())
def test_what_an_option_does_is_shown_elsewhere(path: str, words: str) -> None:
    """The file is there and knows of it."""
    assert words in (TESTS / path).read_text()
