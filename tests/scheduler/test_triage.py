"""Failures by kind."""

import json
from pathlib import Path

import pytest
from tests.scheduler.building import a_database, output, run

from hs_common.errors import RefusedError
from hs_scheduler.commands.search import search
from hs_scheduler.search.triage import GROUPS_MAX, LINE_CHARS_MAX, OTHERS, Failure, Triage, last_line, normal

TEXTS = ("", "a\nopen /data/a17: No space (12 of 40)\n", "open /data/b3: No space (7 of 40)\n\n", "Killed\n", "x")
"""Of the stderr of five tasks; the first one succeeds."""


@pytest.fixture
def database(tmp_path: Path) -> str:
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.err").write_text(text)
    (tmp_path / "4.err").unlink()
    return a_database(tmp_path / "tasks.db", 0, 1, 1, 2, 1, folder=tmp_path)


def test_failures_of_one_kind_are_counted_together(database: str) -> None:
    kinds = json.loads(output(search, "--triage", "--json", "--database", database))

    assert [list(kind) for kind in kinds] == [
        ["count", "exit_status", "reason", "worker_host", "last_line", "sample_id", "sample_args"]
    ] * 3
    assert [(kind["count"], kind["exit_status"], kind["worker_host"], kind["last_line"]) for kind in kinds] == [
        (2, 1, "n1", "open /data/*: No space (* of *)"),
        (1, 2, "n1", "Killed"),
        (1, 1, "n1", None),
    ]
    (row,) = json.loads(output(search, "--json", "-w", f"id == {kinds[0]['sample_id']}", "--database", database))
    assert (row["args"], row["tag"]) == ("exit 1", {"n": 1})


def test_people_get_a_table_and_filters_apply(database: str) -> None:
    table = output(search, "--triage", "-w", "exit_status == 2", "--database", database).splitlines()

    assert table[0].split() == [
        "count",
        "exit_status",
        "reason",
        "worker_host",
        "last_line",
        "sample_id",
        "sample_args",
    ]
    assert [line.split()[:3] for line in table[1:]] == [["1", "2", "n1"]]
    assert len(output(search, "--triage", "-l", "1", "-f", "plain", "--database", database).splitlines()) == 1


@pytest.mark.parametrize("options", [["args"], ["-c"], ["-s", "args"], ["--desc"], ["-S"], ["-R"], ["-C"]])
def test_what_does_not_go_with_it_is_refused(database: str, options: list[str]) -> None:
    assert isinstance(run(search, "--triage", *options, "--database", database).exception, RefusedError)


@pytest.mark.parametrize(
    ("line", "same"),
    [
        (b"open /data/b3: No space (7 of 40)", "open /data/*: No space (* of *)"),
        (b"2026-01-31T12:00:01Z  host-17 died", "* * died"),
        (b"at 0x7ffe12 in 01a203bd-7b5c-7d0e-8f11-2c3d4e5f6a7b", "at * in *"),
        (b"\x1b[1;31mError\x1b[0m: exit code 3", "Error: exit code *"),
        (b"/tmp/tmp.Xy12/f: 1.5e-7, 2", "/tmp/*/f: *, *"),
        (b"caf\xe9", "caf\\xe9"),
        (b"x" * 5000, "x" * LINE_CHARS_MAX),
    ],
)
def test_what_differs_from_task_to_task_is_left_out(line: bytes, same: str) -> None:
    assert normal(line) == same


@pytest.mark.parametrize(
    ("end", "line"), [(b"", b""), (b"\n\n", b""), (b"a\nb", b"b"), (b"a\nb\n \n", b"b"), (b"10%\r20%\r", b"20%")]
)
def test_the_last_line_is_the_last_with_something_in_it(end: bytes, line: bytes) -> None:
    assert last_line(end) == line


def test_there_is_a_limit_of_kinds() -> None:
    triage = Triage()
    for number in range(GROUPS_MAX + 5):
        triage.add(Failure(b"u" * 16, b"x", number, None, "n1", None))

    rows = list(triage.rows())
    assert (len(rows), rows[0][:3]) == (GROUPS_MAX + 1, (5, None, OTHERS))
