"""No secret key in any argv, environment, log or file that others can read; of a local run only its control key is in a file."""

import contextlib
import os
import re
import stat
import subprocess
from itertools import chain

import pytest
from tests.faults.home import Home
from tests.faults.processes import command_line, descendants, until
from tests.faults.siege import STEP_S, Siege
from tests.ports import free_port
from tests.system import secrets

pytestmark = pytest.mark.system

Z85 = rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]"
KEY = re.compile(rb"(?<!" + Z85 + rb")" + Z85 + rb"{40}(?!" + Z85 + rb")")
"""What a CURVE key looks like: exactly 40 characters."""


def environment(pid: int) -> bytes:
    """Return it as it was at the start; b"" of a task that has ended meanwhile."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()
    return b""


def test_no_secret_of_a_running_cluster_is_to_be_seen(home: Home) -> None:
    """We know the keys of this cluster, so we can look for each of them, in text, raw and in hexadecimal."""
    home.env["HYPERSHELL_LOGGING_LEVEL"] = "debug"
    siege = Siege(home)
    keys = [connection.keys.secret for connection in siege.cluster.connections.values()]
    daemons = [siege.cluster.broker.pid, siege.worker.pid, *descendants(siege.worker.pid)]
    assert siege.cluster.scheduler
    seen = {f"argv of {pid}": command_line(pid).encode() for pid in [*daemons, siege.cluster.scheduler.pid]}
    seen |= {f"environ of {pid}": environment(pid) for pid in [*daemons, siege.cluster.scheduler.pid]}
    siege.lift()
    seen |= secrets.written(home.folder)
    assert siege.database in seen
    assert secrets.places(keys, seen) == []


def test_a_task_finds_no_key_in_its_surroundings(home: Home) -> None:
    """Nothing that looks like a key in its environment, and no descriptor of ours beyond the three standard ones."""
    tell = b"tr '\\0' '\\n' </proc/self/environ; tr '\\0' '\\n' </proc/$PPID/environ; ls -l /proc/self/fd\n"
    done = home.run("hs-cluster", stdin=tell)
    assert done.returncode == 0, done.stderr
    ours = {os.fsencode(f"{name}={value}") for name, value in home.env.items()}
    assert b"TASK_ATTEMPT=1" in done.stdout.splitlines()
    assert [line for line in done.stdout.splitlines() if KEY.search(line) and line not in ours] == []
    assert re.findall(rb" (\d+) -> (?!/proc/)", done.stdout) == [b"0", b"1", b"2"]


def test_a_local_run_writes_one_key_and_nothing_for_other_eyes(home: Home) -> None:
    """Everything in the site is for its owner only; the one connection file, with which commands find the run, goes with it."""
    cluster = home.start("hs-cluster", "-N1", stdin=subprocess.PIPE)
    assert cluster.stdin
    cluster.stdin.write(b"echo here >started\n")
    cluster.stdin.flush()
    assert until(lambda: home.read("started"), STEP_S)
    places = [os.path.join(folder, name) for folder, _, names in os.walk(home.site) for name in names]
    open_to_others = [
        path for path in (home.site, *places) if os.lstat(path).st_mode & 0o077 and not os.path.islink(path)
    ]
    kept = list(secrets.kept(home))
    modes = {stat.S_IMODE(os.stat(place).st_mode) for path in kept for place in (path, os.path.dirname(path))}
    cluster.stdin.close()
    assert cluster.wait(STEP_S) == 0
    assert places
    assert [path for path in open_to_others if path == home.site] == [], "the site itself is closed, so all in it is"
    assert [os.path.basename(path) for path in kept] == ["control.json"]
    assert modes == {0o600, 0o700}
    assert not os.path.exists(os.path.dirname(kept[0]))


def test_a_cluster_that_listens_shares_its_keys_through_private_files_only(home: Home) -> None:
    """-p opens a port for others: what they need is in files of mode 0600, and in none else."""
    cluster = home.start("hs-cluster", "-N1", "-H", "127.0.0.1", "-p", str(free_port()), stdin=subprocess.PIPE)
    assert cluster.stdin
    cluster.stdin.write(b"echo here >started\n")
    cluster.stdin.flush()
    assert until(lambda: home.read("started"), STEP_S)
    shared = secrets.kept(home)
    modes = {path: stat.S_IMODE(os.lstat(path).st_mode) for path in shared}
    keys = list(chain(*shared.values()))
    processes = [cluster.pid, *descendants(cluster.pid)]
    seen = {f"process {pid}": command_line(pid).encode() + environment(pid) for pid in processes}
    cluster.stdin.close()
    assert cluster.wait(STEP_S) == 0
    assert set(modes.values()) <= {0o600}
    assert secrets.places(keys, seen) == []
    assert set(secrets.places(keys, secrets.written(home.folder))) <= set(shared)
