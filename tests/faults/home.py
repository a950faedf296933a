"""A home for one run: its own HOME, site, temporary and runtime folder; and what the run left in them.

The folder is HOME and the working folder; in it are site/ (HYPERSHELL_SITE), tmp/ (TMPDIR) and run/ (XDG_RUNTIME_DIR). The
last two must be empty again when a run is over.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import IO, Self

from tests.faults.processes import Process, command_line, descendants, environment_has, everyone, identify, kill, until

PROGRAMS = os.path.dirname(sys.executable)
"""Where pip put hs-cluster and its daemons: beside the python that runs this."""

SWEEP_S = 60.0
"""What is still there so long after its end is left over; on a busy machine a moment may be seconds."""


class Home:
    """Use it in a `with`: at the end nothing that was started in it is alive, and it is removed."""

    def __init__(self) -> None:
        # Not under pytest's tmp_path: the path of a socket has at most 107 bytes.
        self.folder = tempfile.mkdtemp(prefix="hs-")
        self.site = self.path("site")
        for name in ("tmp", "run"):
            os.mkdir(self.path(name), 0o700)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HYPERSHELL_")}
        self.env = kept | {
            "HOME": self.folder,
            "HYPERSHELL_SITE": self.site,
            "TMPDIR": self.path("tmp"),
            "XDG_RUNTIME_DIR": self.path("run"),
            "PATH": f"{PROGRAMS}:{os.environ.get('PATH', os.defpath)}",
        }
        self.started: list[subprocess.Popen[bytes]] = []
        self.seen: set[Process] = set()

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def path(self, *names: str) -> str:
        """Return a path inside."""
        return os.path.join(self.folder, *names)

    def write(self, name: str, data: bytes) -> str:
        """Make a file and return its path."""
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def read(self, name: str) -> bytes:
        """Return what is in a file; b"" when there is none."""
        with contextlib.suppress(FileNotFoundError), open(self.path(name), "rb") as file:
            return file.read()
        return b""

    def start(
        self,
        *argv: str,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.Popen[bytes]:
        """Start one of our programs, or any other, and return at once."""
        process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            cwd=self.folder,
            env=self.env | dict(env),
            executable=shutil.which(argv[0], path=self.env["PATH"]),
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(
        self, *argv: str, stdin: bytes = b"", seconds: float = 120, env: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end.

        Raises:
            subprocess.TimeoutExpired: It did not end within `seconds`; it is killed at the end of the home.

        """
        process = self.start(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        out, err = process.communicate(stdin, timeout=seconds)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    def remember(self, pid: int) -> None:
        """Note the descendants of a process, for the environment of another user's or a closed process is not readable."""
        for found in map(identify, [pid, *descendants(pid)]):
            if found:
                self.seen.add(found)

    def alive(self) -> dict[int, str]:
        """Return pid and command line of every live process that was started here, directly or not."""
        entry = os.fsencode(f"HOME={self.folder}")
        pids = {pid for pid in everyone() if environment_has(pid, entry)}
        pids |= {process.pid for process in self.seen if identify(process.pid) == process}
        pids |= {process.pid for process in self.started if process.poll() is None}
        return {pid: command_line(pid) for pid in pids if identify(pid)}

    def leftovers(self, seconds: float = SWEEP_S) -> list[str]:
        """Return what a finished run should have taken with it: processes (given `seconds` to end), sockets, temporary files."""
        until(lambda: not self.alive(), seconds, poll_s=0.02)
        left = [f"process {pid}: {line}" for pid, line in self.alive().items()]
        temporary = [f"{name}/{entry}" for name in ("tmp", "run") for entry in os.listdir(self.path(name))]
        left += [f"temporary file {name}" for name in temporary if not self._is_of_sqlite(name)]
        for folder, _, names in os.walk(self.folder):
            for path in (os.path.join(folder, name) for name in names):
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISSOCK(os.lstat(path).st_mode):
                        left.append(f"socket {path}")
        return left

    def _is_of_sqlite(self, name: str) -> bool:
        """Return whether it is a temporary file of SQLite, which removes each as soon as it is made, unless it is killed."""
        return name.startswith("tmp/etilqs_") and not os.path.getsize(self.path(name))

    def close(self) -> None:
        """End, by pid, whatever is left, and remove the folder."""
        for process in self.started:
            # The pid of one that has ended may be anybody's by now.
            if process.poll() is None:
                self.remember(process.pid)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
        until(self._killed, SWEEP_S, poll_s=0.02)
        for process in self.started:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _killed(self) -> bool:
        alive = self.alive()
        for pid in alive:
            kill(pid)
        return not alive
