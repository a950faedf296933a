"""A run under attack: a real cluster on ipc and TCP whose keys we hold, kept alive by a gate until the attack is over.

The input, with two slots: a gate, tasks that run during the attack, another gate, tasks that run only after it. A gate is a
task that reads from a FIFO.
"""

import contextlib
import os
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

from tests.faults.handmade import Handmade
from tests.faults.home import Home
from tests.faults.processes import resident_bytes, until
from tests.ports import free_port

DURING = 60
AFTER = 60

STEP_S = 60.0
"""For each thing that must happen; none takes more than a few seconds."""

MIB = 1 << 20


class Siege:
    """Start it in a home, attack, then `lift()` and see what is left."""

    def __init__(self, home: Home, *scheduler_options: str) -> None:
        self.home = home
        self.port = free_port()
        self.cluster = Handmade(home, f"tcp://127.0.0.1:{self.port}")
        self._gates = [home.path("gate1"), home.path("gate2")]
        for gate in self._gates:
            os.mkfifo(gate, 0o600)
        during, after = range(DURING), range(DURING, DURING + AFTER)
        lines = [
            f"read x <{self._gates[0]}",
            *(f"echo {task} >>ledger; sleep 0.01" for task in during),
            f"read x <{self._gates[1]}",
            *(f"echo {task} >>ledger; exit {task % 2}" for task in after),
        ]
        source = home.write("tasks.txt", "".join(f"{line}\n" for line in lines).encode())
        self.tasks = len(lines)
        self.failing = sum(task % 2 for task in after)
        self.database = home.path("tasks.db")
        self.cluster.start_scheduler(source, "--database", self.database, *scheduler_options)
        self.worker = self.cluster.start_worker("-N2")
        assert until(self.ledger, STEP_S), self.log()
        self._memory = resident_bytes(self.cluster.broker.pid)
        self._descriptors = self.descriptors()

    def ledger(self) -> Counter[str]:
        """Return what ran, and how often."""
        return Counter(self.home.read("ledger").decode(errors="replace").splitlines())

    def descriptors(self) -> int:
        """Return how many descriptors the broker has open; 0 where we may not look, for it holds keys: only root may."""
        with contextlib.suppress(PermissionError):
            return len(os.listdir(f"/proc/{self.cluster.broker.pid}/fd"))
        return 0

    def log(self) -> str:
        """Return what the daemons said."""
        return self.home.read("daemons.log").decode(errors="replace")

    def lift(self) -> dict[str, Any]:
        """Open the gates and wait for the end of the run; return the scheduler's last word.

        Raises:
            subprocess.TimeoutExpired: The run did not go on.

        """
        for gate in self._gates:
            assert until(partial(opened, gate), STEP_S), f"no task waits at {gate}: {self.log()}"
        return self.cluster.finish(STEP_S)

    def assert_unharmed(self) -> None:
        """Lift it; every task ran once, as recorded, under the same broker, which has let go of the attackers."""
        assert self.cluster.broker.poll() is None, self.log()
        assert until(lambda: self.descriptors() <= self._descriptors + 2, STEP_S), "descriptors are not released"
        assert resident_bytes(self.cluster.broker.pid) - self._memory < 64 * MIB
        end = self.lift()
        assert self.ledger() == Counter(str(task) for task in range(DURING + AFTER)), self.log()
        assert (end.get("succeeded"), end.get("failed")) == (self.tasks - self.failing, self.failing), self.log()
        assert "Traceback" not in self.log()

    def rows(self, query: str, *values: object) -> Sequence[tuple[Any, ...]]:
        """Return what the database says."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            return db.execute(query, values).fetchall()


def opened(gate: str) -> bool:
    """Let the task at a gate go on; whether there was one."""
    try:
        descriptor = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:  # ENXIO: nobody reads
        return False
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("go\n")
    return True


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process is over."""
    return process.poll() is not None
