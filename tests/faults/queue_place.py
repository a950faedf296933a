"""A standing queue in a home of its own: its database, what is put into it, the clusters that run it, and the judge."""

import os
import time
from collections import Counter

from tests.faults.databases import SqliteFile
from tests.faults.home import Home
from tests.faults.processes import until
from tests.faults.queue_clusters import AFTER_CLUSTER_S, Clusters
from tests.faults.queue_judge import Tally, Task, judged
from tests.faults.queue_submit import Piece, Submitter

from hs_scheduler.tasks.state import State

DRAIN_MAX_S = 300.0
DRAIN_POLL_S = 0.5
"""Counting is work too."""

PROBE_MAX_S = 120.0


class Queue:
    """Use its parts, then `end` it, then look at `wrong`."""

    def __init__(self, home: Home) -> None:
        self.wrong: list[str] = []
        self._home = home
        os.makedirs(home.path("site", "main"), 0o700)
        self._database = SqliteFile(home)
        self._database.location = home.path("site", "main", "tasks.db")
        self._database.install_audit()
        self.clusters = Clusters(home, self._database.location, self.wrong)
        self.submitter = Submitter(home, self.wrong)

    def ended(self) -> int:
        """Return how many tasks have ended."""
        return self._count(f"state >= {State.DONE:d}")

    def drain(self) -> None:
        """Wait until nothing is left to do."""
        left = f"state < {State.DONE:d}"
        if not until(lambda: self._count(left) == 0, DRAIN_MAX_S, DRAIN_POLL_S):
            self.wrong.append(f"{self._count(left)} tasks did not end")

    def probe(self, piece: Piece) -> float:
        """Run a piece while there is nothing else to do; return its tasks/s, from the first start to the last record."""
        ((last,),) = self._database.ask("SELECT coalesce(max(row), 0) FROM task")
        done = f"row > {last} AND state = {State.DONE:d}"
        self.submitter.submit(piece)
        if not until(lambda: self._count(done) == piece.count, PROBE_MAX_S, poll_s=0.01):
            self.wrong.append(f"{piece} did not end within {PROBE_MAX_S:.0f} s")
        end = time.time()
        ((start,),) = self._database.ask(f"SELECT min(start_time) FROM task WHERE {done}")
        return piece.count / (end - float(start))

    def end(self, tasks: int) -> int:
        """Stop the cluster and judge what is there of so many accepted tasks; return how many ran once more."""
        self.clusters.stop()
        self.wrong += self._home.leftovers(AFTER_CLUSTER_S)
        found = self._database.ask("SELECT args, state, exit_status FROM task")
        applied = self._database.ask("SELECT args FROM audit JOIN task ON task.row = audit.row")
        tally = Tally(
            tasks=tasks,
            rows=[Task(_number(args), *rest) for args, *rest in found],
            applied=Counter(_number(args) for (args,) in applied),
            ran=Counter(int(line) for line in self._home.read("ran").split()),
        )
        self.wrong += judged(tally, reruns_max=self.clusters.reruns_max)
        return tally.reruns

    def _count(self, which: str) -> int:
        ((count,),) = self._database.ask(f"SELECT count(*) FROM task WHERE {which}")
        return int(count)


def _number(args: bytes) -> int:
    return int(args.removeprefix(b"echo ").split()[0])
