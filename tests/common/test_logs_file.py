"""Log files: set aside when full, by several processes at once, and reopened."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.faults.processes import reaped

from hs_common.log_file import LogFile
from hs_common.signals import SignalPipe

PRELUDE = "import os, signal, sys\nfrom hs_common.logs import configure, get_logger\nlog = get_logger('broker')\n"

BYTES_MAX = 100


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture(name="log")
def _log(path: Path) -> Iterator[LogFile]:
    one = LogFile(str(path), BYTES_MAX, 2)
    yield one
    one.close()


def a_line(number: int) -> bytes:
    """Forty bytes: two fit."""
    return b"%039d\n" % number


def test_a_full_file_is_set_aside_and_the_oldest_goes(path: Path, log: LogFile) -> None:
    """Two lines in each; two old files are kept."""
    assert [log.write(a_line(number)) for number in range(9)] == [True] * 9
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == {
        "log": a_line(8),
        "log.1": a_line(6) + a_line(7),
        "log.2": a_line(4) + a_line(5),
    }


def test_a_line_above_the_size_is_written_all_the_same(path: Path, log: LogFile) -> None:
    """It is alone in its file."""
    log.write(a_line(0))
    log.write(b"x" * 500 + b"\n")
    log.write(a_line(1))
    assert (path.stat().st_size, (path.parent / "log.1").stat().st_size) == (40, 501)


def test_who_did_not_set_it_aside_follows(path: Path, log: LogFile) -> None:
    """Two processes, one file: what the other does is seen at the next line."""
    other = LogFile(str(path), BYTES_MAX, 2)
    other.write(a_line(0))
    os.rename(path, path.parent / "log.old")  # as logrotate does
    log.write(a_line(1))
    other.write(a_line(2))
    other.close()
    assert path.read_bytes() == a_line(1) + a_line(2)


def test_nobody_waits_for_who_sets_it_aside(path: Path, log: LogFile) -> None:
    """A stopped process that holds the lock must not hold up the others; the line is written where it is."""
    log.write(a_line(0))
    log.write(a_line(1))
    with path.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert log.write(a_line(2))
    assert path.read_bytes() == a_line(0) + a_line(1) + a_line(2)


def test_a_file_that_is_just_gone_costs_no_line(path: Path, log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two renames of another process there is no file at the path."""
    log.write(a_line(0))
    log.write(a_line(1))
    monkeypatch.setattr(log, "_follow", path.unlink)  # it goes just after we looked
    assert log.write(a_line(2))


def test_a_removed_folder_costs_nothing_but_lines(path: Path, log: LogFile) -> None:
    """The daemon goes on."""
    path.unlink()
    path.parent.rmdir()
    log.write(a_line(0))
    path.parent.mkdir()
    assert log.write(a_line(1))
    assert path.read_bytes() == a_line(1)


def test_a_file_is_the_same_from_every_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker changes its folder with every task."""
    monkeypatch.chdir(path.parent)
    one = LogFile("log", BYTES_MAX, 2)
    monkeypatch.chdir("/")
    for number in range(3):
        one.write(a_line(number))
    one.close()
    assert path.read_bytes() == a_line(2)


def test_several_processes_lose_no_line_and_cut_none(path: Path) -> None:
    """Forked ones too, which share their descriptor: 4 x 500 lines, each once, in many files."""
    program = PRELUDE + (
        f"configure(format='json', file={str(path)!r}, file_bytes_max=8192, files_max=1000)\n"
        "child = os.fork()\n"
        "for i in range(500): log.error('x.y', i=i, who=f'{sys.argv[1]} {bool(child)}')\n"
        "child and os.waitpid(child, 0)"
    )
    with ExitStack() as stack:
        started = [
            stack.enter_context(reaped(subprocess.Popen([sys.executable, "-c", program, name]))) for name in "ab"
        ]
        assert [process.wait(60) for process in started] == [0, 0]

    files = list(path.parent.iterdir())
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    told = sorted((line["who"], line["i"]) for line in lines)
    assert told == [(f"{name} {forked}", i) for name in "ab" for forked in (False, True) for i in range(500)]
    assert len(files) > 10, "nobody waits for a lock, so sizes are not exact: 25 would be"


def test_sigusr2_reopens_the_file_and_ends_nobody(path: Path) -> None:
    """Also one that came while it was blocked, before we could take it."""
    program = PRELUDE + (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"
        f"configure(file={str(path)!r})\n"
        f"os.rename({str(path)!r}, {str(path) + '.old'!r})\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"
        f"print(os.path.exists({str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode, done.stderr) == ("True\n", 0, "")


def test_without_a_file_sigusr2_does_nothing() -> None:
    """Whoever tells all daemons must not end those that log to stderr."""
    program = PRELUDE + "configure()\nos.kill(os.getpid(), signal.SIGUSR2)\nprint('alive')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("alive\n", 0)


def test_a_signal_that_a_pipe_was_not_asked_for_is_not_in_it() -> None:
    """Python writes every signal that has a handler to the one descriptor; a broker would take SIGUSR2 for a stop."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    heard: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    pipe = SignalPipe([signal.SIGUSR1])
    try:
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert (pipe.drain(), heard) == ([signal.SIGUSR1], [signal.SIGUSR2])
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in kept.items():
            signal.signal(number, handler)
