"""The copy of a piped input: real pipes and files, pumped by hand."""

import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hs_common import limits
from hs_common.limits import MIB
from hs_deploy.runs.folders import is_complete
from hs_deploy.runs.spool import LEAD_BYTES_MAX, RETRY_S, Spool
from hs_scheduler.input.input_file import open_file


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """(read end, write end); the test may close the write end itself."""
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)


def test_what_comes_is_copied_and_the_end_is_seen(pipe: tuple[int, int], tmp_path: Path) -> None:
    """Each pump takes what is there, so a slow producer is read as it comes."""
    spool = Spool(pipe[0], str(tmp_path / "input"))

    os.write(pipe[1], b"echo one\nech")
    assert spool.pump(now=0)
    assert (spool.bytes, spool.eof) == (12, False)
    os.write(pipe[1], b"o two")
    os.close(pipe[1])
    assert spool.pump(now=0)
    assert spool.pump(now=0)

    assert (spool.bytes, spool.eof, spool.source) == (17, True, None)
    assert (tmp_path / "input").read_bytes() == b"echo one\necho two"


def test_an_end_after_the_user_said_stop_is_not_taken_for_the_end_of_all(pipe: tuple[int, int], tmp_path: Path) -> None:
    """What wrote into the pipe heard the same Ctrl-C: its last line may be half a command, and more was to come."""
    spool = Spool(pipe[0], str(tmp_path / "input"))
    os.write(pipe[1], b"echo one\nrm -rf /data")
    os.close(pipe[1])

    while spool.source is not None:
        spool.pump(0, lambda: True)

    assert (spool.bytes, spool.eof, spool.failure) == (21, False, "")
    assert not is_complete(spool.path)


def test_a_redirected_file_is_copied_from_where_the_shell_left_it(tmp_path: Path) -> None:
    """`(read first; hs-cluster) < file` has consumed a line already."""
    (tmp_path / "tasks").write_bytes(b"first\nsecond\n")
    source = os.open(tmp_path / "tasks", os.O_RDONLY)
    os.read(source, 6)
    spool = Spool(source, str(tmp_path / "input"))

    while not spool.eof:
        spool.pump(now=0)
    os.close(source)

    assert (tmp_path / "input").read_bytes() == b"second\n"


def test_the_copy_is_private(pipe: tuple[int, int], tmp_path: Path) -> None:
    """Command lines may hold what is nobody else's business."""
    Spool(pipe[0], str(tmp_path / "input"))
    os.close(pipe[1])

    assert (tmp_path / "input").stat().st_mode & 0o777 == 0o600


def test_a_producer_far_ahead_has_to_wait(pipe: tuple[int, int], tmp_path: Path) -> None:
    """The disk is not filled with what nobody has read."""
    spool = Spool(pipe[0], str(tmp_path / "input"))
    spool.bytes = LEAD_BYTES_MAX

    assert spool.source is None
    spool.scheduler_read(1, 0)
    assert spool.source == pipe[0]
    os.close(pipe[1])


def test_what_the_database_holds_takes_no_disk(tmp_path: Path) -> None:
    """Also of a stream that has ended; what is still to be read stays, and so does the size, for it is read by offset."""
    (tmp_path / "tasks").write_bytes(b"true\n" * MIB)
    source = os.open(tmp_path / "tasks", os.O_RDONLY)
    spool = Spool(source, str(tmp_path / "input"))
    while not spool.eof:
        spool.pump(now=0)
    os.close(source)

    spool.scheduler_read(5 * MIB, 4 * MIB)

    status = (tmp_path / "input").stat()
    assert (status.st_size, status.st_blocks * 512 < 2 * MIB) == (5 * MIB, True)
    assert (tmp_path / "input").read_bytes()[4 * MIB :] == (b"true\n" * MIB)[4 * MIB :]


@pytest.mark.parametrize("after", [b"", b"\necho after\n"])
def test_a_line_without_end_takes_no_disk(tmp_path: Path, after: bytes) -> None:
    """As of /dev/zero: who reads the copy finds as many bytes as there were, and the lines before and after it."""
    before = b"echo before\n"
    (tmp_path / "tasks").write_bytes(before + b"x" * (16 * MIB) + after)
    source = os.open(tmp_path / "tasks", os.O_RDONLY)
    spool = Spool(source, str(tmp_path / "input"))
    while not spool.eof:
        spool.pump(now=0)
    os.close(source)

    status = (tmp_path / "input").stat()
    assert (status.st_size, status.st_blocks * 512 < 4 * MIB) == (16 * MIB + len(before + after), True)
    read = open_file(str(tmp_path / "input"))
    found = []
    while not read.ended:
        found += [(task.args[:11], task.rejected) for task in read.read(10, MIB)]
    os.close(read.fd)
    too_long = (b"x" * 11, f"line of {16 * MIB} bytes, over {MIB}")
    assert found == [(b"echo before", ""), too_long, (b"echo after", "")][: 3 if after else 2]


@pytest.fixture
def file_bytes_max() -> Iterator[int]:
    """No file of this process may grow beyond so many bytes: a write ends short, then fails with EFBIG.

    Far more than the report of these tests, which may go into a file too.
    """
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.MIB * 1024, old[1]))
    yield limits.MIB * 1024
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_copy_that_cannot_be_written_ends_the_input(
    pipe: tuple[int, int], tmp_path: Path, file_bytes_max: int
) -> None:
    """It says which file and why; what was written before counts."""
    spool = Spool(pipe[0], str(tmp_path / "input"))
    os.lseek(spool._file, file_bytes_max - 1000, os.SEEK_SET)  # a file with a hole, 1,000 bytes from the limit
    os.write(pipe[1], bytes(1001))
    os.close(pipe[1])

    assert spool.pump(now=0)

    assert spool.bytes == 1000
    assert "input cannot be written: File too large" in spool.failure
    assert spool.source is None


def fill_the_disk_of(spool: Spool) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, spool._file)
    os.close(full)


def test_a_full_disk_is_waited_for_and_then_given_up(pipe: tuple[int, int], tmp_path: Path) -> None:
    """Somebody may make room; the producer waits meanwhile, nothing is lost."""
    spool = Spool(pipe[0], str(tmp_path / "input"))
    os.write(pipe[1], b"true\n")
    os.close(pipe[1])
    fill_the_disk_of(spool)

    assert not spool.pump(now=10)
    assert (spool.source, spool.failure, spool.retry_at) == (None, "", 10 + RETRY_S)
    assert not spool.pump(now=10 + limits.STORE_WAIT_S)
    assert "No space left" in spool.failure


def test_a_disk_that_has_room_again_takes_what_was_kept(pipe: tuple[int, int], tmp_path: Path) -> None:
    """Not a byte twice, not a byte less."""
    spool = Spool(pipe[0], str(tmp_path / "input"))
    os.write(pipe[1], b"true\n")
    os.close(pipe[1])
    real = os.dup(spool._file)
    fill_the_disk_of(spool)
    spool.pump(now=0)
    os.dup2(real, spool._file)
    os.close(real)

    assert spool.pump(now=1)

    assert (spool.bytes, spool.retry_at) == (5, None)
    assert (tmp_path / "input").read_bytes() == b"true\n"
    assert spool.source == pipe[0], "and it is read again"
