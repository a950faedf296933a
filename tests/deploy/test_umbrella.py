"""`hs`: whatever its help lists is there; and what all programs have in common."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hs_common.config import KEYS
from hs_deploy.cli import LAZY, LAZY_TASK

HS = Path(sys.executable).with_name("hs")
PROGRAMS = ("hs", "hyper-shell", "hs-cluster", "hs-broker", "hs-scheduler", "hs-worker")


def run(*argv: str) -> tuple[int, str, str]:
    """Return status, stdout and stderr of one of our programs."""
    done = subprocess.run([HS.with_name(argv[0]), *argv[1:]], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "command", [*((name,) for name in LAZY), *(("task", name) for name in LAZY_TASK)], ids=" ".join
)
def test_every_command_says_how_it_is_used(command: tuple[str, ...]) -> None:
    """The place of a lazy command is only looked at when it is used; so each is, here."""
    said = subprocess.run([HS, *command, "--help"], capture_output=True, text=True, timeout=60, check=False)

    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith(f"Usage: hs {' '.join(command)} ")


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_tells_its_version_and_those_of_what_it_speaks_with(name: str) -> None:
    """The first thing to ask of whoever has a problem."""
    status, printed, _ = run(name, "-V")
    assert status == 0
    assert re.fullmatch(r"hs-cluster [\d.]+ \(pyzmq [\d.]+, libzmq [\d.]+\)\n", printed)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        *(((name, "--no-such"), f"{name}: No such option '--no-such'") for name in PROGRAMS),
        (("hs-worker", "--num-threads", "3"), "hs-worker: there is no option --num-threads: use -N"),
        (("hs-broker", "--num-threads", "3"), "hs-broker: No such option '--num-threads': see hs-broker --help"),
        (("hs-cluster", "-j8"), "hs-cluster: there is no option -j: use -N"),
        (("hs-cluster", "--resume"), "hs-cluster: there is no option --resume: use --restart"),
        (("hs-cluster", "-P", "8"), "hs-cluster: -P 8: is for a cluster that is scaled: give -A too; tasks at a time"),
        (("hs-cluster", "echo", ":::", "a", "b"), "hs-cluster: ::: is of GNU parallel: give the lines in FILE"),
        (
            ("hs-cluster", "-N8", "gzip", "{}"),
            "hs-cluster: Got unexpected extra argument ({}): a command for each line is",
        ),
        (
            ("hs-cluster", "gzip -k"),
            "hs-cluster: gzip -k: No such file or directory: a command for each line is given by -t",
        ),
        (("hs-cluster", "no-such"), "hs-cluster: no-such: No such file or directory\n"),
        (("hs-cluster", "--progress"), "hs-cluster: No such option '--progress': see hs-cluster --help"),
        (
            ("hs-cluster", "--retry"),
            "hs-cluster: No such option '--retry'. (Did you mean one of: '--restart', '--retry-failed'?)",
        ),
        (("hs", "submit", "-a", "tasks"), "hs: No such option '-a': if it is of the command, put -- before that"),
        (("hs", "task", "search", "--jobs", "3"), "hs: No such option '--jobs': see hs task search --help"),
        (("hs-scheduler", "--arg-file", "tasks"), "hs-scheduler: there is no option --arg-file: use FILE"),
        (("hs-cluster", "--eager", "tasks"), "hs-cluster: --eager: without retries nothing goes first: give -r NUM"),
        (
            ("hs-scheduler", "--eager", "--connection", "x"),
            "hs-scheduler: --eager: without retries nothing goes first: give -r NUM",
        ),
        *(
            (("hs-scheduler", "--connection", "no-such", *words.split()), f"hs-scheduler: {said}")
            for words, said in (
                ("no-such", "input no-such: No such file or directory"),
                ("--halt soon", "--halt soon"),
                ("-f /no/folder/x", "-f /no/folder/x: there is no folder /no/folder\n"),
                ("--joblog /tmp", "--joblog /tmp: is a folder, expected the path of a file\n"),
                ("--database /no/folder/x", "database /no/folder/x: there is no folder /no/folder\n"),
            )
        ),
        (("hs-worker", "-N"), "hs-worker: Option '-N' requires an argument: see hs-worker --help"),
        (("hs", "submit", "-f"), "hs: Option '-f' requires an argument: see hs --help"),
        (("hs", "submit", "ls", "-l"), "hs: No such option '-l': if it is of the command, put -- before that"),
        (("hs", "task", "run", "ls", "-l"), "hs: No such option '-l': if it is of the command, put -- before that"),
        (("hs-worker",), "hs-worker: Missing option '--connection': see hs-worker --help"),
        (("hs-worker", "-N", "x"), "hs-worker: Invalid value for '-N'"),
        (("hs-scheduler", "-b", "0"), "hs-scheduler: Invalid value for '-b' / '--bundlesize': 0 is not in the range"),
        (("hs-broker", "-p", "0"), "hs-broker: Invalid value for '-p' / '--port': 0 is not in the range"),
        (("hs", "worker", "-N", "x"), "hs: Invalid value for '-N'"),
        (("hs", "no-such"), "hs: No such command 'no-such': hs has cluster, broker, scheduler, worker, submit, task,"),
        (("hs", "task", "no"), "hs: No such command 'no': hs task has info, run, search, update, wait\n"),
        (("hs", "worker", "no"), "hs: No such command 'no': hs worker has list, drain, stop\n"),
        (
            ("hs", "worker", "drain", ""),
            "hs: ID '': expected the id of a worker, or its start, as hs worker list shows",
        ),
        (("hs", "worker", "stop", "-"), "hs: ID '': expected the id of a worker"),
        (("hs", "config", "no"), "hs: No such command 'no': hs config has edit, get, set, which\n"),
        (("hs", "list"), "hs: there is no command list: use hs task search"),
        (("hs", "completion"), "hs: Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"),
        (("hs", "task", "search", "-F", "-S"), "hs: --failed and --succeeded exclude each other"),
        (
            ("hs", "task", "update", "--all", "--cancel", "--delete", "-y"),
            "hs: --cancel and --delete exclude each other",
        ),
        (("hs", "task", "info", "x", "--stderr", "--stdout"), "hs: --stderr and --stdout exclude each other"),
        (("hs", "task", "wait", "x", "--info", "--status"), "hs: --info and --status exclude each other"),
        (("hs", "config", "set", "worker.num_tasks", "x"), "hs: worker.num_tasks 'x' is not an integer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_misuse_is_one_line(argv: tuple[str, ...], line: str) -> None:
    """Whichever program it is."""
    status, printed, said = run(*argv)
    assert (status, printed, said.count("\n")) == (2, "", 1), said
    assert said.startswith(line)


@pytest.mark.parametrize(
    "command",
    [
        "hs --help",
        "hs -V",
        "hs-broker --help",
        "hs config get",
        "hs initdb --database new.db",
        "hs submit --database new.db true",
    ],
)
def test_output_that_nobody_can_write_is_one_line(tmp_path: Path, command: str) -> None:
    """A full disk is no defect of ours, whatever is printed."""
    status, said = shell(tmp_path, f"{command} >/dev/full")

    assert status == 3
    assert re.fullmatch(r"hs(-broker)?: stdout: No space left on device\n", said)


@pytest.mark.parametrize(
    "command", ["hs --help", "hs config get", "hs submit --database new.db true", "hs initdb --database new.db"]
)
@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_closed_stdout_is_as_one_that_nobody_reads(tmp_path: Path, command: str, closed: str) -> None:
    """No database gets its number, to be written over."""
    assert shell(tmp_path, f"{command} {closed}") == (0, "")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_misuse_that_cannot_be_told_has_its_status(tmp_path: Path, redirected: str) -> None:
    """A script may ask for the status alone."""
    assert shell(tmp_path, f"hs submit -f no-such {redirected}") == (2, "")


def test_a_url_without_its_scheme_makes_no_file(tmp_path: Path) -> None:
    """Tasks that are meant for a server are not put beside it, nor its password shown."""
    status, said = shell(tmp_path, "HYPERSHELL_DATABASE_URL=me:secret@host hs submit true")

    assert (status, said) == (2, "hs: database.url: is no postgresql:// URL: a file is named by database.file\n")
    assert not (tmp_path / "me:secret@host").exists()


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("hs task search", "hs: {}: Is a directory"),
        ("hs task update --all --cancel -y", "hs: {}: Is a directory"),
        ("hs status", "hs: {}: Is a directory"),
        ("hs-cluster --restart", "hs-cluster: {}: Is a directory"),
        ("hs task info 01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b", "hs: there is no task 01a203bd-"),
    ],
)
def test_a_folder_that_cannot_be_looked_into_is_one_line(tmp_path: Path, command: str, line: str) -> None:
    """As one that somebody else made there, or that lost its mode; to root only what is no file is unreadable."""
    (tmp_path / "site" / "runs" / "one" / "tasks.url").mkdir(parents=True)
    (tmp_path / "site" / "latest").symlink_to(tmp_path / "site" / "runs" / "one")

    status, said = shell(tmp_path, f"HYPERSHELL_SITE=site {command}")

    assert (status, said.count("\n")) == (3, 1), said
    assert re.match(line.format(f"{tmp_path}/site/(latest|runs/one)"), said)


def test_a_setting_that_cannot_be_told_keeps_no_other_from_being_told(tmp_path: Path) -> None:
    """Who asks for all of them hears which one it is."""
    file = tmp_path / ".hypershell" / "config.toml"
    file.parent.mkdir()
    file.write_text('[worker]\nshell_env = "NOWHERE"\n[logging]\nlevel_env = "NOWHERE"\n')
    shell_, level = (
        f"hs: {file}: {name}_env: there is no variable NOWHERE\n" for name in ("worker.shell", "logging.level")
    )

    assert shell(tmp_path, "hs config get worker.num_tasks") == (0, "")
    assert shell(tmp_path, "hs config get worker.shell") == (2, shell_)
    assert shell(tmp_path, "hs config get >all") == (2, shell_ + level)

    told = (tmp_path / "all").read_text().splitlines()
    assert "worker.template = {}" in told
    assert "logging.format = console" in told
    assert len(told) == len(KEYS) - 2


def test_an_editor_that_fails_is_no_reason_to_read_how_options_are_used(tmp_path: Path) -> None:
    """Help is named where help can help."""
    assert shell(tmp_path, "EDITOR=false hs config edit") == (2, "hs: false: Editing failed\n")


def shell(home: Path, text: str) -> tuple[int, str]:
    """Return status and stderr of a line of a shell, which has our programs and a home of its own."""
    env = {"HOME": str(home), "PATH": f"{HS.parent}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", text], env=env, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr
