"""Settings from a variable or a command that a file names, and those that hs-cluster hands to its daemons."""

import os
from pathlib import Path

import pytest

from hs_common import config
from hs_common.config import HANDED, KEYS, Place, Settings, load_settings, parse, read_text
from hs_common.errors import RefusedError
from hs_common.first_line import first_line


def settings_of(tmp_path: Path, content: str, **environ: str) -> Settings:
    """Load with this file in the folder, and nothing anywhere else."""
    path = tmp_path / ".hypershell" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return load_settings({"HOME": "/nowhere", **environ}, str(tmp_path), "/nowhere/hypershell.toml")


def test_a_variable_that_a_file_names_holds_the_value(tmp_path: Path) -> None:
    """`num_tasks_env = "CORES"`, read as the setting is."""
    settings = settings_of(tmp_path, '[worker]\nnum_tasks_env = "CORES"\n', CORES="12")
    assert settings.get("worker.num_tasks") == 12
    path = str(tmp_path / ".hypershell" / "config.toml")
    assert settings.places("worker.num_tasks") == (Place(path, "worker.num_tasks_env", "env", "CORES"),)


def test_a_variable_that_is_not_set_is_refused_with_its_name(tmp_path: Path) -> None:
    """Silently taking the default would be worse. It is refused by whoever needs the setting, not by others."""
    settings = settings_of(tmp_path, '[worker]\nnum_tasks_env = "CORES"\n')
    assert settings.get("worker.shell") == "/bin/sh"
    with pytest.raises(RefusedError, match=r"config.toml: worker.num_tasks_env: there is no variable CORES$"):
        settings.get("worker.num_tasks")


def test_a_value_from_a_variable_is_checked(tmp_path: Path) -> None:
    """It has the bounds of its setting."""
    settings = settings_of(tmp_path, '[worker]\nnum_tasks_env = "CORES"\n', CORES="-1")
    with pytest.raises(RefusedError, match=r"worker.num_tasks_env: worker.num_tasks = '-1' is not in 0\.\.10000"):
        settings.get("worker.num_tasks")


def test_a_command_gives_its_first_line_and_runs_once(tmp_path: Path) -> None:
    """However often the setting is asked for."""
    told = tmp_path / "told"
    settings = settings_of(tmp_path, f"launcher_eval = 'echo run >> {told}; echo srun -n2; echo more'\n")
    assert not told.exists()
    assert [settings.get("launcher"), settings.get("launcher")] == ["srun -n2", "srun -n2"]
    assert told.read_text() == "run\n"


def test_a_command_that_loses_is_not_run(tmp_path: Path) -> None:
    """A stronger place has the value."""
    told = tmp_path / "told"
    settings = settings_of(tmp_path, f"launcher_eval = 'touch {told}; echo x'\n", HYPERSHELL_LAUNCHER="mpirun")
    assert settings.get("launcher") == "mpirun"
    assert not told.exists()


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_runs_no_command(tmp_path: Path, mode: int) -> None:
    """A folder that we work in may be anybody's."""
    told = tmp_path / "told"
    settings = settings_of(tmp_path, f"launcher_eval = 'touch {told}; echo x'\n")
    (tmp_path / ".hypershell" / "config.toml").chmod(mode)
    with pytest.raises(RefusedError, match="launcher_eval is not run: others can write to the file: chmod go-w it"):
        settings.get("launcher")
    assert not told.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("launcher = 'x'\nlauncher_env = 'X'\n", "launcher and launcher_env exclude each other"),
        ("[worker]\nshell_eval = 'x'\nshell_env = 'X'\n", "worker.shell_eval and worker.shell_env exclude each other"),
        ("launcher_env = 5\n", "launcher_env = 5 is not the name of a variable"),
        ("launcher_eval = ' '\n", "launcher_eval = ' ' is not a command"),
    ],
)
def test_a_file_that_says_it_twice_or_badly_is_refused(tmp_path: Path, content: str, why: str) -> None:
    """Before anything starts."""
    with pytest.raises(RefusedError, match=why):
        settings_of(tmp_path, content)


@pytest.mark.parametrize("name", ["worker.nothing_env", "colour_eval"])
def test_a_form_of_an_unknown_setting_is_mentioned_as_it_stands(name: str) -> None:
    """So that it is found."""
    section, _, key = name.rpartition(".")
    content = (f"[{section}]\n" if section else "") + f"{key} = 'x'\n"
    assert read_text(content.encode(), "f") == ({}, [f"f: unknown setting {name}"])


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [
        ("logging.file_size", "10M", 10 << 20),
        ("logging.file_size", "4096", 4096),
        ("logging.file_size", "1.5 GiB", 3 << 29),
        ("logging.file_size", 5000, 5000),
        ("ssh.nodelist", ["a", "b[1-3]"], ["a", "b[1-3]"]),
        ("ssh.nodelist", {"gpu": "g[1-4]", "cpu": ["a", "b"]}, {"gpu": "g[1-4]", "cpu": ["a", "b"]}),
        ("logging.file", "/tmp/x~", "/tmp/x~"),
    ],
)
def test_sizes_hosts_and_paths(key: str, value: object, result: object) -> None:
    """As people write them."""
    assert parse(KEYS[key], value, "here") == result


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands what is in a file."""
    monkeypatch.setenv("HOME", "/home/me")
    assert parse(KEYS["logging.file"], "~/hs.log", "here") == "/home/me/hs.log"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("logging.file_size", "4095"),  # below what a file must hold
        ("logging.file_size", "M"),
        ("logging.file_size", "infG"),
        ("logging.file_size", True),
        ("ssh.nodelist", [1]),
        ("ssh.nodelist", {"gpu": 1}),
        ("ssh.nodelist", {"gpu": {"a": "b"}}),
        ("logging.file", 1),
    ],
)
def test_what_is_no_size_and_no_list_of_hosts_is_refused(key: str, value: object) -> None:
    """One line with the place."""
    with pytest.raises(RefusedError, match=f"^here: {key} = "):
        parse(KEYS[key], value, "here")


# --- commands ---


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("echo a; echo b", "a"),
        ("printf 'no newline'", "no newline"),
        ("echo", ""),  # an empty line is a value
        ("cat; echo done", "done"),  # its stdin is empty
        ("exec >&-; exit 0; ", None),
        ("(sleep 1000; echo late) & echo early", "early"),  # who keeps the pipe open is not waited for
    ],
)
def test_the_first_line_of_a_command(command: str, line: str | None) -> None:
    """Whatever else it prints or leaves running."""
    if line is None:
        with pytest.raises(RefusedError, match=r"^here: the command printed nothing$"):
            first_line(command, "here")
    else:
        assert first_line(command, "here") == line


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("echo secret; exit 3", "the command failed: exit status 3"),
        ("kill -9 $$", "the command failed: signal 9"),
        ("yes secret", "did not end in 60 seconds, or printed too much"),
        ("a\0b", "cannot be run"),
    ],
)
def test_a_command_that_fails_is_refused_and_its_output_is_not_shown(command: str, why: str) -> None:
    """It may be half a password."""
    with pytest.raises(RefusedError, match=why) as caught:
        first_line(command, "here", 60)
    assert "secret" not in str(caught.value)


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Nothing that was started survives."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(RefusedError, match=r"did not end in 0.2 seconds"):
        first_line(f"exec 3> {fifo}; sleep 1000 & wait", "here", 0.2)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"", "end of file comes when the last that has it open is gone"
    os.close(reader)


# --- what hs-cluster hands to its daemons ---


@pytest.fixture(name="fresh")
def _fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process to which nothing was handed yet."""
    monkeypatch.setattr(config, "_handed", [])
    return monkeypatch


def test_a_daemon_of_hs_cluster_takes_what_was_decided(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file, no other variable, and no trace of it for tasks."""
    decided = settings_of(tmp_path, "[worker]\nlease = 77\n[logging]\nfile = '/tmp/log'\n[colour]\nx = 1\n")
    fresh.setenv(HANDED, decided.for_daemons(logging_level="debug"))
    fresh.setenv("HYPERSHELL_WORKER_LEASE", "99")
    fresh.setenv("HYPERSHELL_NO_SUCH", "1")

    for _ in range(2):  # whoever asks again gets the same
        settings = load_settings()
        found = [settings.get(key) for key in ("worker.lease", "worker.grace", "logging.level", "logging.file")]
        assert found == [77.0, None, "debug", "/tmp/log"]
        assert settings.warnings == ()
    assert HANDED not in os.environ


def test_what_is_handed_over_holds_no_secret(tmp_path: Path) -> None:
    """The environment of a process is no place for one."""
    handed = settings_of(tmp_path, "[database]\nurl = 'postgresql://me:secret@host/db'\n").for_daemons()
    assert "secret" not in handed


@pytest.mark.parametrize("text", ["", "5", "[]", "{}", '{"worker.lease": 5}'])
def test_what_nobody_handed_over_is_refused(fresh: pytest.MonkeyPatch, text: str) -> None:
    """Somebody set a variable that is not theirs."""
    fresh.setenv(HANDED, text)
    with pytest.raises(RefusedError, match="unset it"):
        load_settings()
