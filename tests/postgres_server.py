"""A PostgreSQL server of our own: its data, its socket and its processes are gone with it. It opens no port."""

import ctypes
import glob
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from tests.faults.processes import descendants, kill

from hs_common.clock import monotonic

START_S = 60.0
"""A loaded machine may take as long; usually it is one second."""

_PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # the machine does not lose its power here, only processes die
    "max_connections": "40",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "log_min_messages": "warning",
    "restart_after_crash": "on",
}


class PostgresServer:
    """A server that listens on a socket in its own folder.

    Args:
        settings: Settings of the server instead of ours.

    """

    def __init__(self, **settings: str) -> None:
        self._programs = _programs()
        self._settings = _SETTINGS | settings
        self._account = _account()
        self.folder = tempfile.mkdtemp(prefix="hs-pg-", dir="/tmp")
        self._data = os.path.join(self.folder, "data")
        self._process: subprocess.Popen[bytes] | None = None
        if self._account is not None:
            os.chown(self.folder, self._account, -1)
        os.chmod(self.folder, 0o755)
        try:
            self._run("initdb", "-D", self._data, "-U", "hs", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def url(self, schema: str = "public", *, password: str = "", port: int | None = None) -> str:
        """Return the URL of a schema of its one database: each schema is a task database of its own.

        `port`: Of this host, which leads to its socket; None: it is reached there.
        """
        secret = f":{password}" if password else ""
        where = f"host={self.folder}" if port is None else f"host=127.0.0.1&port={port}"
        return f"postgresql://hs{secret}@/postgres?{where}&options=-csearch_path%3D{schema}"

    @property
    def socket(self) -> str:
        """Path of its socket."""
        return os.path.join(self.folder, ".s.PGSQL.5432")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        arguments = [f"-c{name}={value}" for name, value in self._settings.items()]
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self._process = subprocess.Popen(
                [os.path.join(self._programs, "postgres"), "-D", self._data, "-k", self.folder, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._account,
                cwd="/",
                preexec_fn=_ends_with_us,  # noqa: PLW1509 - it calls nothing that could wait for a thread
            )
        deadline = monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log()
                assert monotonic() < deadline, self.log()
                select.poll().poll(20)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT fast, SIGQUIT immediately, as by a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_S)
            self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop all its processes for a while: connections are taken by the kernel, and nobody answers."""
        assert self._process is not None
        pids = [self._process.pid, *descendants(self._process.pid)]
        try:
            for pid in pids:
                kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                kill(pid, signal.SIGCONT)

    def execute(self, statement: str) -> None:
        """Carry out one statement as somebody else."""
        with psycopg.connect(self.url(), autocommit=True) as session:
            session.execute(statement.encode())

    def new_schema(self, name: str) -> str:
        """Make an empty schema, and return its URL."""
        self.execute(f"CREATE SCHEMA {name}")
        return self.url(name)

    def log(self) -> str:
        """Return what the server wrote."""
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [os.path.join(self._programs, program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            user=self._account,
            cwd="/",
            timeout=START_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()


def _ends_with_us() -> None:
    """Let the server end at once when these tests are killed; its folder stays."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _programs() -> str:
    """Return the folder of the server's programs; Debian keeps them out of PATH."""
    if (found := shutil.which("initdb")) is not None:
        return os.path.dirname(os.path.realpath(found))
    folders = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    assert folders, "no PostgreSQL server is installed: run make tools"
    return os.path.dirname(max(folders, key=lambda path: int(path.split("/")[4])))


def _account() -> int | None:
    """Return the account that the server runs under: it refuses root."""
    return pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None
