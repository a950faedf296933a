"""What a scheduler that is started by hand takes from the settings."""

import os
from pathlib import Path
from typing import Any

import pytest

from hs_common.errors import RefusedError
from hs_scheduler.program import completed

TYPED: dict[str, Any] = {
    "file": None,
    "failures": None,
    "joblog": None,
    "no_db": False,
    "database": None,
    "bundlesize": None,
    "bundlewait": None,
    "max_retries": None,
    "eager": False,
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and no settings but those of the test."""
    for name in [name for name in os.environ if name.startswith("HYPERSHELL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_typed_wins_over_the_settings_and_they_over_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every other command."""
    monkeypatch.setenv("HYPERSHELL_SCHEDULER_BUNDLESIZE", "7")
    monkeypatch.setenv("HYPERSHELL_SCHEDULER_MAX_RETRIES", "7")
    monkeypatch.setenv("HYPERSHELL_SCHEDULER_EAGER", "yes")

    options = completed(TYPED | {"no_db": True, "max_retries": 0})

    assert (options["bundlesize"], options["bundlewait"], options["max_retries"], options["eager"]) == (7, 5.0, 0, True)


def test_tasks_are_in_the_standing_queue_unless_something_else_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is where hs submit puts them."""
    assert completed(TYPED)["database"] == str(place / ".hypershell" / "main" / "tasks.db")
    monkeypatch.setenv("HYPERSHELL_DATABASE_FILE", "/set.db")
    assert completed(TYPED)["database"] == "/set.db"
    assert completed(TYPED | {"database": "/typed.db"})["database"] == "/typed.db"
    assert completed(TYPED | {"no_db": True})["database"] is None


@pytest.mark.parametrize(("name", "option"), [("file", "FILE"), ("failures", "-f"), ("joblog", "--joblog")])
def test_an_empty_name_is_refused(name: str, option: str) -> None:
    """It is that of a variable that is not set."""
    with pytest.raises(RefusedError, match=f"^{option} '': expected "):
        completed(TYPED | {name: ""})


def test_no_database_and_one_exclude_each_other() -> None:
    """Both are named."""
    with pytest.raises(RefusedError, match="--no-db and --database"):
        completed(TYPED | {"no_db": True, "database": "x.db"})
