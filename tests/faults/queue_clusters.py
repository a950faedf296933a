"""Clusters of a standing queue, one after the other, and what befalls them."""

import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

from tests.faults.home import Home
from tests.faults.processes import daemon, descendants, ended_within, identify, kill, until
from tests.faults.queue_submit import STEP_S, STOPPED

from hs_scheduler.stores.engines import owner_of

SLOTS = 2

FAULTS = ("broker", "scheduler", "worker", "guardian", "cluster", "all", "stop", "second")
"""A daemon is killed, hs-cluster alone is, all of them are, it is told to stop, or another one wants the same queue."""

DEADLY = frozenset({"worker", "guardian", "cluster", "all", "stop"})
"""What ends a worker: each task that it was running may start again."""

TERMINATED = 143

AFTER_CLUSTER_S = 30.0
"""When hs-cluster itself was killed, everything must be gone after so long, on a loaded machine too."""

POLL_S = 0.05


class Clusters:
    """At most one `hs-cluster --forever` at a time, on the standing queue of a home.

    Args:
        home: Where it runs.
        location: Its database.
        wrong: Takes a line for whatever should not have been.

    """

    def __init__(self, home: Home, location: str, wrong: list[str]) -> None:
        self._home = home
        self._location = location
        self._wrong = wrong
        self._cluster: subprocess.Popen[bytes] | None = None
        self.faults: Counter[str] = Counter()

    @property
    def reruns_max(self) -> int:
        """How many tasks may have started once more."""
        return SLOTS * sum(count for name, count in self.faults.items() if name in DEADLY)

    def disturb(self, over: Callable[[], bool], dice: random.Random, calm_max_s: float) -> None:
        """Let one cluster after the other come, each fault at least once, at most `calm_max_s` apart, until it is over."""
        for name in _shuffled(dice):
            if over() and len(self.faults) == len(FAULTS):
                return
            cluster = self.need()
            if ended_within(cluster.pid, calm_max_s * dice.uniform(0.2, 1.0)):
                self._wrong.append(f"hs-cluster ended by itself: {self._errors()}")
                self._gone()
                continue
            if not until(self._owned, STEP_S, POLL_S):
                self._wrong.append("no scheduler came back")
            self.faults[name] += 1
            self._strike(name, cluster)

    def need(self) -> subprocess.Popen[bytes]:
        """Return the cluster that is there, else a new one that takes requests."""
        if self._cluster is None:
            with open(self._home.path("stderr"), "ab") as errors:
                self._cluster = self._home.start("hs-cluster", "--forever", f"-N{SLOTS}", stderr=errors)
            if not until(self._owned, STEP_S, POLL_S):
                self._wrong.append(f"no cluster came: {self._errors()}")
        return self._cluster

    def stop(self) -> None:
        """Tell the cluster to stop; it must say that it was told so."""
        cluster = self.need()
        cluster.terminate()
        if not ended_within(cluster.pid, STEP_S):
            self._wrong.append("hs-cluster did not end by SIGTERM")
            kill(cluster.pid, signal.SIGKILL)
        if (status := self._gone()) != TERMINATED:
            self._wrong.append(f"hs-cluster was told to stop and ended with {status}: {self._errors()}")

    def _strike(self, name: str, cluster: subprocess.Popen[bytes]) -> None:
        match name:
            case "stop":
                self.stop()
            case "second":
                self._second()
            case "cluster" | "all":
                below = [found for pid in descendants(cluster.pid) if (found := identify(pid))]
                kill(cluster.pid)
                if name == "all":
                    for process in below:
                        kill(process.pid)
                self._gone()
                if not until(lambda: all(identify(each.pid) != each for each in below), AFTER_CLUSTER_S):
                    self._wrong.append("something outlived a killed hs-cluster")
            case _:
                # It may be on its way back: only the scheduler was waited for.
                if not until(lambda: (pid := daemon(cluster.pid, name)) and kill(pid), STEP_S, POLL_S):
                    self._wrong.append(f"no {name} came back")

    def _owned(self) -> bool:
        owner = owner_of(self._location)
        return owner is not None and bool(owner.control)

    def _second(self) -> None:
        """Start another one: it must be refused, and say by whom."""
        done = self._home.run("hs-cluster", "--forever", f"-N{SLOTS}", seconds=STEP_S)
        if done.returncode != STOPPED or b" is owned by " not in done.stderr:
            self._wrong.append(f"a second cluster: status {done.returncode}, {done.stderr[-300:]!r}")

    def _gone(self) -> int:
        """Note that there is no cluster any more; return how it ended."""
        assert self._cluster is not None, "it was there"
        status = self._cluster.wait()
        self._cluster = None
        return status

    def _errors(self) -> str:
        return self._home.read("stderr")[-500:].decode(errors="replace")


def _shuffled(dice: random.Random) -> Iterator[str]:
    while True:
        yield from dice.sample(FAULTS, len(FAULTS))
