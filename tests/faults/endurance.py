"""What the daemons have open after many bundles and hundreds of connections that broke: what they had before.

    worker ──▶ Line ──▶ broker ◀── scheduler

The last task waits at a gate, so that all of them are still there to be looked at.
"""

import os
import random
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.faults.handmade import Handmade
from tests.faults.home import Home
from tests.faults.lines import Line
from tests.faults.processes import PATIENCE_S, children, resident_bytes, until
from tests.faults.siege import opened
from tests.ports import free_port

SESSION_BYTES = 5_000
"""When a connection has carried so much, its handshake is over and something was said."""

FORGOTTEN_S = 240.0
"""Until the broker has closed a connection whose peer vanished, though somebody holds it: it pings each 30 s, and waits 120."""


class Size(NamedTuple):
    """How much of it."""

    breaks: int
    tasks: int
    """Enough to go on until all are broken: some sixty a second are run."""
    warm_up: int
    """Connections that break before anything is counted: the first of everything is made once."""
    growth_bytes_max: int
    """Of the memory of one daemon."""
    forgets: bool
    """Whether a peer vanishes, too."""


FULL = Size(breaks=500, tasks=30_000, warm_up=50, growth_bytes_max=8 << 20, forgets=True)


class Held(NamedTuple):
    """What a process has."""

    descriptors: int
    threads: int
    resident_bytes: int


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How it went."""

    breaks: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return a line for people."""
        return f"endurance: {self.breaks} connections broken, {len(self.wrong)} wrong"


def conduct(size: Size, seed: str) -> Outcome:
    """Run it; return what was wrong, a line each."""
    port, outcome, dice = free_port(), Outcome(), random.Random(seed)
    with Home() as home, Line(port) as line, Handmade(home, f"tcp://127.0.0.1:{port}") as cluster:
        gate, tasks = home.path("gate"), range(size.tasks)
        os.mkfifo(gate, 0o600)
        lines = [*(f"echo {task} >>ledger; sleep 0.03" for task in tasks), f"read x <{gate}"]
        source = home.write("tasks.txt", "".join(f"{text}\n" for text in lines).encode())
        # Without one its memory would be the store.
        cluster.start_scheduler(source, "--database", home.path("tasks.db"))
        guardian = cluster.start_worker("-N2", endpoints=(f"tcp://127.0.0.1:{line.port}",))
        assert cluster.scheduler is not None
        _break(home, line, dice, size.warm_up, size.tasks)
        daemons = {
            "broker": cluster.broker.pid,
            "scheduler": cluster.scheduler.pid,
            "worker": next(iter(children(guardian.pid))),
            "guardian": guardian.pid,
        }
        before = {name: _held(pid) for name, pid in daemons.items()}

        outcome.breaks = _break(home, line, dice, size.breaks, size.tasks)
        if size.forgets:
            line.forget()
        if not until(lambda: _ran(home) == size.tasks, size.tasks / 10 + PATIENCE_S, poll_s=0.1):
            outcome.wrong.append(f"{_ran(home)} of {size.tasks} tasks were run")
        for name, pid in daemons.items():
            outcome.wrong += _grown(name, pid, before[name], size)
        if not until(lambda: opened(gate)):
            outcome.wrong.append("no task waits at the gate")
        if (end := cluster.finish(PATIENCE_S)).get("succeeded") != len(lines):
            outcome.wrong.append(f"the run ended with {end}")
        twice = _ran(home) - len(set(home.read("ledger").split()))
        if twice:
            outcome.wrong.append(f"{twice} tasks ran twice")
    return outcome


def _break(home: Home, line: Line, dice: random.Random, count: int, tasks: int) -> int:
    """Break the connection so often, each time that it was in use again; return how often that was."""
    first = line.broken
    in_use = until(lambda: line.carried > SESSION_BYTES)
    while in_use and line.broken - first < count and _ran(home) < tasks:
        broken = line.broken
        line.break_next(dice.randrange(1 << 14))
        until(lambda: line.broken > broken)  # noqa: B023 - it is called at once
        in_use = until(lambda: line.carried > SESSION_BYTES)
    return line.broken - first


def _ran(home: Home) -> int:
    return home.read("ledger").count(b"\n")


def _held(pid: int) -> Held:
    return Held(len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), resident_bytes(pid))


def _grown(name: str, pid: int, before: Held, size: Size) -> list[str]:
    """Return what a daemon has more of than before, and does not let go of."""

    def kept() -> bool:
        now = _held(pid)
        return now.descriptors <= before.descriptors and now.threads <= before.threads

    let_go = until(kept, FORGOTTEN_S if size.forgets else PATIENCE_S)
    now = _held(pid)
    grown = not let_go or now.resident_bytes > before.resident_bytes + size.growth_bytes_max
    return [f"{name}: {now}, before: {before}"] if grown else []
