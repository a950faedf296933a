"""Settings: who wins, and what is refused or only mentioned."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hs_common.config import KEYS, Settings, load_settings, parse, paths
from hs_common.errors import RefusedError
from hs_common.older_settings import OURS


class Places:
    """The four places of one setting, each written when a test wants it."""

    def __init__(self, folder: Path) -> None:
        self.home, self.cwd, self.system = folder / "home", folder / "cwd", folder / "system.toml"
        self.environ = {"HOME": str(self.home), "PATH": "/bin"}

    def write(self, place: str, value: int) -> None:
        if place == "environment":
            self.environ["HYPERSHELL_WORKER_NUM_TASKS"] = str(value)
        else:
            self.file(place).write_text(f"[worker]\nnum_tasks = {value}\n")

    def file(self, place: str) -> Path:
        if place == "system":
            return self.system
        path: Path = getattr(self, place) / ".hypershell" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def load(self) -> Settings:
        return load_settings(self.environ, str(self.cwd), str(self.system))


@pytest.fixture(name="places")
def _places(tmp_path: Path) -> Places:
    return Places(tmp_path)


ORDER = ("system", "home", "cwd", "environment")
"""From the weakest to the strongest."""


def test_nothing_set_gives_the_default(places: Places) -> None:
    """Most people have no file and no variable."""
    settings = places.load()
    assert settings.get("worker.num_tasks") == 1
    assert settings.origin("worker.num_tasks") == "default"
    assert settings.warnings == ()


@pytest.mark.parametrize("strongest", range(4))
def test_the_strongest_place_wins(places: Places, strongest: int) -> None:
    """Environment over the folder, over the home, over the system."""
    for value, place in enumerate(ORDER[: strongest + 1], start=10):
        places.write(place, value)
    settings = places.load()
    assert settings.get("worker.num_tasks") == 10 + strongest
    place = ORDER[strongest]
    expected = "HYPERSHELL_WORKER_NUM_TASKS" if place == "environment" else str(places.file(place))
    assert settings.origin("worker.num_tasks") == expected


def test_places_are_merged_key_by_key(places: Places) -> None:
    """One key in a stronger file does not hide the others of a weaker one."""
    places.file("home").write_text("[worker]\nnum_tasks = 5\nshell = '/bin/bash'\n")
    places.file("cwd").write_text("[worker]\nnum_tasks = 6\n")
    settings = places.load()
    assert (settings.get("worker.num_tasks"), settings.get("worker.shell")) == (6, "/bin/bash")


def test_the_same_file_is_read_once(places: Places) -> None:
    """In one's own home the folder's file is the home's file; a warning comes once."""
    places.file("home").write_text("[worker]\nnum_taks = 5\n")
    settings = load_settings(places.environ, str(places.home), str(places.system))
    assert len(settings.warnings) == 1


def test_unknown_names_are_warnings_that_name_them(places: Places) -> None:
    """They may belong to a newer version; nothing is refused for them."""
    places.file("cwd").write_text("verbose = 1\n[worker]\nnum_taks = 5\n[colour]\nred = 1\n")
    places.environ["HYPERSHELL_NUM_THREADS"] = "5"
    path = places.file("cwd")
    assert places.load().warnings == (
        f"{path}: unknown setting verbose",
        f"{path}: unknown setting worker.num_taks",
        f"{path}: unknown setting colour",
        "environment: unknown setting HYPERSHELL_NUM_THREADS",
    )


def test_names_of_older_tools_are_answered_with_ours(places: Places) -> None:
    """What else is in a section of theirs is named as it stands."""
    places.file("cwd").write_text("[server]\nport = 5\nauth = 'x'\n")
    places.environ["HYPERSHELL_CLIENT_TIMEOUT"] = "5"
    path = places.file("cwd")
    assert places.load().warnings == (
        f"{path}: unknown setting server.port: use broker.port",
        f"{path}: unknown setting server.auth",
        "environment: unknown setting HYPERSHELL_CLIENT_TIMEOUT: use worker.timeout",
    )


def test_what_older_names_are_answered_with_is_there() -> None:
    """And no name is theirs alone that is ours too."""
    assert set(OURS.values()) <= set(KEYS)
    assert not set(OURS) & set(KEYS)


