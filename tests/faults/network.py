"""What is between a run and its workers in a trial: a line for each, and what befalls it. Source: RELIABILITY 8.2 C.

    hs-cluster ── launcher: `rerouted` ──▶ two workers        broker ◀── Line ◀── worker
                                                                     ◀── Line ◀── worker

Where no lease ended, nothing may run twice; the log says where one did.
"""

import random
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from tests.faults import rerouted
from tests.faults.home import Home
from tests.faults.lines import BACK, CALM, THERE, Line, Weather
from tests.faults.processes import ended_within, until
from tests.ports import free_port

from hs_scheduler.core import NOT_BACK

WORKERS = 2

SHORT_LEASE_S = 3.0
LONG_LEASE_S = 120.0
"""No line is out of order for so long, so none may end."""

STORM_EACH_S = 0.2
BREAK_WAIT_S = 10.0
"""For something to be said that can be broken off."""

PATIENCE_S = 300.0
"""Of a worker that was cut off before it had reached its broker once."""

KINDS = ("cut", "mute", "deaf", "forget", "break", "storm", "late", "narrow")
"""Nothing passes, for a while; nothing from the worker; nothing to it; never again on the connections that are there; one is
broken in the middle of a message; one each 200 ms; all comes late; all comes slowly."""

FORGOTTEN_S = 45.0
"""Until both sides must have found out that a connection is dead: `limits.SILENCE_S`, and time to come back."""

LOST = (b"worker.lost", NOT_BACK.encode())
"""What the broker says when it gives up a worker, and the scheduler of those that a new broker has not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """Something that befalls the lines of some workers."""

    kind: str
    lasts_s: float
    lines: tuple[int, ...]
    delay_s: float
    bytes_per_s: float
    break_at: int

    def weather(self) -> Weather:
        """Return what the line is like meanwhile."""
        match self.kind:
            case "cut":
                return Weather(stopped=frozenset({THERE, BACK}))
            case "mute":
                return Weather(stopped=frozenset({THERE}))
            case "deaf":
                return Weather(stopped=frozenset({BACK}))
            case "late":
                return Weather(delay_s=self.delay_s)
            case "narrow":
                return Weather(bytes_per_s=self.bytes_per_s)
        return CALM


def blow(dice: random.Random, kinds: tuple[str, ...], longest_s: float) -> Blow:
    """Return what a seed lets befall the lines; short ones are as frequent as long ones."""
    kind = dice.choice(kinds)
    lasts_s = FORGOTTEN_S if kind == "forget" else 0.5 * (longest_s / 0.5) ** dice.random()
    return Blow(
        kind=kind,
        lasts_s=lasts_s,
        lines=dice.choice([(0,), (1,), (0, 1)]),
        delay_s=dice.uniform(0.05, 0.5),
        bytes_per_s=dice.uniform(20_000, 100_000),
        break_at=dice.randrange(1 << 14),
    )


class Network:
    """The lines of one trial. Use it in a `with`.

    Args:
        home: Of the run.
        lease_s: Its `worker.lease`.

    """

    def __init__(self, home: Home, lease_s: float) -> None:
        self._home = home
        self._port = free_port()
        self._lines = [Line(self._port) for _ in range(WORKERS)]
        self._open = ExitStack()
        home.env["HYPERSHELL_WORKER_LEASE"] = str(lease_s)

    def __enter__(self) -> Self:
        """Let the lines pass on what is said."""
        for line in self._lines:
            self._open.enter_context(line)
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self._open.close()

    def options(self) -> list[str]:
        """Return those of hs-cluster."""
        ports = ",".join(str(line.port) for line in self._lines)
        launcher = f"{sys.executable} {rerouted.__file__} {PATIENCE_S:g} {ports}"
        return ["--launcher", launcher, "-H", "127.0.0.1", "-p", str(self._port)]

    def strike(self, blow: Blow, cluster: int) -> int:
        """Let it befall the lines that it names; return how often it did."""
        return strike([self._lines[number] for number in blow.lines], blow, cluster)

    def leases_ended(self) -> int:
        """Return how often workers were given up."""
        return sum(self._home.read("stderr").count(words) for words in LOST)

    def over(self) -> None:
        """Remove the connection files that were made here: the cluster that they lead to is gone."""
        for path in rerouted.files(self._home.folder):
            path.unlink()


def strike(struck: Sequence[Line], blow: Blow, cluster: int) -> int:
    """Let it befall lines as long as it lasts, or until hs-cluster has ended; return how often it did."""
    for line in struck:
        line.weather = blow.weather()
        if blow.kind == "forget":
            line.forget()
    try:
        if blow.kind in ("break", "storm"):
            return _break(struck, blow, cluster)
        ended_within(cluster, blow.lasts_s)
    finally:
        for line in struck:
            line.weather = CALM
    return 1


def _break(struck: Sequence[Line], blow: Blow, cluster: int) -> int:
    before = sum(line.broken for line in struck)
    for number in range(int(blow.lasts_s / STORM_EACH_S) if blow.kind == "storm" else 1):
        for line in struck:
            line.break_next(blow.break_at * (number + 1))
        if ended_within(cluster, STORM_EACH_S):
            break
    until(lambda: sum(line.broken for line in struck) > before or ended_within(cluster, 0), BREAK_WAIT_S)
    return sum(line.broken for line in struck) - before
