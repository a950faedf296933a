"""What hs-cluster makes of the files that it is to read and to write."""

import contextlib
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from hs_common.errors import RefusedError
from hs_deploy.named_files import check_apart, check_database, open_output, open_stream, regular_file


def test_an_output_is_not_emptied_before_the_start(tmp_path: Path) -> None:
    """Something else may still be refused."""
    path = tmp_path / "out"
    path.write_text("precious")

    fd = open_output(str(path), "-o", None)
    os.write(fd, b"!")
    os.close(fd)

    assert path.read_text() == "precious!"


@pytest.mark.parametrize("path", ["/no/such/folder/out", "/tmp", ""])
def test_an_output_that_cannot_be_written_is_refused(path: str) -> None:
    """With the option that named it."""
    with pytest.raises(RefusedError, match=r"^-o: cannot write"):
        open_output(path, "-o", None)


def test_an_output_that_is_the_input_is_refused(tmp_path: Path) -> None:
    """It would be emptied before it is read. A link to it is the same file."""
    path, link = tmp_path / "tasks", tmp_path / "link"
    path.write_text("true\n")
    link.symlink_to(path)

    with pytest.raises(RefusedError, match="is the input"):
        open_output(str(link), "-e", path.stat())


@pytest.mark.parametrize(("one", "other"), [("-o", "-f"), ("-e", "--joblog"), ("-f", "--joblog")])
def test_results_into_a_file_that_is_named_twice_are_refused(tmp_path: Path, one: str, other: str) -> None:
    """One would be written over the other, at the end."""
    path = str(tmp_path / "same")

    with pytest.raises(RefusedError, match=f"{one} and {other} name the same file"):
        check_apart({one: open_output(path, one, None), other: open_output(path, other, None)})


@pytest.mark.parametrize("option", ["-o", "-e", "-f", "--joblog"])
def test_an_output_that_is_a_database_is_refused(tmp_path: Path, option: str) -> None:
    """It would be emptied, with all that was recorded."""
    path = tmp_path / "tasks.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE task (id)")

    with pytest.raises(RefusedError, match=f"^{option}: .*tasks.db is a database: choose another file"):
        open_output(str(path), option, None)


@pytest.mark.parametrize("option", ["FILE", "-o", "--joblog"])
def test_a_database_that_is_to_be_made_where_something_else_is_named_is_refused(tmp_path: Path, option: str) -> None:
    """By whatever name: one would be written over the other."""
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(RefusedError, match=f"^{option} and --database name the same file"):
        check_database(str(tmp_path / "new.db"), {"-e": None, option: str(tmp_path / "link" / "new.db")})


@pytest.mark.parametrize("path", ["both", "/dev/null"])
def test_what_cannot_be_written_over_may_be_named_twice(tmp_path: Path, path: str) -> None:
    """Both streams of the tasks are appended; a device has no content."""
    options = ("-o", "-e") if path == "both" else ("-o", "-f", "--joblog")
    check_apart({option: open_output(str(tmp_path / path), option, None) for option in options})


@pytest.mark.parametrize("option", ["-f", "--joblog"])
def test_results_into_a_pipe_are_refused_though_somebody_reads_it(tmp_path: Path, option: str) -> None:
    """The scheduler opens it later, and would wait for a reader who has seen its end meanwhile."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    with pytest.raises(RefusedError, match=f"^{option}: .*fifo is a pipe or a descriptor: name a file"):
        open_output(str(path), option, None)

    os.close(reader)


def test_an_output_into_a_pipe_nobody_reads_is_refused(tmp_path: Path) -> None:
    """Rather than waiting for a reader for ever."""
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(RefusedError, match="cannot write"):
        open_output(str(tmp_path / "fifo"), "-o", None)


def test_an_input_must_be_there(tmp_path: Path) -> None:
    """A folder is none."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RefusedError, match=str(path)):
            regular_file(str(path))


def test_a_socket_is_no_input(tmp_path: Path) -> None:
    """It cannot be opened by its name."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)

        with pytest.raises(RefusedError, match="is a socket, expected a file"):
            regular_file(path)
        with pytest.raises(RefusedError, match=f"^{path}: No such device"):
            open_stream(path)


def test_an_input_is_read_where_its_links_lead(tmp_path: Path) -> None:
    """A link that is changed while the run goes on changes nothing."""
    (tmp_path / "tasks").write_text("true\n")
    (tmp_path / "link").symlink_to("tasks")

    assert regular_file(str(tmp_path / "link")) == str(tmp_path / "tasks")


def test_an_input_that_has_no_name_any_more_is_a_stream(tmp_path: Path) -> None:
    """`/dev/fd/N` of a removed file can be read, but not found again."""
    with (tmp_path / "tasks").open("w+") as file:
        (tmp_path / "tasks").unlink()

        assert regular_file(f"/dev/fd/{file.fileno()}") is None


def test_a_fifo_is_a_stream(tmp_path: Path) -> None:
    """What was read from it is gone from it."""
    os.mkfifo(tmp_path / "fifo")

    assert regular_file(str(tmp_path / "fifo")) is None
