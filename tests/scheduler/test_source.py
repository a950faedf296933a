"""Task lines out of files, spools and pipes."""

import contextlib
import os
import select
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hs_common import limits
from hs_common.errors import RefusedError, StoppedError
from hs_common.tasks import Detail
from hs_scheduler.input.input_file import check_file, open_file, resume, verify
from hs_scheduler.input.lines import PREVIEW_BYTES, Lines
from hs_scheduler.input.source import FileSource, Source, StreamSource
from hs_scheduler.stores.store import NewTask

MANY = 1_000_000


def everything(source: Source, lines_max: int = MANY) -> list[NewTask]:
    """Return all tasks that can be had now."""
    return list(chunks(source, lines_max))


def chunks(source: Source, lines_max: int = MANY) -> Iterator[NewTask]:
    while tasks := source.read(lines_max, MANY):
        yield from tasks


def args(tasks: list[NewTask]) -> list[bytes]:
    return [task.args for task in tasks]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.txt"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            assert end == ends[1], "only the writing end is closed by a test"


def a_source(path: Path, content: bytes) -> FileSource:
    path.write_bytes(content)
    return open_file(str(path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n\n  \n\t\n", []),
        (b"echo 1\necho 2\n", [b"echo 1", b"echo 2"]),
        (b"echo 1\necho 2", [b"echo 1", b"echo 2"]),  # the last line counts without a newline
        (b"echo 1\r\necho 2\r\n", [b"echo 1", b"echo 2"]),
        (b"# comment\n  # another\necho 1\n", [b"echo 1"]),
        (b'echo "issue #5"\necho $#\necho ${x#y}\n', [b'echo "issue #5"', b"echo $#", b"echo ${x#y}"]),
        (b"echo a # a comment of the shell\n", [b"echo a # a comment of the shell"]),
        (b"caf\xe9 \xff\n", [b"caf\xe9 \xff"]),
        (b"  echo indented  \n", [b"  echo indented  "]),
        (b"a\x0bb\x0cc\x85d\n", [b"a\x0bb\x0cc\x85d"]),  # only a newline ends a line
        (b"# foo # HYPERSHELL: n:1\necho\n", [b"echo"]),
        (b"\xef\xbb\xbfecho 1\n\xef\xbb\xbfecho 2\n", [b"echo 1", b"\xef\xbb\xbfecho 2"]),  # at the start alone
        (b"\xef\xbb\xbf# comment\necho 1", [b"echo 1"]),
        (b"\xef\xbb\xbf", []),
    ],
)
def test_lines_are_tasks_except_blanks_and_comments(path: Path, content: bytes, expected: list[bytes]) -> None:
    source = a_source(path, content)

    tasks = everything(source)

    assert args(tasks) == expected
    assert {task[1:] for task in tasks} <= {(None, 0, 0, "")}
    assert (source.ended, source.offset) == (True, len(content))


def test_tags_of_a_line_and_of_all_following_lines(path: Path) -> None:
    source = a_source(path, b"a # HYPERSHELL: n:1\n# HYPERSHELL: group:2 n:5 k:x\nb\nc # HYPERSHELL: n:7 cores:3\n")

    assert everything(source) == [
        NewTask(b"a", Detail(0.0, 0, 0, (("n", 1),), b""), 0, 0, ""),
        NewTask(b"b", Detail(0.0, 0, 0, (("n", 5), ("k", "x")), b""), 2, 0, ""),
        NewTask(b"c", Detail(0.0, 3, 0, (("n", 7), ("k", "x")), b""), 2, 0, ""),
    ]
    assert source.tags == (("group", 2), ("n", 5), ("k", "x"))


