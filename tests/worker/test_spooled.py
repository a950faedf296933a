"""The outputs of tasks in a spool: which records there are, without a task."""

import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.worker.building import a_task

from hs_common import limits
from hs_worker.events import Output
from hs_worker.output.frames import FrameReader, Kind
from hs_worker.output.spool_file import HEAD_BYTES, SUFFIX, Record, unpack_head
from hs_worker.output.spooled import SentWriter, Spooled, SpoolWriter
from hs_worker.output.streams import FramedStream


class Desk(NamedTuple):
    """Spooled outputs, and who waits for what tasks write."""

    spooled: Spooled
    poller: select.epoll
    folder: Path

    def task_says(self, slot: int, row: int, out: bytes, err: bytes = b"") -> Output | None:
        """A task says that and ends."""
        self.task_goes_on(slot, row, out, err)
        return self.spooled.finish(slot)

    def task_goes_on(self, slot: int, row: int, out: bytes, err: bytes = b"") -> None:
        """A task says that; what it says is taken as it comes."""
        actions = self.spooled.begin(slot, a_task(row))
        assert [number for _, _, number in actions] == [1, 2]
        for (_, fd, _), text in zip(actions, (out, err), strict=True):
            for at in range(0, len(text), 65536):
                os.write(fd, text[at : at + 65536])
                for ready, _ in self.poller.poll(0):
                    self.spooled.handle(ready)

    def records(self) -> list[tuple[Record, bytes]]:
        """Return what is in the only spool file."""
        (path,) = self.folder.glob("*" + SUFFIX)
        data, at, found = path.read_bytes(), 0, []
        while at < len(data):
            head = unpack_head(data, at)
            end = at + HEAD_BYTES + head.out + head.err
            found.append((head, data[at + HEAD_BYTES : end]))
            at = end
        return found


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Iterator[Desk]:
    poller = select.epoll()
    yield Desk(Spooled(poller, SpoolWriter(str(tmp_path)), None), poller, tmp_path)
    poller.close()


def test_what_is_said_while_a_template_is_expanded_is_said_by_its_task(desk: Desk) -> None:
    """One output, whoever prints it; and nothing of it is the next task's, should it never run."""
    desk.task_goes_on(0, 1, b"", b"warned\n")
    assert desk.spooled.finish(0, goes_on=True) is None
    desk.task_says(0, 1, b"one\n", b"said\n")
    desk.task_goes_on(0, 2, b"", b"of a task that cannot run\n")
    desk.spooled.finish(0, goes_on=True)
    desk.spooled.drop(0)
    desk.task_says(0, 3, b"three\n")
    desk.task_goes_on(0, 4, b"")
    desk.spooled.finish(0, goes_on=True)
    desk.spooled.drop(0)

    assert [(head.row, said) for head, said in desk.records()] == [
        (1, b"one\nwarned\nsaid\n"),
        (2, b"of a task that cannot run\n"),
        (3, b"three\n"),
    ]


def test_a_task_is_one_record(desk: Desk) -> None:
    """Both streams, each as it was written; no newline is needed."""
    assert desk.task_says(0, 7, b"out\n", b"err") is None
    assert desk.task_says(1, 8, b"", b"only") is None

    assert desk.records() == [(Record(7, 0, 4, 3, 1), b"out\nerr"), (Record(8, 0, 0, 4, 1), b"only")]


def test_a_silent_task_costs_nothing(desk: Desk) -> None:
    """There is not even a file."""
    assert desk.task_says(0, 7, b"") is None

    assert list(desk.folder.iterdir()) == []


def test_a_large_output_is_written_in_parts_that_name_each_other(desk: Desk) -> None:
    """So that memory does not grow with it, and others can be written in between."""
    # Given a task that says more than is kept in memory
    text = bytes(range(256)) * 2048
    desk.task_goes_on(0, 7, text)

    # When another one ends before it
    desk.task_says(1, 8, b"short")
    desk.spooled.finish(0)

    # Then the last record of each has its row, and leads back to the first
    records = desk.records()
    assert [head.row for head, _ in records] == [0, 0, 8, 7]
    assert records[3][0].earlier == HEAD_BYTES + len(records[0][1]) + 1
    assert records[1][0].earlier == 1
    assert records[0][1] + records[1][1] + records[3][1] == text


def test_a_slot_forgets_the_task_before(desk: Desk) -> None:
    """Its parts are not those of the next."""
    desk.task_says(0, 7, bytes(300_000))
    desk.task_says(0, 8, b"x")

    assert desk.records()[-1] == (Record(8, 0, 1, 0, 1), b"x")


