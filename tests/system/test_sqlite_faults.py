"""Whole runs whose database file cannot be written for a while, or is gone. `make faults ONLY=sqlite-lock` locks it."""

import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from tests.faults.home import Home

pytestmark = pytest.mark.system

BEFORE, AFTER = 200, 2_000
DISK = "16m"
"""Where only the ballast fills it: the write-ahead log grows to 4 MiB when each result is a commit of its own."""


def in_a_small_disk(home: Home, script: str, *, size: str = DISK) -> tuple[str, ...]:
    """Return the command that runs a script in which `disk/` is a file system of its own."""
    os.mkdir(home.path("disk"))
    own = "unshare --mount" if os.geteuid() == 0 else "unshare --user --map-root-user --mount"
    mount = f"mount -t tmpfs -o size={size} none {shlex.quote(home.path('disk'))}"
    if subprocess.run([*own.split(), "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount here")
    return (*own.split(), "sh", "-c", f"{mount} && {script}")


def test_a_full_disk_is_waited_for_and_nothing_is_lost(home: Home) -> None:
    """A task fills it, and empties it again; meanwhile results are kept, and none is acknowledged."""
    seen = "until grep -q 'disk is full' said; do sleep 0.1; done"
    fill = f"dd if=/dev/zero of=disk/ballast bs=4k 2>/dev/null; {seen}; rm disk/ballast"
    lines = ["true"] * BEFORE + [fill] + ["echo x >>ran"] * AFTER
    home.write("tasks.txt", "\n".join(lines).encode())
    # What is on that disk is gone with the last process that sees it.
    script = "hs-cluster -N2 --database disk/tasks.db tasks.txt 2>said; status=$?; cp disk/tasks.db* . ; exit $status"

    done = home.run(*in_a_small_disk(home, script), seconds=90)

    said = home.read("said")
    assert done.returncode == 0, said
    assert home.read("ran").count(b"x") == AFTER
    with closing(sqlite3.connect(home.path("tasks.db"))) as db:
        rows = db.execute("SELECT state, exit_status, dispatch, count(*) FROM task GROUP BY 1, 2, 3").fetchall()
        assert rows == [(3, 0, 1, BEFORE + 1 + AFTER)]
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert b"disk is full" in said
    assert b"Traceback" not in said


def test_on_a_full_disk_tasks_are_refused_and_found_all_the_same(home: Home) -> None:
    """In one line; and who looks for the reason can read what is recorded."""
    submit = "hs submit --database disk/tasks.db"
    full = "dd if=/dev/zero of=disk/ballast bs=4k 2>/dev/null"
    asked = f"{submit} -- echo 2; echo $?; hs submit --database disk/new.db -- echo 3; echo $?; ls disk"
    found = "hs task search args -f plain --database disk/tasks.db"

    done = home.run(*in_a_small_disk(home, f"{submit} -- echo 1 >id; {full}; {asked}; {found}"))

    said = "hs: cannot lock the database with {}.lock: No space left on device\n"
    assert done.stderr.decode() == "".join(said.format(home.path("disk", name)) for name in ("tasks.db", "new.db"))
    assert done.stdout.split(b"\n") == [b"3", b"3", b"ballast", b"tasks.db", b"echo 1", b""]


def test_a_locked_file_is_waited_for_and_told_of_once(home: Home) -> None:
    """However often it is tried: a line for each try would be a hundred of them."""
    lock = (
        "import sqlite3, time; db = sqlite3.connect('tasks.db', timeout=60, isolation_level=None);"
        " db.execute('BEGIN IMMEDIATE'); open('locked', 'w'); time.sleep(3); db.execute('ROLLBACK')"
    )
    wait = "until [ -e locked ]; do sleep 0.02; done"
    lines = [f"{shlex.quote(sys.executable)} -c {shlex.quote(lock)}", wait] + ["echo x >>ran"] * BEFORE
    home.write("tasks.txt", "\n".join(lines).encode())

    done = home.run("hs-cluster", "-N2", "--database", "tasks.db", "tasks.txt")

    assert done.returncode == 0, done.stderr
    assert home.read("ran").count(b"x") == BEFORE
    # None, where those three seconds passed before the first result was to be written.
    assert done.stderr.count(b"store.busy") <= 1, done.stderr


@pytest.mark.parametrize("loss", ["rm tasks.db", "mv tasks.db other.db; touch tasks.db"])
def test_a_file_that_is_gone_ends_the_run_with_a_reason(home: Home, loss: str) -> None:
    """SQLite would go on writing into a file that nobody finds any more."""
    home.write("tasks.txt", "\n".join(["true"] * BEFORE + [loss] + ["true"] * AFTER).encode())

    done = home.run("hs-cluster", "-N2", "--database", "tasks.db", "tasks.txt")

    assert done.returncode == 3, done.stderr
    assert b"was there a moment ago" in done.stderr or b"was replaced by another file" in done.stderr
    assert b"Traceback" not in done.stderr
    assert home.leftovers() == []