def test_what_can_never_run_is_rejected_and_the_rest_goes_on(path: Path) -> None:
    too_long = b"x" * (limits.LINE_BYTES_MAX + 1)
    source = a_source(path, b"a\0b\n" + too_long + b"\nc # HYPERSHELL: group:x\n" + too_long[1:] + b"\nd\n")

    nul, long, tag, longest, plain = everything(source)

    assert (nul.args, nul.rejected) == (b"a\0b", "NUL in the line")
    assert (long.args, long.rejected) == (too_long[:PREVIEW_BYTES], "line of 1048577 bytes, over 1048576")
    assert tag.args == b"c # HYPERSHELL: group:x"
    assert "group:x" in tag.rejected
    assert (longest.args, longest.rejected) == (too_long[1:], "")
    assert (plain.args, plain.rejected) == (b"d", "")


def test_a_line_without_end_is_never_buffered_whole() -> None:
    lines = Lines()
    for _ in range(40):
        lines.feed(b"y" * 131_072)
        assert len(lines._buffer) <= limits.LINE_BYTES_MAX + 131_072
    lines.feed(b"\necho\n")

    long, plain = lines.take(MANY, MANY)

    assert (long.args, long.rejected) == (b"y" * PREVIEW_BYTES, f"line of {40 * 131_072} bytes, over 1048576")
    assert plain.args == b"echo"
    assert (lines.offset, lines.line, lines.buffered) == (40 * 131_072 + 6, 2, 0)


def test_a_read_is_bounded_in_lines_and_bytes(path: Path) -> None:
    source = a_source(path, b"echo 1\necho 2\necho 3\necho 4\n")

    assert args(source.read(1, MANY)) == [b"echo 1"]
    assert (source.offset, source.line) == (7, 1)
    assert args(source.read(MANY, 15)) == [b"echo 2", b"echo 3"]
    assert args(source.read(MANY, 1)) == [b"echo 4"], "one line at least"
    assert source.ended


@given(
    content=st.lists(
        st.sampled_from([b"echo 1", b"", b" ", b"\xef\xbb\xbfa", b"# c", b"a\r", b"x # HYPERSHELL: n:1",
                         b"# HYPERSHELL: k:2", b"y" * 50, b"#\0"]),
        max_size=30,
    ),
    newline=st.booleans(),
    cuts=st.lists(st.integers(1, 40), max_size=30),
    lines_max=st.integers(1, 5),
)  # fmt: skip
def test_however_it_arrives_the_lines_are_the_same(
    content: list[bytes], newline: bool, cuts: list[int], lines_max: int
) -> None:
    """The offset is that of the next line after each read, so that a successor can go on there."""
    text = b"\n".join(content) + (b"\n" if newline and content else b"")
    whole = Lines()
    whole.feed(text)
    whole.finish()
    expected = whole.take(MANY, MANY)

    pieces = Lines()
    found: list[NewTask] = []
    rest = text
    for cut in [*cuts, len(text)]:
        pieces.feed(rest[:cut])
        rest = rest[cut:]
        if not rest:
            pieces.finish()
        while pieces.whole:
            found += pieces.take(lines_max, MANY)
            assert pieces.offset == len(text) or text[pieces.offset - 1 : pieces.offset] == b"\n"
            resumed = Lines(pieces.offset, pieces.line, pieces.tags)
            resumed.feed(text[pieces.offset :])
            resumed.finish()
            assert found + resumed.take(MANY, MANY) == expected

    assert found == expected
    assert (
        (pieces.offset, pieces.line, pieces.tags)
        == (whole.offset, whole.line, whole.tags)
        == (len(text), whole.line, whole.tags)
    )


def test_a_spool_is_read_as_far_as_it_is_announced(path: Path) -> None:
    path.write_bytes(b"")
    with path.open("ab", buffering=0) as spool:
        source = FileSource(os.open(path, os.O_RDONLY), str(path), limit=0, grows=True)
        assert (source.read(MANY, MANY), source.ended, source.available()) == ([], False, False)

        spool.write(b"echo 1\necho")
        source.announce(11, eof=False)
        assert source.available()
        assert args(source.read(MANY, MANY)) == [b"echo 1"]
        assert (source.offset, source.available(), source.ended) == (7, False, False)
        assert source.read(MANY, MANY) == [], "half a line is none"

        spool.write(b" 2")
        source.announce(13, eof=True)
        assert source.available()
        assert args(source.read(MANY, MANY)) == [b"echo 2"]
        assert (source.offset, source.available(), source.ended) == (13, False, True)