def test_a_spool_that_cannot_be_written_fails_the_task(tmp_path: Path) -> None:
    """What it said is lost, so nobody may believe that it succeeded."""
    with select.epoll() as poller:
        desk = Desk(Spooled(poller, SpoolWriter(str(tmp_path / "missing")), None), poller, tmp_path)

        assert desk.task_says(0, 7, b"x") == Output(b"", b"", whole=False)
        assert desk.task_says(0, 8, b"") is None


def test_an_output_of_which_no_part_could_be_written_fails_the_task_too(tmp_path: Path) -> None:
    """All of it was taken before the end, which is then the end of a task that seems to have said nothing."""
    with select.epoll() as poller:
        desk = Desk(Spooled(poller, SpoolWriter(str(tmp_path / "missing")), None), poller, tmp_path)

        assert desk.task_says(0, 7, bytes(256 * limits.KIB)) == Output(b"", b"", whole=False)
        assert desk.task_says(0, 8, b"") is None


def test_a_byte_says_that_there_is_something_to_print(tmp_path: Path) -> None:
    """And a pipe that nobody empties holds nobody up."""
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with select.epoll() as poller:
        desk = Desk(Spooled(poller, SpoolWriter(str(tmp_path)), write_fd), poller, tmp_path)
        desk.task_says(0, 7, b"x")
        assert os.read(read_fd, 10) == b"\n"

        os.write(write_fd, bytes(65536))
        assert desk.task_says(0, 8, b"x") is None
    os.close(read_fd)
    os.close(write_fd)


def test_a_record_that_failed_half_way_is_written_over(tmp_path: Path) -> None:
    """A reader sees whole records only."""
    writer = SpoolWriter(str(tmp_path))

    assert writer.write(1, 0, b"one", b"") == 1
    assert writer.write(2, 0, b"", b"two") == 1 + HEAD_BYTES + 3


def test_what_is_sent_is_the_file_byte_for_byte(tmp_path: Path) -> None:
    """Each task is told how much must be there before all of its output is; who says nothing waits for nothing."""
    # Given the same tasks, one worker with a file, one whose stdout goes elsewhere
    read_fd, write_fd = os.pipe()
    with select.epoll() as poller, select.epoll() as other:
        filed = Desk(Spooled(poller, SpoolWriter(str(tmp_path)), None), poller, tmp_path)
        sent = Desk(Spooled(other, SentWriter(FramedStream(write_fd, b"w" * 16, Kind.SPOOL)), None), other, tmp_path)

        # When they say something
        for desk in (filed, sent):
            assert desk.task_says(0, 6, b"") is None
        marks = [
            output.sent
            for row, text in ((7, b"out"), (8, bytes(6000)))
            if (output := sent.task_says(0, row, text, b"err"))
        ]
        filed.task_says(0, 7, b"out", b"err")
        filed.task_says(0, 8, bytes(6000), b"err")
        sent.spooled.close(1000)

    # Then one gets what the other has
    frames = list(FrameReader().take(os.read(read_fd, 65536)))
    (path,) = tmp_path.iterdir()
    assert frames[0] == (Kind.BEGIN, b"w" * 16)
    assert {kind for kind, _ in frames[1:]} == {Kind.SPOOL}
    assert b"".join(data for _, data in frames[1:]) == path.read_bytes()
    assert marks == [HEAD_BYTES + 6, 2 * HEAD_BYTES + 6 + 6003]
    os.close(read_fd)
    os.close(write_fd)


def test_tasks_wait_for_a_reader_who_does_not_keep_up(tmp_path: Path) -> None:
    """Memory has a bound; when he reads again, nothing is missing."""
    # Given a reader who does nothing, and a task that says more than he is given credit for
    read_fd, write_fd = os.pipe()
    with select.epoll() as poller:
        writer = SentWriter(FramedStream(write_fd, b"w" * 16, Kind.SPOOL))
        desk = Desk(Spooled(poller, writer, None), poller, tmp_path)
        (_, fd, _), _ = desk.spooled.begin(0, a_task(7))
        os.set_blocking(fd, False)
        while takes_more(fd):
            os.write(fd, bytes(4096))
            for ready, _ in poller.poll(0):
                desk.spooled.handle(ready)
        assert len(writer.stream.queue) < 2 * limits.MIB

        # When he reads
        reader = FrameReader()
        frames: list[tuple[Kind, bytes]] = []
        while select.select([read_fd], [], [], 0)[0]:
            frames += reader.take(os.read(read_fd, 65536))
            for ready, _ in poller.poll(0):
                desk.spooled.handle(ready)

    # Then the task goes on, and what was taken of it has come
    assert takes_more(fd)
    assert len(b"".join(data for kind, data in frames if kind == Kind.SPOOL)) == writer.end
    assert writer.end > limits.MIB
    os.close(read_fd)
    os.close(write_fd)


def takes_more(fd: int) -> bool:
    """Whether a pipe has room."""
    return bool(select.select([], [fd], [], 0)[1])
