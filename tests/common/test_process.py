"""What a daemon has of its process: signals as bytes, the lifeline, its name, its crash points. Real pipes, real processes."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.processes import reaped

from hs_common.errors import RefusedError
from hs_common.lifeline import Lifeline
from hs_common.limits import MIB
from hs_common.signals import SignalPipe


def run(program: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python program to its end."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=os.environ | env
    )


@pytest.fixture(name="pipe")
def _pipe() -> Iterator[tuple[Lifeline, int]]:
    """Return a lifeline and the descriptor of its other end (-1 to leave closed what the test closed)."""
    read_fd, write_fd = os.pipe()
    yield Lifeline(read_fd), write_fd
    os.close(read_fd)


@pytest.fixture(name="signals")
def _signals() -> Iterator[SignalPipe]:
    """Return a pipe for two signals and undo it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}
    signals = SignalPipe([signal.SIGUSR1, signal.SIGUSR2])
    yield signals
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_come_as_numbers_in_their_order(signals: SignalPipe) -> None:
    """One poller waits for everything."""
    for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    assert select.select([signals.fd], [], [], 60)[0]
    assert signals.drain() == [signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2]
    assert signals.drain() == []


def test_who_waits_for_a_signal_hears_only_of_those_it_asked_for(signals: SignalPipe) -> None:
    """Any other that has a handler ends the wait, too, and is not left in the pipe: or the next wait would be none."""
    before = signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    try:
        signal.raise_signal(signal.SIGHUP)
        assert signals.wait(60) == []
        assert not select.select([signals.fd], [], [], 0)[0]
        signal.raise_signal(signal.SIGUSR1)
        assert signals.wait(60) == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_full_pipe_holds_nobody_up_and_says_nothing(signals: SignalPipe) -> None:
    """A flood of signals loses some, as signals may be lost; the daemon goes on."""
    for _ in range(70_000):  # a pipe takes 65,536 bytes
        signal.raise_signal(signal.SIGUSR1)
    received = signals.drain()
    assert 4096 <= len(received) < 70_000
    assert set(received) == {signal.SIGUSR1}


