"""`hs config`: what it changes in a file and what it leaves, and what it says."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hs_common.config import KEYS
from hs_common.errors import RefusedError
from hs_deploy.commands import config as command
from hs_deploy.commands.settings_file import SettingsFile, changed, line_of

KEPT = """\
# mine
launcher = "srun"  # of the cluster

[worker]
# as many as fit
num_tasks = 4 # not more
shell_eval = "command -v bash"

[unknown]
x = 1
"""


@pytest.fixture(name="home")
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings, and a folder below it that we are in."""
    for name in [name for name in os.environ if name.startswith("HYPERSHELL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def hs(*words: str, **extra: Any) -> str:
    """Run `hs config`, which succeeds; return what it printed."""
    done = CliRunner().invoke(command.config, words, catch_exceptions=False, **extra)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: str) -> str:
    """Run it; return why it was refused."""
    with pytest.raises(RefusedError) as caught:
        CliRunner().invoke(command.config, words, catch_exceptions=False)
    return str(caught.value)


def test_comments_order_and_all_the_rest_stay() -> None:
    """A person keeps this file."""
    assert changed(KEPT, "worker.num_tasks", 5, "f") == KEPT.replace("num_tasks = 4", "num_tasks = 5")


@pytest.mark.parametrize(
    ("written", "value", "before", "after"),
    [
        ("worker.shell", "/bin/sh", 'shell_eval = "command -v bash"\n', 'shell = "/bin/sh"\n'),
        ("worker.shell_env", "SHELL", 'shell_eval = "command -v bash"\n', 'shell_env = "SHELL"\n'),
        ("launcher_eval", "echo x", 'launcher = "srun"  # of the cluster\n', 'launcher_eval = "echo x"\n'),
    ],
)
def test_one_form_of_a_setting_replaces_the_others(written: str, value: str, before: str, after: str) -> None:
    """Both together would be refused."""
    text = changed(KEPT, written, value, "f")
    assert before not in text
    assert after in text


def test_a_named_list_of_hosts_is_added_to_the_others() -> None:
    """`[ssh.nodelist]` is a table."""
    text = changed("[ssh.nodelist]\ngpu = 'g[1-2]' # big\n", "ssh.nodelist.cpu", "c[1-9]", "f")
    assert text == "[ssh.nodelist]\ngpu = 'g[1-2]' # big\ncpu = \"c[1-9]\"\n"


def test_a_value_where_a_section_must_be_is_not_replaced() -> None:
    """Somebody meant something by it."""
    with pytest.raises(RefusedError, match=r"f: ssh\.nodelist is a value|f: nodelist is a value"):
        changed("[ssh]\nnodelist = 'a'\n", "ssh.nodelist.gpu", "g", "f")


def test_a_broken_file_is_left_as_it_is(tmp_path: Path) -> None:
    """We do not know what it was to be."""
    path = tmp_path / "config.toml"
    path.write_text("[worker\n")
    with pytest.raises(RefusedError, match=str(path)):
        SettingsFile(str(path)).set("worker.num_tasks", 1)
    assert path.read_text() == "[worker\n"
    assert os.listdir(tmp_path) == ["config.toml"]


def test_a_new_file_is_private_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    """There may be a password in it; and people share such files on purpose."""
    file = SettingsFile(str(tmp_path / "new" / "config.toml"))
    file.set("worker.num_tasks", 1)
    assert os.stat(file.path).st_mode & 0o777 == 0o600
    os.chmod(file.path, 0o644)
    file.set("worker.num_tasks", 2)
    assert os.stat(file.path).st_mode & 0o777 == 0o644


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """People keep their files elsewhere."""
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    link.symlink_to(real)
    SettingsFile(str(link)).set("worker.num_tasks", 1)
    assert link.is_symlink()
    assert real.read_text() == "[worker]\nnum_tasks = 1\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (KEPT, 6),
        ("worker.num_tasks = 4\n", 1),
        ("\n\nworker = {shell = 'x', num_tasks = 4}\n", 3),
        ('[worker]\ntemplate = """\nnum_tasks = 1\n"""\nnum_tasks = 2', 5),
        ("[worker]\n", None),
        ("", None),
    ],
)
def test_the_line_of_a_setting(text: str, line: int | None) -> None:
    """In every way that TOML can write it."""
    assert line_of(text, "worker.num_tasks") == line


