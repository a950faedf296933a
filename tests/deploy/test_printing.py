"""What is printed when, of outputs that a worker spooled."""

import os
import resource
from pathlib import Path
from struct import pack

import pytest

from hs_deploy.holes import WORTH_BYTES
from hs_deploy.output.printing import Printer
from hs_deploy.output.relay import Outlet
from hs_deploy.runs.folders import ORDER_NAME
from hs_worker.output.spooled import SpoolWriter


class Page:
    """A printer whose stdout and stderr are files."""

    def __init__(self, folder: Path, *, in_order: bool) -> None:
        self.folder = folder / "outputs"
        self.folder.mkdir()
        self.paths = (folder / "out", folder / "err")
        fds = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600) for path in self.paths]
        out, err = (Outlet(fd) for fd in fds)
        self.printer = Printer(str(self.folder), (out, out.write), (err, err.write), in_order=in_order)

    def order(self, *rows: int | tuple[int, int]) -> None:
        """The scheduler says that these are settled."""
        with (self.folder / ORDER_NAME).open("ab") as file:
            for row in rows:
                file.write(pack("<QQ", *(row if isinstance(row, tuple) else (row, row))))

    def prints(self) -> tuple[bytes, bytes]:
        """Print what can be printed; return all that stands on both."""
        while self.printer.pump():
            pass
        return self.paths[0].read_bytes(), self.paths[1].read_bytes()


def test_outputs_are_printed_in_the_order_that_the_scheduler_says(tmp_path: Path) -> None:
    """Whatever the order in which they ended."""
    page = Page(tmp_path, in_order=True)
    spool = SpoolWriter(str(page.folder))
    for row in (3, 1, 2):
        spool.write(row, 0, b"out%d\n" % row, b"err%d\n" % row)

    assert page.prints() == (b"", b"")
    page.order(1, 2)
    assert page.prints() == (b"out1\nout2\n", b"err1\nerr2\n")
    page.order(3)
    assert page.prints() == (b"out1\nout2\nout3\n", b"err1\nerr2\nerr3\n")


def test_only_the_last_attempt_is_printed_in_the_place_of_the_first(tmp_path: Path) -> None:
    """The others failed, and that is recorded."""
    page = Page(tmp_path, in_order=True)
    spool = SpoolWriter(str(page.folder))
    for row, text in ((1, b"failed "), (2, b"two "), (3, b"one ")):
        spool.write(row, 0, text, b"")

    page.order((1, 3), 2)

    assert page.prints() == (b"one two ", b"")


@pytest.mark.parametrize("found", [(1, 2), (2, 1)], ids=["in order", "late"])
def test_a_task_that_ran_twice_is_printed_as_it_ran_last(tmp_path: Path, found: tuple[int, int]) -> None:
    """Its first worker died, or was stopped; the second one has a file of its own, which may be looked at first."""
    page = Page(tmp_path, in_order=True)
    said = {1: b"first", 2: b"second"}
    SpoolWriter(str(page.folder)).write(1, 0, said[found[0]], b"", found[0])
    page.order(9)
    page.prints()
    SpoolWriter(str(page.folder)).write(1, 0, said[found[1]], b"", found[1])

    page.order(1)

    assert page.prints() == (b"second", b"")


def test_whole_outputs_are_printed_as_they_come(tmp_path: Path) -> None:
    """Without an order, and without waiting for one."""
    page = Page(tmp_path, in_order=False)
    spool = SpoolWriter(str(page.folder))

    spool.write(2, 0, b"two\n", b"")
    assert page.prints() == (b"two\n", b"")
    spool.write(1, 0, b"one\n", b"")
    assert page.prints() == (b"two\none\n", b"")


def test_the_parts_of_an_output_are_printed_together(tmp_path: Path) -> None:
    """Though another one was written in between."""
    page = Page(tmp_path, in_order=False)
    spool = SpoolWriter(str(page.folder))
    first = spool.write(0, 0, b"a" * 200_000, b"")
    spool.write(2, 0, b"between", b"")
    second = spool.write(0, first, b"b", b"e")
    spool.write(1, second, b"c", b"")

    assert page.prints() == (b"between" + b"a" * 200_000 + b"bc", b"e")


@pytest.mark.parametrize("missing", [1, 5, 33])
def test_a_record_that_is_not_whole_is_waited_for(tmp_path: Path, missing: int) -> None:
    """Its writer is about to write the rest; or it died, and then the task has not ended."""
    page = Page(tmp_path, in_order=False)
    SpoolWriter(str(page.folder)).write(1, 0, b"12345", b"")
    (path,) = page.folder.glob("*.spool")
    data = path.read_bytes()

    path.write_bytes(data[:-missing])
    assert page.prints() == (b"", b"")
    path.write_bytes(data)
    assert page.prints() == (b"12345", b"")


def test_a_reader_who_does_not_keep_up_is_waited_for(tmp_path: Path) -> None:
    """What waits stays on disk, not in memory."""
    page = Page(tmp_path, in_order=False)
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    slow = Outlet(write_fd)
    page.printer = Printer(str(page.folder), (slow, slow.write), (slow, slow.write), in_order=False)
    spool = SpoolWriter(str(page.folder))
    for row in range(1, 31):
        spool.write(row, 0, b"x" * 100_000, b"")

    while page.printer.pump():
        pass
    assert page.printer.full

    got = 0
    while got < 3_000_000:
        got += len(os.read(read_fd, 65536))
        slow.flush()
        page.printer.pump()
    assert not slow.waits
    os.close(read_fd)
    os.close(write_fd)


