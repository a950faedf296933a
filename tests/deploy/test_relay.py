"""Lines on their way to a terminal: real pipes, no terminal needed."""

import fcntl
import os

import pytest

from hs_deploy.output.relay import KEPT_BYTES_MAX, Outlet, Stream


@pytest.fixture
def pipe() -> tuple[int, int]:
    """(read end, write end), both closed by whoever uses them up."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    return read_end, write_end


def test_only_whole_lines_are_passed_on(pipe: tuple[int, int]) -> None:
    """A progress line never lands in the middle of one."""
    passed: list[bytes] = []
    stream = Stream(pipe[0], passed.append)

    os.write(pipe[1], b"one\ntw")
    stream.read()
    assert passed == [b"one\n"]
    os.write(pipe[1], b"o\n")
    stream.read()
    assert passed == [b"one\n", b"two\n"]
    os.write(pipe[1], b"rest")
    os.close(pipe[1])
    assert stream.read()
    assert not stream.read()
    assert passed == [b"one\n", b"two\n", b"rest"], "the end of the pipe ends a line too"


def test_a_line_without_end_is_passed_on_all_the_same(pipe: tuple[int, int]) -> None:
    """Nothing is kept without a bound, and nothing is lost."""
    passed: list[bytes] = []
    stream = Stream(pipe[0], passed.append)
    stream._lines._started = b"x" * KEPT_BYTES_MAX

    os.write(pipe[1], b"y")
    os.close(pipe[1])
    stream.read()

    assert b"".join(passed) == b"x" * KEPT_BYTES_MAX + b"y"
    assert not stream.read()


def test_the_last_words_are_the_last_line_that_says_something(pipe: tuple[int, int]) -> None:
    """They go into the reason when a daemon cannot be kept running."""
    stream = Stream(pipe[0], lambda _: None)

    os.write(pipe[1], b"Traceback\nValueError: caf\xe9\n\n")
    os.close(pipe[1])
    while stream.read():
        pass

    assert stream.words == "ValueError: caf\\xe9"


@pytest.mark.parametrize("below", [b"-----\n", b"\n=====\n\n", b" * * *"])
def test_a_rule_says_nothing(pipe: tuple[int, int], below: bytes) -> None:
    """With one of them mpirun ends what it says."""
    read_end, write_end = pipe
    stream = Stream(read_end, lambda _: None)
    os.write(write_end, b"-----\nthere are not enough slots...\n" + below)
    os.close(write_end)
    while stream.read():
        pass

    assert stream.words == "there are not enough slots..."


def test_an_outlet_never_waits_for_its_reader(pipe: tuple[int, int]) -> None:
    """What does not fit is kept, in order, and written when it does."""
    capacity = fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    outlet = Outlet(pipe[1])
    text = bytes(range(256)) * 64

    outlet.write(text)

    assert outlet.waits
    received = b""
    while len(received) < len(text):
        received += os.read(pipe[0], capacity)
        outlet.flush()
    assert received == text
    assert not outlet.waits
    os.close(pipe[0])
    os.close(pipe[1])


def test_an_outlet_is_full_at_its_bound(pipe: tuple[int, int]) -> None:
    """Then its streams are not read, and the writers wait."""
    outlet = Outlet(pipe[1])

    outlet.write(bytes(KEPT_BYTES_MAX - 1))
    assert not outlet.full
    outlet.write(bytes(2 * KEPT_BYTES_MAX))
    assert outlet.full
    os.close(pipe[0])
    os.close(pipe[1])


def test_an_outlet_whose_reader_is_gone_says_why_and_drops_the_rest(pipe: tuple[int, int]) -> None:
    """Where it carries the tasks' output the run ends; where it carries only our log, it goes on."""
    os.close(pipe[0])
    outlet = Outlet(pipe[1])

    outlet.write(b"text")
    outlet.write(b"more")

    assert not outlet.waits
    assert outlet.failure == "Broken pipe"
    os.close(pipe[1])
