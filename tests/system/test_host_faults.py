"""A host that runs out of something, or takes something away, under a whole run (RELIABILITY, section 8.2, D and E)."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, kill, until
from tests.system.test_sqlite_faults import in_a_small_disk
from tests.system.test_task_ends import a_cgroup, write

pytestmark = pytest.mark.system

STEP_S = 60.0

GATED = b"touch started; until [ -e go ]; do sleep 0.05; done; echo 0\n"
"""Runs until the test says go."""


def test_a_disk_that_loses_what_was_synced_stops_the_run_and_nothing_is_told_as_done(home: Home) -> None:
    """After a failed fsync nobody knows what is on the disk: no second try, and a restart goes on with what is there (D12)."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    # Given a run whose next commit will not reach the disk
    home.write("tasks", GATED + b"".join(b"echo %d\n" % number for number in range(1, 300)))
    cluster = home.start("hs-cluster", "tasks", "-N2", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")), STEP_S)
    scheduler = daemon(cluster.pid, "scheduler")
    inject = ("-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO")
    strace = home.start("strace", "-f", "-p", str(scheduler), *inject, stderr=subprocess.PIPE)
    assert strace.stderr is not None
    if b"attached" not in strace.stderr.readline():
        pytest.skip("no process may be traced here")

    # When it comes
    home.write("go", b"")
    out, err = cluster.communicate(timeout=STEP_S)
    strace.communicate()

    # Then the run stops and says why; and the next one runs the rest, of which at most two were running
    assert cluster.returncode == 3, err
    assert b"disk I/O error" in err
    again = home.run("hs-cluster", "--restart")
    assert again.returncode == 0, again.stderr
    ran = [int(word) for word in (out + again.stdout).split()]
    assert (sorted(set(ran)), len(ran) <= 300 + 2) == (list(range(300)), True)
    assert home.run("hs", "task", "search", "-c", "-S").stdout == b"300\n"
    assert home.leftovers() == []


def test_few_descriptors_are_shared_and_no_task_fails(home: Home) -> None:
    """EMFILE is the host's fault: handed back, and less is taken for a while (E1)."""
    home.write("tasks", b"echo x\n" * 60)

    done = home.run("bash", "-c", "ulimit -n 64; exec hs-cluster tasks -N40 -k")

    assert (done.returncode, done.stdout) == (0, b"x\n" * 60), done.stderr
    assert b"spawn:EMFILE" in done.stderr, "the limit was never met"
    assert b"60 tasks, 0 failed" in done.stderr


def test_a_task_that_takes_all_memory_is_killed_and_nobody_else(home: Home) -> None:
    """The kernel chooses the largest: that is none of ours (E7)."""
    hog = b"exec python3 -c 'x = bytearray(900 << 20)'\n"
    home.write("tasks", b"echo before\n" + hog + b"echo after\n")
    with a_cgroup("memory") as small:
        write(f"{small}/memory.limit_in_bytes", "300M")
        done = home.run("sh", "-c", f"echo $$ >{small}/cgroup.procs; exec hs-cluster tasks")

    assert (done.returncode, done.stdout) == (1, b"before\nafter\n")
    assert b"1 x SIGKILL" in done.stderr
    (row,) = json.loads(home.run("hs", "task", "search", "--json", "-F").stdout)
    assert row["exit_status"] == -signal.SIGKILL
    assert b"worker.restarted" not in done.stderr


def test_a_full_disk_is_no_place_for_sockets(home: Home) -> None:
    """Somebody has filled the folder for temporary files: there are others."""
    script = "dd if=/dev/zero of=disk/ballast bs=4k 2>/dev/null; TMPDIR=disk exec hs-cluster -q"
    home.env.pop("XDG_RUNTIME_DIR")

    done = home.run(*in_a_small_disk(home, f"echo echo 1 | ({script})"))

    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"")


def test_a_disk_without_a_limit_is_not_full(home: Home) -> None:
    """It has 0 free blocks, of 0: so has the memory that a diskless node lives in."""
    script = f"TMPDIR=disk exec {sys.executable} -c 'from hs_common.site import runtime_path; print(runtime_path())'"
    home.env.pop("XDG_RUNTIME_DIR")

    done = home.run(*in_a_small_disk(home, script, size="0"))

    assert done.stdout.startswith(home.path("disk/hs-").encode()), (done.stdout, done.stderr)


def test_a_full_disk_is_told_and_is_no_defect(home: Home) -> None:
    """With the file that could not be written, wherever it turned up."""
    script = "mkdir -m 700 disk/site; dd if=/dev/zero of=disk/ballast bs=4k 2>/dev/null"
    run = "HYPERSHELL_SITE=disk/site exec hs-cluster -H 127.0.0.1 --no-db"

    done = home.run(*in_a_small_disk(home, f"{script}; echo echo 1 | ({run})"))

    assert (done.returncode, done.stdout) == (3, b""), done.stderr
    assert done.stderr.startswith(b"hs-cluster: %s/" % home.path("disk/site/runs").encode())
    assert done.stderr.endswith(b"/worker.json: No space left on device\n")
    assert done.stderr.count(b"\n") == 1


def test_a_runtime_folder_that_is_removed_is_made_again(home: Home) -> None:
    """Somebody cleans up in /tmp: who is connected stays so, and a new broker makes a new socket (E13)."""
    home.write("tasks", GATED + b"echo 1\n" * 20)
    cluster = home.start("hs-cluster", "tasks", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")), STEP_S)

    shutil.rmtree(home.path("run"))
    os.mkdir(home.path("run"), 0o700)
    broker = daemon(cluster.pid, "broker")
    assert broker is not None
    kill(broker)
    assert until(lambda: daemon(cluster.pid, "broker") not in (None, broker), STEP_S)
    home.write("go", b"")
    out, err = cluster.communicate(timeout=60)

    assert (cluster.returncode, out) == (0, b"0\n" + b"1\n" * 20), err
    assert home.leftovers() == []


def test_a_working_folder_that_is_removed_stops_no_task(home: Home) -> None:
    """They run where their worker is; a shell has something to say about it (E14)."""
    os.mkdir(home.path("here"))
    home.write("tasks", b"touch ../started; until [ -e ../go ]; do sleep 0.05; done\n" + b"echo 1\n" * 20)
    started = f"cd here && exec hs-cluster {home.path('tasks')} -N2"
    cluster = home.start("sh", "-c", started, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: os.path.exists(home.path("started")), STEP_S)

    os.rmdir(home.path("here"))
    home.write("go", b"")
    out, err = cluster.communicate(timeout=STEP_S)

    assert (cluster.returncode, out) == (0, b"1\n" * 20), err


@pytest.mark.parametrize("open_max", [12, 16])
def test_too_few_descriptors_to_begin_with_are_said_in_one_line(home: Home, open_max: int) -> None:
    """Fewer than a run has itself: nothing is started, and nothing is left."""
    done = home.run("bash", "-c", f"ulimit -n {open_max}; exec hs-cluster", stdin=b"true\n")

    assert (done.returncode, done.stderr) == (3, b"hs-cluster: Too many open files: raise ulimit -n\n")
    assert home.leftovers() == []
