"""A standing cluster for tests: `hs-cluster --forever` in a home of its own."""

import json
import subprocess
from typing import Any

from tests.faults.home import Home
from tests.faults.processes import ended_within, until

from hs_scheduler.stores.engines import owner_of

STEP_S = 60.0


class Queue:
    """A standing cluster."""

    def __init__(self, home: Home, *options: str) -> None:
        self.home = home
        self.database = home.path("site", "main", "tasks.db")
        self.cluster = home.start(
            "hs-cluster", "--forever", "-N2", *options, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        assert until(self.takes_requests, STEP_S)

    def takes_requests(self) -> bool:
        owner = owner_of(self.database)
        return owner is not None and bool(owner.control)

    def search(self, *options: str) -> list[dict[str, Any]]:
        """Return tasks."""
        found = self.home.run("hs", "task", "search", "--json", "--database", self.database, *options)
        assert found.returncode == 0, found.stderr
        rows: list[dict[str, Any]] = json.loads(found.stdout)
        return rows

    def status(self) -> dict[str, Any]:
        """Return what `hs status` says."""
        found: dict[str, Any] = json.loads(self.home.run("hs", "status", "--json").stdout)
        return found

    def args(self) -> list[str]:
        """The args of each task, each attempt."""
        return [row["args"] for row in self.search("args")]

    def lines(self) -> list[bytes]:
        return self.home.read("ran").split()

    def end(self) -> None:
        self.cluster.terminate()
        assert ended_within(self.cluster.pid, STEP_S)
        assert self.cluster.wait() == 143
