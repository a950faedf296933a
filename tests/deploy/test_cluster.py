"""The shell of the supervisor with stand-ins for the daemons: what happens to processes, pipes and orphans.

Each stand-in is a few lines of sh. What the real daemons do together is tested in tests/system and tests/accept.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.faults.processes import reaped, until

pytestmark = pytest.mark.system

DRIVER = Path(__file__).with_name("drive_cluster.py")

FAITHFUL = "read -r document; cat >/dev/null"
"""Takes its document, and ends when its lifeline does."""

END = """echo '{"end": {"status": 0, "reason": "", "left": 0}}' >&3"""


def start(folder: Path, *more: str, **scripts: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    given = {f"hs-{name}": scripts.get(name, FAITHFUL) for name in ("broker", "scheduler", "worker")}
    return reaped(
        subprocess.Popen(
            [sys.executable, str(DRIVER), json.dumps(given), *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
        )
    )


def run(folder: Path, *more: str, stdin: bytes = b"", **scripts: str) -> tuple[list[Any], bytes]:
    """Return [status, reason, left] and what was on stderr."""
    with start(folder, *more, **scripts) as process:
        out, err = process.communicate(stdin, timeout=60)
    assert process.returncode == 0, err
    found: list[Any] = json.loads(out.splitlines()[-1])
    return found, err


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_each_daemon_reads_its_own_document_first(tmp_path: Path) -> None:
    """On stdin, and nobody else's."""
    note = 'read -r line; echo "$line" >>got; '
    all_have = 'until [ "$(wc -l <got)" = 3 ]; do sleep 0.05; done; '

    run(tmp_path, broker=note + FAITHFUL, worker=note + FAITHFUL, scheduler=note + all_have + END)

    assert sorted((tmp_path / "got").read_text().splitlines()) == [
        '{"for": "hs-broker"}',
        '{"for": "hs-scheduler"}',
        '{"for": "hs-worker"}',
    ]


def test_a_daemon_inherits_nothing_but_what_it_is_given(tmp_path: Path) -> None:
    """No write end of another's lifeline above all: it would never end."""
    listing = "ls /proc/$$/fd >fds.%s; touch listed.%s; "
    others_have = "until [ -e listed.broker ] && [ -e listed.worker ]; do sleep 0.05; done; "

    run(
        tmp_path,
        broker=listing.replace("%s", "broker") + FAITHFUL,
        worker=listing.replace("%s", "worker") + FAITHFUL,
        scheduler=listing.replace("%s", "scheduler") + others_have + END,
    )

    def descriptors(name: str) -> set[int]:
        # A shell keeps its own copies from 10 on; ours would be above 15.
        return {fd for fd in map(int, (tmp_path / f"fds.{name}").read_text().split()) if fd not in range(10, 16)}

    assert descriptors("broker") == {0, 1, 2}
    assert descriptors("scheduler") == {0, 1, 2, 3}
    assert descriptors("worker") == {0, 1, 2, 5}


def test_a_killed_scheduler_gets_the_same_again_and_goes_on(tmp_path: Path) -> None:
    """The same document, which says that it is not the first one, and from the start how much of the input there is."""
    script = f"""
        read -r document; echo "$document" >>got
        if [ ! -e once ]; then touch once; kill -9 $$; fi
        while read -r line; do
            echo "$line" >>got
            case $line in *true*) break;; esac
        done
        {END}
    """

    (status, _, _), _ = run(tmp_path, str(tmp_path / "spool"), stdin=b"one\ntwo\n", scheduler=script)

    got = (tmp_path / "got").read_text().splitlines()
    assert status == 0
    assert [json.loads(line) for line in got[:2]] == [{"for": "hs-scheduler"}, {"for": "hs-scheduler", "again": True}]
    assert json.loads(got[-1]) == {"input": {"bytes": 8, "eof": True}}
    assert (tmp_path / "spool").read_bytes() == b"one\ntwo\n"


def test_what_a_daemon_left_behind_is_killed(tmp_path: Path) -> None:
    """In a session of its own, ignoring what can be ignored."""
    orphan = "(trap '' HUP INT TERM; setsid sleep 600 & echo $! >orphan); "

    # After its document: by then hs-cluster adopts what is left behind.
    run(
        tmp_path,
        worker=f"read -r document; {orphan}cat >/dev/null",
        scheduler=f"until [ -s orphan ]; do sleep 0.05; done; {END}",
    )

    assert not is_alive(int((tmp_path / "orphan").read_text()))


def test_a_daemon_that_does_not_leave_is_killed(tmp_path: Path) -> None:
    """It gets two seconds, and the run keeps its status."""
    (status, _, _), _ = run(tmp_path, broker="trap '' TERM; while :; do sleep 1; done", scheduler=END)

    assert status == 0


def test_the_orphans_of_a_dead_guardian_are_gone_before_the_next_starts(tmp_path: Path) -> None:
    """Otherwise both would run tasks."""
    # After its document: by then hs-cluster adopts what is left behind.
    worker = """
        read -r document
        if [ ! -e once ]; then
            touch once; (setsid sleep 600 & echo $! >orphan); kill -9 $$
        fi
        kill -0 "$(cat orphan)" 2>/dev/null && echo overlap >>overlap
        touch second; cat >/dev/null
    """

    run(tmp_path, worker=worker, scheduler=f"until [ -e second ]; do sleep 0.05; done; {END}")

    assert not (tmp_path / "overlap").exists()
    assert not is_alive(int((tmp_path / "orphan").read_text()))


def test_a_child_that_was_there_before_us_is_left_alone(tmp_path: Path) -> None:
    """`exec hs-cluster` in a script, or `-o >(gzip)`: it is the shell's child, and now ours by accident."""
    given = json.dumps({f"hs-{name}": FAITHFUL for name in ("broker", "worker")} | {"hs-scheduler": END})
    script = f'sleep 600 >/dev/null 2>&1 & echo $!; exec {sys.executable} {DRIVER} "$0"'

    done = subprocess.run(["sh", "-c", script, given], cwd=tmp_path, capture_output=True, timeout=60, check=True)

    pid = int(done.stdout.split()[0])
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_last_words_go_into_the_reason(tmp_path: Path) -> None:
    """Whoever reads it should not have to look for the log."""
    (status, reason, left), err = run(
        tmp_path,
        broker="echo 'no such library' >&2; exit 1",
        scheduler="""echo '{"progress": {"new": 3, "running": 1}}' >&3; """ + FAITHFUL,
    )

    assert (status, left) == (3, 4)
    assert "hs-broker ended 11 times" in reason
    assert "no such library" in reason
    assert err.count(b"no such library") == 11


def test_a_program_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    """Not a hang, not a traceback."""
    (status, reason, _), _ = run(tmp_path, worker="exec /no/such/program")

    assert status == 3
    assert "hs-worker" in reason


def test_kill_9_closes_every_lifeline(tmp_path: Path) -> None:
    """Each daemon sees the end of file, whatever became of us."""
    note = "read -r document; echo $$ >>pids; cat >/dev/null; echo end >>ends"
    pids, ends = tmp_path / "pids", tmp_path / "ends"
    with start(tmp_path, broker=note, scheduler=note, worker=note) as process:
        assert until(lambda: pids.exists() and len(pids.read_text().split()) == 3)

        process.kill()

        assert until(lambda: ends.exists() and ends.read_text() == "end\n" * 3)