def test_a_killed_printer_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    """What was printed is not printed again; what was not, is."""
    page = Page(tmp_path, in_order=True)
    spool = SpoolWriter(str(page.folder))
    for row in (1, 2, 3):
        spool.write(row, 0, b"%d\n" % row, b"")
    page.order(1)
    assert page.prints() == (b"1\n", b"")

    page.order(2, 3)
    out, err = page.printer.outlets
    page.printer = Printer(str(page.folder), (out, out.write), (err, err.write), in_order=True)

    assert page.prints() == (b"1\n2\n3\n", b"")


def test_a_killed_printer_of_whole_outputs_is_followed_by_one_that_goes_on(tmp_path: Path) -> None:
    """The spool itself says what was printed: also what was printed while a large output before it is still coming."""
    page = Page(tmp_path, in_order=False)
    spool = SpoolWriter(str(page.folder))
    spool.write(1, 0, b"one ", b"")
    part = spool.write(0, 0, b"large ", b"")
    spool.write(2, 0, b"two ", b"")
    assert page.prints() == (b"one two ", b"")

    spool.write(3, 0, b"three ", b"")
    spool.write(4, part, b"four", b"")
    out, err = page.printer.outlets
    page.printer = Printer(str(page.folder), (out, out.write), (err, err.write), in_order=False)

    assert page.prints() == (b"one two three large four", b"")


def used_bytes(page: Page) -> int:
    return sum(path.stat().st_blocks * 512 for path in page.folder.glob("*.spool"))


@pytest.mark.parametrize("in_order", [True, False])
def test_what_was_printed_takes_no_disk(tmp_path: Path, in_order: bool) -> None:
    """However long a run is: what its spools hold on disk is what waits."""
    page = Page(tmp_path, in_order=in_order)
    spool = SpoolWriter(str(page.folder))
    for row in range(1, 41):
        spool.write(row, 0, b"%d" % (row % 10) * 100_000, b"")
    assert used_bytes(page) > 40 * 100_000

    page.order(*range(20, 0, -1), *range(21, 40))
    out, _ = page.prints()

    assert len(out) == (39 if in_order else 40) * 100_000
    assert used_bytes(page) < 2 * WORTH_BYTES
    # And what waits is still there for the next printer.
    page.order(40)
    first, second = page.printer.outlets
    page.printer = Printer(str(page.folder), (first, first.write), (second, second.write), in_order=in_order)
    assert page.prints()[0] == out + (b"0" * 100_000 if in_order else b"")


def test_an_output_that_an_outlet_could_not_write_is_not_done_with(tmp_path: Path) -> None:
    """Its reader has gone; the next hs-cluster may have another one."""
    page = Page(tmp_path, in_order=False)
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    gone = Outlet(write_fd)
    os.close(read_fd)
    out, err = page.printer.outlets
    page.printer = Printer(str(page.folder), (gone, gone.write), (gone, gone.write), in_order=False)
    SpoolWriter(str(page.folder)).write(1, 0, b"one", b"")
    page.printer.pump()
    assert gone.failure

    page.printer = Printer(str(page.folder), (out, out.write), (err, err.write), in_order=False)

    assert page.prints() == (b"one", b"")
    os.close(write_fd)


def test_nothing_of_it_is_left(tmp_path: Path) -> None:
    """The folder goes with what is in it."""
    page = Page(tmp_path, in_order=True)
    SpoolWriter(str(page.folder)).write(1, 0, b"x", b"")
    page.order(1)
    page.prints()

    assert page.printer.close(keep=True, ordered=True) is False
    assert not page.folder.exists()


def test_what_the_order_does_not_name_stays_and_that_is_said(tmp_path: Path) -> None:
    """Its scheduler was left alone: the next one goes on in order."""
    page = Page(tmp_path, in_order=True)
    SpoolWriter(str(page.folder)).write(1, 0, b"x", b"")

    assert page.prints() == (b"", b"")
    assert page.printer.close(keep=True, ordered=False) is True
    assert page.folder.exists()


@pytest.mark.parametrize("in_order", [True, False])
def test_on_a_full_disk_what_could_not_be_written_stays_and_nothing_else(tmp_path: Path, in_order: bool) -> None:
    """The next printer begins with the output at which this one failed."""
    page = Page(tmp_path, in_order=in_order)
    writer = SpoolWriter(str(page.folder))
    for row in range(1, 6):
        writer.write(row, 0, b"%d" % row * 100_000, b"")
    page.order(*range(1, 6))
    with open(tmp_path / "out", "wb") as file:
        full = Outlet(file.fileno())
        printer = Printer(str(page.folder), (full, full.write), (full, full.write), in_order=in_order)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, before[1]))
        try:
            printer.pump()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert printer.unprinted
    printer.close(keep=True, ordered=True)

    out, err = page.printer.outlets
    page.printer = Printer(str(page.folder), (out, out.write), (err, err.write), in_order=in_order)

    assert page.prints()[0] == b"".join(b"%d" % row * 100_000 for row in range(3, 6))