def test_set_and_get(home: Path) -> None:
    """Into the home, unless another place is named."""
    assert hs("set", "worker.num_tasks", "3") == ""
    assert hs("get", "worker.num_tasks") == "3\n"
    assert (home / ".hypershell" / "config.toml").read_text() == "[worker]\nnum_tasks = 3\n"
    hs("set", "--local", "worker.num_tasks", "4")
    assert hs("get", "worker.num_tasks") == "4\n"


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("worker.delay_start", "-5", "delay_start = -5.0"),
        ("scheduler.eager", "yes", "eager = true"),
        ("worker.template", "-x '{}' \"é\"", 'template = "-x \'{}\' \\"é\\""'),
        ("logging.file_size", "10M", 'file_size = "10M"'),
        ("logging.file", "~/log", 'file = "~/log"'),
        ("database.url_eval", "pass show db", 'url_eval = "pass show db"'),
        ("worker.num_tasks_env", "CORES", 'num_tasks_env = "CORES"'),
    ],
)
def test_a_value_is_written_as_its_setting_has_it(home: Path, key: str, value: str, line: str) -> None:
    """Text in the command, a number in the file."""
    hs("set", key, value)
    assert line in (home / ".hypershell" / "config.toml").read_text().splitlines()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("set", "worker.no_such_key", "3"), "there is no setting worker.no_such_key: hs config get lists them"),
        (("get", "server.port"), "there is no setting server.port: use broker.port"),
        (("get", ""), "there is no setting '': hs config get lists them"),
        (("get", "worker.num_task"), "there is no setting worker.num_task: do you mean worker.num_tasks?"),
        (("which", "num_tasks"), "there is no setting num_tasks: do you mean worker.num_tasks?"),
        (("set", "worker.num_tasks", "many"), "worker.num_tasks 'many' is not an integer"),
        (("set", "worker.num_tasks", "-1"), "worker.num_tasks '-1' is not in 0..10000"),
        (("set", "worker.shell_eval", ""), "hs config set: worker.shell_eval = '' names nothing"),
        (("set", "worker.template", ""), "template: '' would run nothing: give a command, as 'process {}'"),
        (("set", "launcher", "srun '"), "launcher srun ': No closing quotation: quote it as for a shell"),
        (("set", "ssh.nodelist", "n[1-"), "ssh.nodelist n[1-: the brackets do not match"),
        (("set", "ssh.nodelist.gpu", "n:0"), "ssh.nodelist.gpu n:0: 0 after the colon is no port"),
        (("set", "ssh.args", "-X"), "ssh.args -X: cannot be honoured: use -i -p -l -J -F -o, or ssh.client = openssh"),
        (("set", "database.url", "db"), "database.url: is no postgresql:// URL: a file is named by database.file"),
        (("set", "database.url", "mysql://a"), "database mysql://...: is neither a path nor a postgresql:// URL"),
        (("set", "database.file", "/etc"), "database.file /etc: is a folder, expected the path of a SQLite file"),
        (("set", "ssh.nodelist.", "a"), "ssh.nodelist.: '' is no name of a list of hosts"),
        (("get", "ssh.nodelist.gpu"), "there is no list of hosts gpu in ssh.nodelist"),
        (("set", "--local", "--system", "launcher", "x"), "--local and --system exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(home: Path, words: tuple[str, ...], why: str) -> None:
    """One line, and nothing is written."""
    assert refused(*words) == why
    assert not (home / ".hypershell").exists()


def test_a_setting_that_is_overridden_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one would wonder why it does nothing."""
    monkeypatch.setenv("HYPERSHELL_WORKER_NUM_TASKS", "9")
    said = ": worker.num_tasks is overridden by the variable HYPERSHELL_WORKER_NUM_TASKS\n"
    assert hs("set", "worker.num_tasks", "3").endswith(said)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("worker.shell", "/no/sh", "worker.shell /no/sh: no such program on this host"),
        ("launcher", "no-such-srun -N 2", "launcher no-such-srun: no such program on this host"),
        ("broker.bind", "192.0.2.1", "broker.bind 192.0.2.1: cannot listen there: Cannot assign requested address on this host"),
        ("database.file", "/no/such/x.db", "database.file /no/such/x.db: there is no folder /no/such on this host"),
    ],
)  # fmt: skip
def test_what_this_host_does_not_have_is_told_and_written(home: Path, key: str, value: str, why: str) -> None:
    """The file may be for another host, too."""
    assert hs("set", key, value).endswith(f": {why}\n")
    assert hs("get", key) == f"{value}\n"


@pytest.mark.parametrize(
    "key", ["launcher", "broker.bind", "ssh.nodelist", "ssh.args", "database.url", "database.file"]
)
def test_an_empty_value_is_as_none(home: Path, key: str) -> None:
    """It overrides that of a weaker place."""
    assert hs("set", key, "") == ""


def test_get_lists_all_and_one_section(home: Path) -> None:
    """And as JSON for machines."""
    assert [line.partition(" ")[0] for line in hs("get").splitlines()] == list(KEYS)
    assert hs("get", "scheduler").splitlines()[0] == "scheduler.bundlesize = 1"
    assert json.loads(hs("get", "--json")) == {name: key.default for name, key in KEYS.items()}
    assert json.loads(hs("get", "worker.grace", "--json")) is None


def test_a_variable_that_makes_no_sense_costs_its_own_line_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others are printed, and can be asked for."""
    monkeypatch.setenv("HYPERSHELL_WORKER_NUM_TASKS", "many")
    why = "HYPERSHELL_WORKER_NUM_TASKS: worker.num_tasks = 'many' is not an integer"

    done = CliRunner().invoke(command.config, ["get", "--json"], standalone_mode=False)

    assert json.loads(done.stdout) == {name: key.default for name, key in KEYS.items() if name != "worker.num_tasks"}
    assert (done.return_value, done.stderr.endswith(f": {why}\n")) == (2, True)
    assert hs("get", "worker.shell") == "/bin/sh\n"
    assert [refused(word, "worker.num_tasks") for word in ("get", "which")] == [why, why]


def test_which_says_where_from_what_it_overrides_and_where_it_applies(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File and line."""
    hs("set", "broker.port", "6000")
    hs("set", "--local", "broker.port_env", "PORT")
    monkeypatch.setenv("PORT", "7000")
    assert hs("which", "broker.port").splitlines() == [
        "broker.port = 7000",
        f"  from {home}/work/.hypershell/config.toml:2, the variable PORT",
        f"  overrides {home}/.hypershell/config.toml:2",
        "  applies only to a cluster that others may join (-H, -p), and to hs-broker by itself; elsewhere it is passed over",
    ]
    assert json.loads(hs("which", "broker.port", "--json"))["overrides"] == [
        {"place": f"{home}/.hypershell/config.toml", "line": 2, "written": "broker.port"}
    ]


def test_which_of_a_default(home: Path) -> None:
    """Nobody set it."""
    assert hs("which", "worker.shell") == "worker.shell = /bin/sh\n  from default\n"


def an_editor(folder: Path, script: str) -> dict[str, Any]:
    """An editor that does this to its file."""
    path = folder / "editor"
    path.write_text(f'#!/bin/sh\n{script} "$1"\n')
    path.chmod(0o755)
    return {"env": {"VISUAL": "", "EDITOR": str(path)}}


def test_edit_replaces_the_file_by_what_makes_sense(home: Path) -> None:
    """Unknown names are mentioned, as everywhere."""
    hs("set", "worker.num_tasks", "3")
    said = hs("edit", **an_editor(home, "printf '[worker]\\nnum_tasks = 5\\ncolour = 1\\n' >"))
    path = home / ".hypershell" / "config.toml"
    assert path.read_text() == "[worker]\nnum_tasks = 5\ncolour = 1\n"
    assert said.endswith(f": {path}: unknown setting worker.colour\n")


def test_edit_refuses_what_makes_no_sense(home: Path) -> None:
    """The file is as it was."""
    hs("set", "worker.num_tasks", "3")
    with pytest.raises(RefusedError, match=r"num_tasks = 0\.5 is not an integer: nothing was changed"):
        CliRunner().invoke(command.config, ["edit"], catch_exceptions=False, **an_editor(home, "sed -i s/3/0.5/"))
    assert hs("get", "worker.num_tasks") == "3\n"


def test_edit_without_a_change_writes_nothing(home: Path) -> None:
    """Not even the file."""
    assert hs("edit", **an_editor(home, "true")) == "nothing changed\n"
    assert not (home / ".hypershell" / "config.toml").exists()