def test_an_ignored_signal_stays_ignored() -> None:
    """What nohup asked for is kept; only SIGCHLD must come."""
    done = run(
        "import os, signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from hs_common.signals import SignalPipe\n"
        "pipe = SignalPipe([signal.SIGHUP, signal.SIGCHLD])\n"
        "os.kill(os.getpid(), signal.SIGHUP); os.kill(os.getpid(), signal.SIGCHLD)\n"
        "print(pipe.drain() == [signal.SIGCHLD], signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    )
    assert done.stdout == "True True\n", done.stderr


def test_no_child_inherits_the_signal_pipe(signals: SignalPipe) -> None:
    """A task must not be able to write into it."""
    assert not os.get_inheritable(signals.fd)


def test_the_first_line_is_the_document_whatever_comes_with_it(pipe: tuple[Lifeline, int]) -> None:
    """Its writer may send more at once."""
    lifeline, write_fd = pipe
    os.write(write_fd, b'{"a": 1}\nsecond\nthi')
    assert lifeline.first_line(5) == b'{"a": 1}'
    assert lifeline.lines() == [b"second"]
    os.write(write_fd, b"rd\n")
    assert lifeline.lines() == [b"third"]
    assert not lifeline.ended
    os.close(write_fd)
    assert lifeline.lines() == []
    assert lifeline.ended


def test_lines_never_waits(pipe: tuple[Lifeline, int]) -> None:
    """It is called from the poll loop."""
    lifeline, write_fd = pipe
    assert lifeline.lines() == []
    os.close(write_fd)


def test_what_came_before_the_end_is_not_lost(pipe: tuple[Lifeline, int]) -> None:
    """Also when the writer was gone before we looked; an unfinished line is none."""
    lifeline, write_fd = pipe
    os.write(write_fd, b"one\ntwo\nunfinished")
    os.close(write_fd)
    assert lifeline.lines() == [b"one", b"two"]
    assert lifeline.ended


@pytest.mark.parametrize("sent", [b"", b"no newline"])
def test_an_end_before_the_document_is_refused(pipe: tuple[Lifeline, int], sent: bytes) -> None:
    """hs-cluster died while it started us."""
    lifeline, write_fd = pipe
    os.write(write_fd, sent)
    os.close(write_fd)
    with pytest.raises(RefusedError, match="ended before its first line"):
        lifeline.first_line(5)


def test_no_document_in_time_is_refused(pipe: tuple[Lifeline, int]) -> None:
    """Somebody typed `--connection -` at a terminal."""
    lifeline, write_fd = pipe
    with pytest.raises(RefusedError, match=r"within 0\.01 s"):
        lifeline.first_line(0.01)
    os.close(write_fd)


def test_a_document_without_end_is_refused(pipe: tuple[Lifeline, int]) -> None:
    """Memory is bounded, also by a parent that went mad."""
    lifeline, write_fd = pipe
    with reaped(subprocess.Popen(["head", "-c", str(2 * MIB), "/dev/zero"], stdout=write_fd)):
        os.close(write_fd)
        with pytest.raises(RefusedError, match="over 1048576 bytes"):
            lifeline.first_line(60)


def test_a_large_document_comes_whole(pipe: tuple[Lifeline, int]) -> None:
    """A run's settings may be longer than a pipe is."""
    lifeline, write_fd = pipe
    with reaped(subprocess.Popen(["sh", "-c", "head -c 900000 /dev/zero; echo"], stdout=write_fd)):
        os.close(write_fd)
        assert len(lifeline.first_line(60)) == 900_000


def test_the_name_is_what_ps_shows() -> None:
    """Each daemon is seen by name."""
    done = run(
        "from hs_common.prctl import set_process_name\n"
        "set_process_name('hs-scheduler')\n"
        "print(open('/proc/self/comm').read(), end='')"
    )
    assert done.stdout == "hs-scheduler\n", done.stderr


def test_a_subreaper_adopts_orphans() -> None:
    """So that no descendant escapes the sweep."""
    # The grandchild ends only when its pipe does, long after its parent: so it is an orphan by then.
    done = run(
        "import os, subprocess\n"
        "from hs_common.prctl import become_subreaper\n"
        "become_subreaper()\n"
        "read_fd, write_fd = os.pipe()\n"
        "subprocess.run(['sh', '-c', f'(read x; exit 7) <&{read_fd} &'], pass_fds=[read_fd], check=True)\n"
        "os.close(write_fd)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert done.stdout == "7\n", done.stderr


def test_secrets_leave_no_core_and_tasks_keep_their_limit() -> None:
    """A daemon's memory holds keys; a task's core file is the user's business."""
    program = (
        "import ctypes, resource\n"
        "from hs_common.prctl import protect_secrets\n"
        "before = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "protect_secrets({})\n"
        "after = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "print(ctypes.CDLL(None).prctl(3), after == (0, before[1]), after == before)"
    )
    limit = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))\n"
    assert run(limit + program.format("")).stdout == "0 True False\n"
    assert run(limit + program.format("starts_tasks=True")).stdout == "0 False True\n"


PASSAGES = (
    "from hs_common.crash import crash_point\n"
    "for i in range(5):\n"
    "    print(i, flush=True)\n"
    "    crash_point('worker.received')\n"
    "    crash_point('worker.after_result')\n"
)


@pytest.mark.parametrize(
    ("setting", "printed", "status"),
    [
        ("", 5, 0),
        ("worker.received", 1, -signal.SIGKILL),
        ("worker.received:3", 3, -signal.SIGKILL),
        ("worker.after_result:5", 5, -signal.SIGKILL),
        ("worker.after_result:6", 5, 0),
        ("broker.hello", 5, 0),
    ],
)
def test_a_crash_point_kills_at_the_passage_that_was_asked_for(setting: str, printed: int, status: int) -> None:
    """Deterministic, so that a fault can be found again."""
    done = run(PASSAGES, HYPERSHELL_CRASH_AT=setting)
    assert (len(done.stdout.split()), done.returncode) == (printed, status)


def test_a_marker_lets_only_one_incarnation_die(tmp_path: Path) -> None:
    """The successor passes the same point unharmed."""
    setting = f"worker.received:2:{tmp_path}/crashed"
    assert [run(PASSAGES, HYPERSHELL_CRASH_AT=setting).returncode for _ in range(3)] == [-signal.SIGKILL, 0, 0]
