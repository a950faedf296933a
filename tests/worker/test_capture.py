"""The files of captured output: where they are, whose they are, and what their closing tells."""

import errno
import os
from pathlib import Path

import pytest
from tests.worker.building import a_task

from hs_worker.events import Output
from hs_worker.output.capture import Capture

UID = b"\x01\x93\xaa\xbb\xcc\xdd\x70\x01\x80\x02\x03\x04\x05\x06\x07\xef"
STEM = "0193aab/ef/0193aabb-ccdd-7001-8002-0304050607ef"


def say(actions: list[tuple[int, int, int]]) -> None:
    """Write as a task with these descriptors would."""
    for text, (_, fd, number) in zip((b"out\n", b"err\n"), actions, strict=True):
        assert number == (1 if text == b"out\n" else 2)
        os.write(fd, text)


def test_each_stream_is_a_private_file_in_a_sharded_folder(tmp_path: Path) -> None:
    """Nobody else reads what a task says."""
    capture = Capture(os.fsencode(tmp_path / "tasks"))

    say(capture.begin(3, a_task(1)._replace(uid=UID)))
    output = capture.finish(3)

    stem = tmp_path / "tasks" / STEM
    assert output == Output(os.fsencode(f"{stem}.out"), os.fsencode(f"{stem}.err"), whole=True)
    assert Path(f"{stem}.out").read_text() == "out\n"
    assert Path(f"{stem}.err").read_text() == "err\n"
    assert os.stat(f"{stem}.out").st_mode & 0o777 == 0o600
    assert os.stat(stem.parent).st_mode & 0o777 == 0o700
    assert len(output.outpath) <= capture.path_bytes_max


def test_another_dispatch_has_files_of_its_own(tmp_path: Path) -> None:
    """The first may still be writing, and may be the one that counts."""
    capture = Capture(os.fsencode(tmp_path))
    first = capture.begin(0, a_task(1)._replace(uid=UID))

    say(capture.begin(1, a_task(1, dispatch=2)._replace(uid=UID)))
    say(first)

    assert capture.finish(1).outpath == os.fsencode(tmp_path / f"{STEM}.2.out")
    assert capture.finish(0).outpath == os.fsencode(tmp_path / f"{STEM}.out")
    assert (tmp_path / f"{STEM}.2.out").read_text() == (tmp_path / f"{STEM}.out").read_text() == "out\n"


def test_what_its_template_said_comes_first(tmp_path: Path) -> None:
    """It is expanded by a process of its own, before the task runs in the same slot."""
    capture = Capture(os.fsencode(tmp_path))
    task = a_task(1)._replace(uid=UID)
    say(capture.begin(0, task))
    expanded = capture.finish(0)

    say(capture.begin(0, task))

    assert capture.finish(0) == expanded
    assert (tmp_path / f"{STEM}.err").read_text() == "err\n" * 2


def test_a_task_that_was_not_started_leaves_no_files(tmp_path: Path) -> None:
    """It comes again, as another dispatch, somewhere else perhaps."""
    capture = Capture(os.fsencode(tmp_path))
    capture.begin(0, a_task(1)._replace(uid=UID))

    capture.drop(0)

    assert list((tmp_path / STEM).parent.iterdir()) == []


def test_a_file_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    """The caller learns why."""
    (tmp_path / "tasks").write_text("not a folder")
    before = sorted(os.listdir("/proc/self/fd"))

    with pytest.raises(NotADirectoryError):
        Capture(os.fsencode(tmp_path / "tasks")).begin(0, a_task(1))

    assert sorted(os.listdir("/proc/self/fd")) == before


def test_what_the_closing_of_a_file_tells_is_heard(tmp_path: Path) -> None:
    """NFS and quotas say only then that the disk is full; both descriptors are closed all the same."""
    closed = []

    def close(fd: int) -> None:
        os.close(fd)
        closed.append(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    capture = Capture(os.fsencode(tmp_path), close)
    actions = capture.begin(0, a_task(1))

    assert not capture.finish(0).whole
    assert closed == [fd for _, fd, _ in actions]
