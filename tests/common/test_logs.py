"""The log: what a line looks like, and that it harms nobody."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.faults.processes import reaped

from hs_common.errors import RefusedError
from hs_common.logs import LEVELS, configure, get_logger

PRELUDE = "from hs_common.logs import configure, get_logger; import sys; log = get_logger('broker')\n"


def run(program: str, **kwargs: Any) -> "subprocess.CompletedProcess[str]":
    """Run a Python program to its end: the log is one for a process."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + program], capture_output=True, text=True, timeout=60, check=False, **kwargs
    )


def test_a_json_line_has_what_machines_look_for() -> None:
    """One object a line: event, level, timestamp; bytes as hexadecimal."""
    done = run(
        "configure(level='info', format='json', instance='ab12')\n"
        "log.bind(epoch=3).info('worker.lost', worker=b'\\1\\xff', bundles=2)"
    )
    line = json.loads(done.stderr)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "daemon": "broker",
        "instance": "ab12",
        "epoch": 3,
        "event": "worker.lost",
        "level": "info",
        "worker": "01ff",
        "bundles": 2,
    }


def test_a_console_line_is_plain_where_there_is_no_terminal() -> None:
    """No escape sequences in files and pipes."""
    done = run("log.warning('worker.lost', bundles=2)")
    assert "\x1b" not in done.stderr
    assert "worker.lost" in done.stderr
    assert "bundles=2" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("level", LEVELS)
def test_only_its_level_and_above_is_logged(level: str) -> None:
    """Warnings and errors unless more was asked for."""
    done = run(
        f"configure(level={level!r}, format='json')\nfor name in ('debug', 'info', 'warning', 'error'): getattr(log, name)('x.y')"
    )
    logged = [json.loads(line)["level"] for line in done.stderr.splitlines()]
    assert logged == list(LEVELS)[list(LEVELS).index(level) :]


def test_nothing_is_imported_until_a_line_is_logged() -> None:
    """A start-up must not pay 85 ms for a line that nobody wrote."""
    done = run(
        "log.info('x.y', n=1)\nprint('structlog' in sys.modules, end=' ')\nlog.error('x.y')\nprint('structlog' in sys.modules)"
    )
    assert done.stdout == "False True\n"


def test_an_exception_is_logged_with_its_traceback() -> None:
    """Once, at the top of a daemon."""
    done = run("configure(format='json')\ntry: 1 / 0\nexcept ZeroDivisionError: log.exception('daemon.failed')")
    line = json.loads(done.stderr)
    assert line["level"] == "error"
    assert "ZeroDivisionError: division by zero" in line["exception"]


def test_a_flood_of_one_event_is_counted_instead() -> None:
    """A thousand strangers are one line a second, and other events are still told."""
    done = run(
        "import hs_common.logs as logs; now = logs.monotonic(); logs.monotonic = lambda: now\n"
        "configure(format='json')\nfor _ in range(1000): log.warning('peer.refused')\nlog.warning('worker.lost')\n"
        "now += 1\nlog.warning('peer.refused')"
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["peer.refused"] * 20 + ["worker.lost", "peer.refused"]
    assert lines[-1]["suppressed"] == 980


def test_errors_are_never_held_back() -> None:
    """A person must act on each."""
    done = run("for _ in range(50): log.error('x.y')")
    assert len(done.stderr.splitlines()) == 50


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_a_stderr_that_takes_nothing_does_not_end_the_daemon(redirect: str) -> None:
    """What a line tells about matters more than the line."""
    program = PRELUDE + "log.error('x.y'); log.error('x.y'); print('alive')"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("alive\n", 0)


def test_a_host_without_free_descriptors_costs_lines_only() -> None:
    """The first line is the one that imports: a guardian with the outcomes of a dead worker must outlive it."""
    done = run(
        "import resource\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "configure(format='json')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))\n"
        "log.warning('x.y')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "log.warning('x.z')"
    )
    line = json.loads(done.stderr)
    assert (line["event"], line["dropped"]) == ("x.z", 1)


def test_a_reader_that_does_not_read_costs_lines_but_no_time() -> None:
    """A full pipe: the next line that fits says how many are missing."""
    # Given a process whose stderr is a pipe that nobody reads, and that is full
    read_fd, write_fd = os.pipe()
    program = PRELUDE + (
        "configure(format='json')\n"
        "for i in range(2000): log.error('x.y', i=i)\n"
        "print('alive', flush=True)\nsys.stdin.readline()\nlog.error('x.z')"
    )
    pipe = subprocess.PIPE
    with reaped(
        subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=write_fd, text=True)
    ) as process:
        os.close(write_fd)
        assert process.stdin is not None
        assert process.stdout is not None

        # Then it did not wait
        assert process.stdout.readline() == "alive\n"

        # When somebody reads, and it logs again
        first = os.read(read_fd, 1 << 20)
        process.stdin.write("\n")
        process.stdin.close()
        process.wait(60)
        last = os.read(read_fd, 1 << 20)
        os.close(read_fd)

    # Then nothing is half a line, and the loss is told
    written = [json.loads(line)["i"] for line in first.splitlines()]
    assert written == list(range(len(written)))
    assert json.loads(last) | {"timestamp": ""} == {
        "daemon": "broker",
        "event": "x.z",
        "level": "error",
        "dropped": 2000 - len(written),
        "timestamp": "",
    }


def test_a_file_is_appended_to_and_private(tmp_path: Path) -> None:
    """A restart must not lose what was logged before it."""
    path = tmp_path / "log"
    for _ in range(2):
        done = run(f"configure(format='json', file={str(path)!r})\nlog.error('x.y')")
        assert done.stderr == ""
    assert len(path.read_text().splitlines()) == 2
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"level": "loud"}, "logging.level 'loud' is none of"),
        ({"format": "xml"}, "logging.format 'xml' is neither"),
        ({"file": "/nowhere/log"}, "logging.file /nowhere/log: No such file"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], why: str) -> None:
    """Before anything starts."""
    with pytest.raises(RefusedError, match=why):
        configure(**options)  # type: ignore[arg-type]


def test_a_logger_of_bound_keys_does_not_change_its_origin() -> None:
    """Two peers, two loggers."""
    log = get_logger("broker")
    assert log.bind(peer=1) is not log
    assert log.bind(peer=1)._bound == {"daemon": "broker", "peer": 1}
    assert log._bound == {"daemon": "broker"}
