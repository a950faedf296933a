"""Workers whose number follows the work (`-A`). A program of its own (`python -m`), see `fleet`.

    every period: status of the scheduler ──▶ decide ──▶ one more unit: a launcher's process, or a worker here

Nothing is stopped: a unit ends when its worker leaves. What was decided, with its numbers, is logged, and told to the scheduler,
which shows it to `hs status`.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import zmq

from hs_common.client import Client
from hs_common.clock import monotonic
from hs_common.descriptors import limit_descriptors, raise_descriptor_limit
from hs_common.errors import HSError, StoppedError
from hs_common.incarnation import ORIGIN_BYTES, origin_arguments
from hs_common.logs import get_logger
from hs_common.security import Connection
from hs_deploy.daemons import Daemon, how_it_ended
from hs_deploy.launchers import local
from hs_deploy.launchers.autoscale import Census, Policy
from hs_deploy.launchers.command import CommandHolder
from hs_deploy.launchers.fleet import hold
from hs_deploy.launchers.fleet_core import Awaited, Ended
from hs_deploy.launchers.launches import Launches
from hs_deploy.launchers.local import CHILD_ERRORS_FD
from hs_deploy.launchers.unit_streams import Handlers, Outlets, UnitStreams

ANSWER_S = 2.0
"""For the scheduler to say how things are; else it is asked again a period later."""

log = get_logger("autoscaler")


class Unit(Protocol):
    """What one launch started."""

    @property
    def pid(self) -> int:
        """Of the process that stands for it."""

    def watch(self, poller: zmq.Poller) -> Handlers:
        """As of a holder."""

    def on_end(self, status: int) -> None:
        """Take its exit status, -signal."""

    def signal(self, signum: int) -> None:
        """Send it."""

    def pause(self, *, paused: bool) -> None:
        """As of a holder."""

    @property
    def ended(self) -> Ended | None:
        """How it ended."""

    def died(self) -> list[bytes]:
        """As of a holder, once it has ended."""


class LocalUnit:
    """A worker on this host. Its lifeline is ours, so it never outlives us."""

    def __init__(
        self, worker: list[str], connection: object, environ: Mapping[str, str], outlets: Outlets, origin: bytes
    ) -> None:
        self._origin = origin
        log_fd = local.copy_out_of_the_way(2)
        try:
            self._streams = UnitStreams(outlets, outlets.errors.write)
        except OSError:
            os.close(log_fd)
            raise
        descriptors = {2: log_fd, **dict(zip((1, CHILD_ERRORS_FD), self._streams.ends, strict=True))}
        try:
            self._process = local.start(Daemon.WORKER, [*worker, *origin_arguments(origin)], descriptors, environ)
        except OSError as exc:
            self._streams.end()
            raise StoppedError(f"hs-worker cannot be started: {exc.strerror}") from exc
        finally:
            self._streams.begin()
            os.close(log_fd)
        self._process.tell(json.dumps({"connection": connection}).encode() + b"\n")
        self._ended: Ended | None = None

    @property
    def pid(self) -> int:
        """Of its guardian."""
        return self._process.pid

    def watch(self, poller: zmq.Poller) -> Handlers:
        """Wait for what its tasks say, and until its lifeline takes what it has not read yet."""
        handlers = self._streams.watch(poller)
        if (fd := self._process.waits_to_write) is not None:
            poller.register(fd, zmq.POLLOUT)
            handlers[fd] = self._process.flush
        return handlers

    def on_end(self, status: int) -> None:
        """Take its exit status, and the rest of what its tasks said."""
        self._process.release()
        self._streams.end()
        self._ended = Ended(status, f"hs-worker {how_it_ended(status, '')}")

    def signal(self, signum: int) -> None:
        """Send it to its guardian."""
        self._process.signal(signum)

    def pause(self, *, paused: bool) -> None:
        """Let its tasks stand still, or go on."""
        self._process.signal(signal.SIGTSTP if paused else signal.SIGCONT)

    @property
    def ended(self) -> Ended | None:
        """How it ended."""
        return self._ended

    def died(self) -> list[bytes]:
        """It is our child: whatever ended it, it is dead."""
        return [self._origin] if self._ended is not None and self._ended.status else []


class ScaledHolder:
    """All units of a cluster.

    Args:
        policy: What was asked for.
        start_unit: Launches one more.
        control: To ask the scheduler.
        unit_slots: Of a worker that has not connected yet.
        outlets: Where goes what units say.
        stays_s: So long, seconds, stays what launches a worker.

    """

    def __init__(
        self,
        policy: Policy,
        start_unit: Callable[[], Unit],
        control: Connection,
        unit_slots: int,
        outlets: Outlets,
        stays_s: float,
    ) -> None:
        self._start_unit = start_unit
        self._control = control
        self._unit_slots = unit_slots
        self._outlets = outlets
        self._units: dict[Unit, float] = {}
        """Unit -> when it was started."""
        self._died: list[bytes] = []
        self._launches = Launches(policy, monotonic(), stays_s=stays_s)
        self._descriptors = raise_descriptor_limit()
        """That our user allowed, also to units: each costs us three."""
        self._paused = False
        self._lingers = False
        """Whether our own reader may take his time with what was said."""
        self._told: dict[str, Any] = {}
        """The last decision, with its numbers."""

    def start(self) -> None:
        """Launch those to begin with."""
        self.step(monotonic())

    def watch(self, poller: zmq.Poller) -> Handlers:
        """Wait for what all units wait for, and for our own reader."""
        handlers = self._outlets.watch(poller)
        for unit in self._units:
            handlers |= unit.watch(poller)
        return handlers

    def deadline(self) -> float | None:
        """When something is to be decided."""
        return self._launches.deadline()

    def step(self, now: float) -> None:
        """Take the statuses of units that ended; decide, if it is time."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._on_child_ended(found[0], os.waitstatus_to_exitcode(found[1]), now)
        for _ in range(self._launches.initial(now)):
            self._launch(now)
        if self._launches.due(now):
            self._decide(now)

    def died(self) -> list[bytes]:
        """Return the origins of units that ended before their time."""
        died, self._died = self._died, []
        return died

    def awaited(self, now: float) -> Awaited:
        """Wait as long as units say something, and until that is taken."""
        return self._outlets.awaited(now, "the workers")

    def leave(self) -> None:
        """Launch nothing more, and let all that was said be taken before we say that all have left."""
        self._launches.closed = self._lingers = True

    def stop(self) -> None:
        """Do nothing: the broker tells them."""

    def signal(self, signum: int) -> None:
        """Send it to all units."""
        self._lingers = False
        for unit in self._units:
            unit.signal(signum)

    def pause(self, *, paused: bool) -> None:
        """Tell all units, and those to come."""
        self._paused = paused
        for unit in self._units:
            unit.pause(paused=paused)

    @property
    def ended(self) -> Ended | None:
        """That no worker can be started; that nobody takes what they say; or that all have left, and none is to be."""
        if self._outlets.lost or (self._lingers and self._outlets.waits):
            return self._outlets.lost
        if self._launches.hopeless and not self._launches.closed:
            return Ended(1, self._launches.hopeless)
        return Ended(0, "all workers have left") if self._launches.closed and not self._units else None

    def close(self, wait_ms: int) -> None:
        """Pass on what is left."""
        self._outlets.close(wait_ms)

    def _on_child_ended(self, pid: int, status: int, now: float) -> None:
        unit = next((unit for unit in self._units if unit.pid == pid), None)
        if unit is None:
            return  # what a unit left behind
        unit.on_end(status)
        lived_s = now - self._units.pop(unit)
        ended = unit.ended
        assert ended is not None
        self._died += unit.died()
        quick = self._launches.returned_early(ended.status, lived_s) and not self._launches.closed
        connected = len(self._ask().get("workers", ())) if quick else 0
        self._note(self._launches.ended(ended.status, ended.how, lived_s=lived_s, connected=connected, now=now))

    def _launch(self, now: float) -> None:
        try:
            unit = self._start_unit()
        except (StoppedError, OSError) as exc:
            self._note(self._launches.ended(127, str(exc), lived_s=0.0, connected=0, now=now))
            return
        limit_descriptors(unit.pid, self._descriptors)
        self._units[unit] = now
        if self._paused:
            unit.pause(paused=True)

    def _decide(self, now: float) -> None:
        status = self._ask()
        if not status:
            self._launches.postpone(now)
            return
        workers = len(status["workers"])
        if workers:
            self._launches.stayed()
        census = Census(
            units=len(self._units),
            slots=status["slots"] + self._unit_slots * max(0, len(self._units) - workers),
            remaining=status["group_left"],
            average_s=status["average_s"],
        )
        decision = self._launches.decide(census, now)
        self._told = decision.numbers() | {"connected": workers}
        log.info("scale.decided", **self._told)
        if decision.start:
            self._launch(now)
        self._ask()  # tells it

    def _ask(self) -> dict[str, Any]:
        """Tell the scheduler what was decided last, and return how things are; {}: it does not say."""
        client = Client(self._control, patience_s=ANSWER_S)
        try:
            answer = client.ask("status", json.dumps(self._told).encode(), until=monotonic() + ANSWER_S)
            found: dict[str, Any] = json.loads(answer)
        except HSError as exc:
            log.info("scale.postponed", reason=str(exc))
            return {}
        finally:
            client.close()
        return found

    def _note(self, failure: str) -> None:
        if failure:
            log.warning("launch.failed", reason=failure)


def _make(document: dict[str, Any], environ: dict[str, str]) -> ScaledHolder:
    worker, launcher = document["worker"], document["launcher"]

    outlets = Outlets()

    def start_unit() -> Unit:
        origin = os.urandom(ORIGIN_BYTES)
        if not launcher:
            return LocalUnit(worker, document["connection"], environ, outlets, origin)
        unit = CommandHolder(launcher, worker, environ, outlets, origin)
        unit.start()
        return unit

    control = Connection.from_json(document["control"])
    policy = Policy(**document["policy"])
    return ScaledHolder(policy, start_unit, control, document["slots"], outlets, document["stays_s"])


if __name__ == "__main__":
    hold("hs-autoscaler", _make)
