"""`--once`: which lines are missing in the database."""

from pathlib import Path

from hs_common.tasks import Detail
from hs_scheduler.input.input_file import open_file
from hs_scheduler.input.once import Missing

Held = tuple[bytes, Detail | None, int, int]


def missing(folder: Path, text: bytes, *held: Held) -> list[bytes]:
    (folder / "tasks").write_bytes(text)
    source = Missing(open_file(str(folder / "tasks")), held)
    found = []
    while not source.ended:
        found += [task.args for task in source.read(2, 1_000)]
    return found


def test_a_line_is_there_as_often_as_the_database_holds_it(tmp_path: Path) -> None:
    """By content and occurrence."""
    held: list[Held] = [(b"a", None, 0, 0), (b"a", None, 0, 0), (b"gone", None, 0, 0)]

    assert missing(tmp_path, b"a\nb\na\na\n", *held) == [b"b", b"a"]


def test_tags_and_fields_belong_to_the_content(tmp_path: Path) -> None:
    """The same command in another group is another task; a template that hs submit gave it is not of the line."""
    tagged = Detail(1.5, 0, 0, (("n", 1),), b"echo {}")

    text = b"x # HYPERSHELL: n:1 timeout:1.5\nx # HYPERSHELL: n:2 timeout:1.5\nx # HYPERSHELL: group:1\n"

    assert len(missing(tmp_path, text, (b"x", tagged, 0, 0))) == 2
    assert len(missing(tmp_path, text, (b"x", None, 1, 0))) == 2
    assert len(missing(tmp_path, text, (b"x", None, 0, 0))) == 3


def test_nothing_held_means_all_lines(tmp_path: Path) -> None:
    """The first start."""
    assert missing(tmp_path, b"a\n\n# no task\na") == [b"a", b"a"]


def test_a_line_that_was_expanded_is_known_by_what_became_of_it(tmp_path: Path) -> None:
    """`hs submit --template` stores the command, not the line."""
    (tmp_path / "tasks").write_bytes(b"1\n2\n")
    held: list[Held] = [(b"echo 1", None, 0, 0), (b"2", None, 0, 0)]

    source = Missing(open_file(str(tmp_path / "tasks")), held, lambda task: task._replace(args=b"echo " + task.args))

    assert [task.args for task in source.read(10, 1_000)] == [b"2"]