def test_an_empty_spool_that_is_complete_has_ended(path: Path) -> None:
    path.write_bytes(b"")
    source = FileSource(os.open(path, os.O_RDONLY), str(path), limit=0, grows=True)

    source.announce(0, eof=True)

    assert source.ended
    assert source.read(MANY, MANY) == []


def test_a_successor_goes_on_where_the_lines_were_committed(path: Path) -> None:
    source = a_source(path, b"# HYPERSHELL: k:1\necho 1\necho 2\necho 3")
    source.read(2, MANY)
    state = source.state()

    again = resume(state, grows=False)

    assert (again.offset, again.line, again.tags) == (25, 2, (("k", 1),))
    assert args(everything(again)) == [b"echo 2", b"echo 3"]
    assert again.state().ended


def test_a_successor_of_a_spool_waits_for_what_is_announced(path: Path) -> None:
    path.write_bytes(b"echo 1\necho 2\n")
    source = FileSource(os.open(path, os.O_RDONLY), str(path), limit=7, grows=True)
    source.read(MANY, MANY)

    again = resume(source.state(), grows=True)

    assert (again.read(MANY, MANY), again.ended) == ([], False)
    again.announce(14, eof=True)
    assert (args(again.read(MANY, MANY)), again.ended) == ([b"echo 2"], True)


def test_a_file_that_changes_under_the_run_ends_it(path: Path) -> None:
    source = a_source(path, b"echo 1\necho 2\n")
    source.read(1, MANY)
    with path.open("ab") as file:
        file.write(b"echo 3\n")

    with pytest.raises(StoppedError, match="was changed"):
        source.read(1, MANY)


@pytest.mark.parametrize("change", ["grown", "cut", "touched", "replaced", "gone"])
def test_a_file_that_changed_before_the_run_goes_on_ends_it(path: Path, change: str) -> None:
    source = a_source(path, b"echo 1\necho 2\n")
    source.read(1, MANY)
    state = source.state()
    actions: dict[str, Callable[[], object]] = {
        "grown": lambda: path.write_bytes(b"echo 1\necho 2\necho 3\n"),
        "cut": lambda: path.write_bytes(b"echo 1\n"),
        "touched": lambda: os.utime(path, ns=(1, 1)),
        "replaced": lambda: (path.rename(f"{path}.old"), path.write_bytes(b"echo 1\necho 2\n")),
        "gone": path.unlink,
    }

    actions[change]()

    with pytest.raises(StoppedError, match=str(path)):
        resume(state, grows=False)


def test_a_spool_may_have_grown_but_not_shrunk(path: Path) -> None:
    path.write_bytes(b"echo 1\n")
    fd = os.open(path, os.O_RDWR)
    state = FileSource(fd, str(path), grows=True).state()

    os.pwrite(fd, b"echo 2\n", 7)
    verify(fd, state, grows=True)
    os.ftruncate(fd, 3)

    with pytest.raises(StoppedError, match="was changed"):
        verify(fd, state, grows=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"echo\n\n# comment\nb # HYPERSHELL: group:x\n", "line 4: bad tag group:x"),
        (b"# HYPERSHELL: cores:0\n", "line 1: bad tag cores:0"),
        (b"a\n" * 200_000 + b"b # HYPERSHELL: *", "line 200001: bad tag *"),
        (b"a # HYPERSHELL: n:1\nb # HYPERSHELL: :1\n", "line 2: bad tag :1"),
        (b"z" * 2_000_000 + b" # HYPERSHELL: group:x\nb # HYPERSHELL: :1\n", "line 2: bad tag :1"),  # the first is REJECTED
    ],
    ids=["in a line", "global", "last line of many", "second", "behind a line that is too long"],
)  # fmt: skip
def test_a_bad_tag_in_a_file_is_found_before_anything_starts(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)

    with pytest.raises(RefusedError) as caught:
        check_file(str(path))

    assert str(caught.value).startswith(f"{path}, {said}")