@pytest.mark.parametrize("name", ["HYPERSHELL_SITE", "HYPERSHELL_CRASH_AT", "HYPERSHELL_WORKER_EXECUTOR"])
def test_variables_that_are_no_settings_are_known(places: Places, name: str) -> None:
    """They are ours."""
    places.environ[name] = "x"
    assert places.load().warnings == ()


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("worker.num_tasks", "0", 0),
        ("worker.delay_start", "-5", -5.0),
        ("scheduler.bundlewait", "0.25", 0.25),
        ("scheduler.eager", "true", True),
        ("scheduler.eager", "0", False),
        ("scheduler.eager", "", False),
        ("worker.template", "echo {} é", "echo {} é"),
        ("launcher", "srun --mpi=pmi2", "srun --mpi=pmi2"),
        ("ssh.nodelist", "a[1-3]", "a[1-3]"),
        ("logging.level", "debug", "debug"),
    ],
)
def test_a_variable_is_read_as_its_setting_is(places: Places, key: str, typed: str, value: object) -> None:
    """Text becomes what the key holds."""
    places.environ["HYPERSHELL_" + key.replace(".", "_").upper()] = typed
    found = places.load().get(key)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("worker.num_tasks", "-1"),
        ("worker.num_tasks", "10001"),
        ("worker.num_tasks", "two"),
        ("worker.num_tasks", 1.5),
        ("worker.num_tasks", True),
        ("worker.num_tasks", [1]),
        ("broker.port", 70000),
        ("broker.port", 0),
        ("scheduler.bundlewait", "nan"),
        ("scheduler.bundlewait", "inf"),
        ("scheduler.bundlewait", True),
        ("scheduler.eager", "perhaps"),
        ("scheduler.eager", 1),
        ("worker.shell", 5),
        ("logging.level", "loud"),
        ("ssh.nodelist", 7),
    ],
)
def test_a_value_without_sense_is_refused_with_key_value_and_place(key: str, value: object) -> None:
    """One line that says what to mend."""
    with pytest.raises(RefusedError) as caught:
        parse(KEYS[key], value, "here.toml")
    message = str(caught.value)
    assert message.startswith(f"here.toml: {key} = {value!r} is ")
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"[worker", b"a = \xff", b"[worker]\nnum_tasks = 1\nnum_tasks = 2\n"])
def test_a_file_that_is_no_toml_is_refused_with_its_name(places: Places, content: bytes) -> None:
    """A half-read file would be worse."""
    places.file("cwd").write_bytes(content)
    with pytest.raises(RefusedError, match=str(places.file("cwd"))):
        places.load()


@pytest.fixture(name="elsewhere")
def _elsewhere() -> Iterator[Places]:
    """Return places that another user reaches."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Places(Path(folder))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("place", ["cwd", "home"])
def test_the_private_site_of_somebody_else_has_no_settings_for_us(elsewhere: Places, place: str) -> None:
    """Who works in the home of a colleague is not kept from working there."""
    elsewhere.write(place, 3)
    elsewhere.file(place).parent.chmod(0o700)
    os.seteuid(65534)
    try:
        settings = elsewhere.load()
    finally:
        os.seteuid(0)
    assert settings.get("worker.num_tasks") == KEYS["worker.num_tasks"].default


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_file_that_we_may_not_read_is_refused(elsewhere: Places) -> None:
    """Where its folder is open it may be meant for us."""
    elsewhere.write("cwd", 3)
    elsewhere.file("cwd").chmod(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(RefusedError, match="Permission denied"):
            elsewhere.load()
    finally:
        os.seteuid(0)


def test_a_folder_that_was_removed_has_no_settings(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor has `/` any for it."""
    places.cwd.mkdir()
    monkeypatch.chdir(places.cwd)
    places.cwd.rmdir()
    path = paths(places.environ)[2]
    assert path != "/.hypershell/config.toml"
    assert not os.path.exists(os.path.dirname(path))


def test_a_value_in_place_of_a_section_is_only_mentioned(places: Places) -> None:
    """`worker = 5` names no setting of ours."""
    places.file("cwd").write_text("worker = 5\n")
    assert places.load().warnings == (f"{places.file('cwd')}: unknown setting worker",)


def test_asking_for_an_unknown_key_is_a_mistake_of_ours(places: Places) -> None:
    """Not of the user's."""
    settings = places.load()
    for ask in (settings.get, settings.origin):
        with pytest.raises(KeyError):
            ask("worker.num_taks")


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.name)
def test_every_default_is_a_valid_value(key: Any) -> None:
    """Else a user could not write it down."""
    assert key.default is None or parse(key, key.default, "default") == key.default


def test_the_documents_list_every_setting() -> None:
    """docs/settings.md has a row for each, in the order of the table."""
    text = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE) == list(KEYS)
