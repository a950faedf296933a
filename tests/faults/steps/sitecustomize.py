"""Strikes a program of ours before its n-th step: before the n-th time that it changes something outside of itself.

Python imports this first where its folder is on PYTHONPATH. Steps are what another process, or the next hs-cluster, can see: a
file made, opened for writing, written, renamed, removed; a process started or signalled; a transaction begun or committed.

    FAULTS_STRIKE=program:n:marker      hs-cluster and all below it die by SIGKILL, who takes the step last; `marker` gets the
                                        step's name, and nobody is struck once it is there
                  program:text:marker   likewise before the first step whose name has this text in it
                  program:0:marker      nobody is struck: `marker` gets the names of all steps, a line each
"""

import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any

_EVENTS = frozenset(
    (
        "os.chmod",
        "os.kill",
        "os.mkdir",
        "os.posix_spawn",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
    )
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TRANSACTIONS = ("BEGIN IMMEDIATE", "COMMIT")
_SHOWN_BYTES = 80

_write, _pwrite, _kill = os.write, os.pwrite, os.kill
_connect: Callable[..., sqlite3.Connection] = sqlite3.connect


class Steps:
    """Counts the steps of this process.

    Args:
        sought: Number of the step to strike before, or a part of its name; "0": note them all.
        marker: Path.

    """

    def __init__(self, sought: str, marker: str) -> None:
        self._sought = sought
        self._marker = marker
        self._taken = 0
        self._noting = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an audit event of Python."""
        if event == "open":
            path, _, flags = arguments
            if not flags & _WRITES or "__pycache__" in str(path):
                return
        elif event not in _EVENTS:
            return
        self.step(f"{event} {arguments[0]}")

    def step(self, what: str) -> None:
        """Count one; strike before the one that was asked for."""
        if self._noting:
            return
        self._noting = True
        self._taken += 1
        if self._sought == "0":
            self._note(what, os.O_APPEND)
        elif self._is_sought(what) and self._note(what, os.O_EXCL):
            self._strike()
        self._noting = False

    def _is_sought(self, what: str) -> bool:
        return self._taken == int(self._sought) if self._sought.isdecimal() else self._sought in what

    def _note(self, what: str, how: int) -> bool:
        try:
            fd = os.open(self._marker, os.O_WRONLY | os.O_CREAT | how, 0o600)
        except FileExistsError:
            return False
        _write(fd, what.encode() + b"\n")
        os.close(fd)
        return True

    def _strike(self) -> None:
        top = own = os.getpid()
        while _read(f"/proc/{top}/comm") != "hs-cluster\n":
            top = int(_read(f"/proc/{top}/stat").rpartition(")")[2].split()[1])
        for pid in [top, *_below(top)]:
            if pid != own:
                with contextlib.suppress(ProcessLookupError):  # a task, that has ended
                    _kill(pid, signal.SIGKILL)
        _kill(own, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        found = [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]
    return found + [below for child in found for below in _below(child)]


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _counted(name: str, call: Callable[..., int], steps: Steps) -> Callable[..., int]:
    def counted(fd: int, data: bytes, *rest: int) -> int:
        steps.step(f"{name} {fd} {bytes(data[:_SHOWN_BYTES])!r}")
        return call(fd, data, *rest)

    return counted


def _watch(steps: Steps) -> None:
    class Connection(sqlite3.Connection):
        def execute(self, query: str, *values: Any) -> sqlite3.Cursor:
            if query.startswith(_TRANSACTIONS):
                steps.step(query)
            return super().execute(query, *values)

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        return _connect(*args, **{"factory": Connection} | options)

    sqlite3.connect = connect  # type: ignore[assignment]
    os.write, os.pwrite = _counted("write", _write, steps), _counted("pwrite", _pwrite, steps)
    sys.addaudithook(steps.hear)


_program, _, _rest = os.environ.get("FAULTS_STRIKE", "").partition(":")
if _program and [os.path.basename(word) for word in sys.orig_argv[1:2]] == [_program]:
    _sought, _, _marker = _rest.rpartition(":")
    _watch(Steps(_sought, _marker))