def test_a_file_without_bad_tags_passes(path: Path) -> None:
    path.write_bytes(b"a # HYPERSHELL: n:1\r\necho 'x # HYPERSHELL: *'\nc")

    check_file(str(path))


def test_what_cannot_be_an_input_is_refused_by_name(path: Path, tmp_path: Path) -> None:
    for bad in (path, tmp_path):
        with pytest.raises(RefusedError, match=str(bad)):
            check_file(str(bad))
        with pytest.raises(RefusedError, match=str(bad)):
            open_file(str(bad))


def test_a_database_is_no_input(path: Path) -> None:
    """Lines of its tasks would be run, those that were run before too."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE task (\nid)")

    with pytest.raises(RefusedError, match="is a database, expected a file with one task per line"):
        check_file(str(path))


def test_a_fifo_is_not_looked_into(path: Path) -> None:
    os.mkfifo(path)

    check_file(str(path))

    with pytest.raises(RefusedError, match="no regular file"):
        open_file(str(path))


def test_who_writes_to_a_fifo_meanwhile_does_not_lose_its_reader(path: Path) -> None:
    """Opened and closed again it would let the writer begin, and what it writes be lost."""
    os.mkfifo(path)
    with subprocess.Popen(["sh", "-c", 'echo ready; echo line >"$0"', path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.read(6) == b"ready\n"
        for _ in range(1_000):  # it is about to open it, or waits for a reader there
            check_file(str(path))

        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            assert select.select([fd], [], [], 30)[0]
            assert (os.read(fd, 100), writer.wait(30)) == (b"line\n", 0)
        finally:
            os.close(fd)


def test_a_stream_is_read_as_it_comes(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    source = StreamSource(reading)
    assert (source.read(MANY, MANY), source.ended) == ([], False)

    os.write(writing, b"echo 1\necho 2\nec")
    assert args(source.read(1, MANY)) == [b"echo 1"]
    assert source.available()
    assert args(source.read(1, MANY)) == [b"echo 2"]
    assert (source.read(1, MANY), source.available(), source.ended) == ([], False, False)

    os.write(writing, b"ho 3")
    os.close(writing)
    assert args(source.read(MANY, MANY)) == [b"echo 3"]
    assert (source.ended, source.offset, source.line) == (True, 20, 3)
    assert source.read(MANY, MANY) == []


def test_half_a_line_at_the_end_of_a_stream_counts_when_somebody_says_so(pipe: tuple[int, int]) -> None:
    """Its writer may have been ended by the same Ctrl-C as we; what is whole before it counts at once."""
    reading, writing = pipe
    os.write(writing, b"echo 1\nech")
    os.close(writing)
    source = StreamSource(reading, asks=True)

    assert args(source.read(MANY, MANY)) == [b"echo 1"]
    assert (source.read(MANY, MANY), source.asking, source.reads, source.ended) == ([], True, False, False)

    source.accept()

    assert not source.asking
    assert (args(source.read(MANY, MANY)), source.ended) == ([b"ech"], True)


def test_a_stream_that_ends_with_a_whole_line_asks_nobody(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"echo 1\n")
    os.close(writing)
    source = StreamSource(reading, asks=True)

    assert args(source.read(MANY, MANY)) == [b"echo 1"]
    assert (source.read(MANY, MANY), source.asking, source.ended) == ([], False, True)


def test_a_stream_of_comments_ends_too(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"# one\n# two")
    os.close(writing)
    source = StreamSource(reading)

    assert (source.read(1, MANY), source.ended) == ([], True)


def test_a_bad_tag_in_a_stream_rejects_that_line(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.write(writing, b"# HYPERSHELL: group:x\necho # HYPERSHELL: n:1\n")
    os.close(writing)

    bad, good = everything(StreamSource(reading))

    assert "group:x" in bad.rejected
    assert (good.args, good.rejected) == (b"echo", "")
