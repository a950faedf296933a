"""A cluster put together by hand: the real daemons, but the keys of every role are ours, as an attacker with one would hold them.

hs-cluster starts its daemons in the same way; it only never gives its keys away.
"""

import json
import os
import select
import subprocess
import time
from dataclasses import replace
from typing import Any, Self

from tests.faults.home import Home
from tests.faults.processes import until

from hs_common.security import Connection, make_cluster

START_S = 60.0
"""A daemon that is not there after so long never will be."""


class Handmade:
    """Use it in a `with`, inside a home."""

    def __init__(self, home: Home, *endpoints: str) -> None:
        self.home = home
        os.mkdir(home.path("run", "hs"), 0o700)
        self.ipc = home.path("run", "hs", "broker")
        self._server, self.connections = make_cluster((f"ipc://{self.ipc}", *endpoints), "localhost")
        self.broker = self._start_broker()
        self.scheduler: subprocess.Popen[bytes] | None = None
        self._report: int | None = None

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the scheduler's reports; the processes end with the home."""
        if self._report is not None:
            os.close(self._report)
            self._report = None

    def connection(self, role: str) -> Connection:
        """Return what a daemon of that role is given."""
        return self.connections[role]

    def kill_broker(self) -> None:
        """Kill it and wait until it is gone."""
        self.broker.kill()
        self.broker.wait()

    def restart_broker(self) -> None:
        """Start another broker with the keys of the first, as a supervisor does."""
        self.broker = self._start_broker()

    def start_scheduler(self, *arguments: str, **settings: Any) -> None:
        """Start hs-scheduler with this input and these options; its last report is `finish()`."""
        self._report, theirs = os.pipe()
        run = {"id": os.urandom(16).hex(), "settings": settings}
        argv = ("hs-scheduler", *arguments, "--connection", "-", "--report-fd", str(theirs))
        document = {"connection": self.connection("scheduler").to_json(), "run": run}
        self.scheduler = self._start(argv, document, pass_fds=(theirs,))
        os.close(theirs)

    def start_worker(self, *arguments: str, endpoints: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[bytes]:
        """Start hs-worker, which goes to these endpoints, or to all of the broker's."""
        connection = self.connection("worker")
        document = {"connection": replace(connection, endpoints=endpoints or connection.endpoints).to_json()}
        return self._start(("hs-worker", "--connection", "-", *arguments), document, **options)

    def finish(self, seconds: float) -> dict[str, Any]:
        """Wait for the scheduler's end and return its last word, {} when it said none.

        Raises:
            subprocess.TimeoutExpired: It did not end in time.

        """
        assert self.scheduler is not None
        assert self._report is not None
        deadline, said = time.monotonic() + seconds, b""
        # Its pipe may be full: it ends when it has said its last word.
        poll = select.poll()  # not select: a thousand simulated workers have descriptors, too
        poll.register(self._report, select.POLLIN)
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if not (chunk := os.read(self._report, 1 << 16)):
                break
            said += chunk
        self.scheduler.wait(max(0.0, deadline - time.monotonic()))
        ends = [line for line in said.splitlines() if line.startswith(b'{"end"')]
        return dict(json.loads(ends[-1])["end"]) if ends else {}

    def _start_broker(self) -> subprocess.Popen[bytes]:
        if os.path.exists(self.ipc):
            os.unlink(self.ipc)
        document = {"server": self._server.to_json()}
        broker = self._start(("hs-broker", "--connection", "-"), document)
        assert until(lambda: os.path.exists(self.ipc) or broker.poll() is not None, START_S)
        assert broker.poll() is None, self.home.read("daemons.log").decode()
        return broker

    def _start(self, argv: tuple[str, ...], document: dict[str, Any], **options: Any) -> subprocess.Popen[bytes]:
        with open(self.home.path("daemons.log"), "ab") as errors:
            process = self.home.start(*argv, stdin=subprocess.PIPE, stderr=errors, **options)
        assert process.stdin
        process.stdin.write(json.dumps(document).encode() + b"\n")
        process.stdin.flush()
        return process
