"""A program that holds workers elsewhere, in the place of a worker that hs-cluster started itself: the IO shell of `fleet_core`.

    hs-cluster ──lifeline, signals──▶ hs-launcher ──▶ holder: a launcher's process, or sessions of SSH ──▶ workers
                                          └── drain, stop; who died ──▶ broker ──▶ workers

stdin    the lifeline: a document first, with keys in it; `stop` when the run has ended, where outputs are waited for
1        the tasks' stdout
2        our own log; its last line is the reason when nothing can go on
5        the tasks' stderr
"""

import json
import os
import select
import signal
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import zmq

from hs_common.clock import monotonic
from hs_common.config import load_settings
from hs_common.errors import HSError, RefusedError
from hs_common.lifeline import Lifeline
from hs_common.logs import configure_by
from hs_common.prctl import become_subreaper, protect_secrets, set_process_name
from hs_common.security import Connection
from hs_common.signals import SignalPipe
from hs_deploy.launchers.caller import Caller
from hs_deploy.launchers.fleet_core import (
    Asked,
    Awaited,
    Bury,
    Died,
    Drain,
    Effect,
    Ended,
    Finished,
    FleetCore,
    Leave,
    Released,
    Signal,
    Stop,
)
from hs_deploy.launchers.local import FINISH
from hs_worker.execution.tree import sweep

DOCUMENT_WAIT_S = 60.0
"""For the first line: hs-cluster makes the keys at this moment."""

SWEEP_S = 2.0
LAST_WORDS_MS = 500
"""How long what waits to be written may take at the end, for each part."""

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_PAUSING = {signal.SIGTSTP: True, signal.SIGCONT: False}
"""Of hs-cluster, when it stands still and when it goes on."""


class Holder(Protocol):
    """What holds workers elsewhere."""

    def start(self) -> None:
        """Begin."""

    def watch(self, poller: zmq.Poller) -> dict[int, Callable[[], None]]:
        """Register what to wait for now; return descriptor -> what to call when it is ready."""

    def deadline(self) -> float | None:
        """When to call `step` next whatever happens, monotonic seconds."""

    def step(self, now: float) -> None:
        """Look after what is due; children may have ended, too."""

    def died(self) -> list[bytes]:
        """Return the origins of guardians that ended before their time since the last call: surely, not for all we know."""

    def awaited(self, now: float) -> Awaited:
        """Return which outputs may be on their way, as far as can be seen; `whom` is "" for none."""

    def leave(self) -> None:
        """Start nothing any more."""

    def stop(self) -> None:
        """Tell workers that nothing is left to run, where they can be told."""

    def signal(self, signum: int) -> None:
        """End what is held: SIGTERM in order, SIGKILL at once."""

    def pause(self, *, paused: bool) -> None:
        """Let the tasks stand still, or go on, where workers can be told."""

    @property
    def ended(self) -> Ended | None:
        """How it ended, once nothing is held any more."""

    def close(self, wait_ms: int) -> None:
        """Write out what waits to be written."""


class Fleet:
    """The loop."""

    def __init__(self, holder: Holder, caller: Caller, lifeline: Lifeline, signals: SignalPipe) -> None:
        self._core = FleetCore(monotonic())
        self._holder = holder
        self._caller = caller
        self._lifeline = lifeline
        self._signals = signals
        self._leave: Leave | None = None

    def run(self) -> Leave:
        """Hold the workers until all have ended; return how."""
        self._holder.start()
        while self._leave is None:
            self._step()
        self._caller.close()
        self._holder.close(LAST_WORDS_MS)
        sweep(monotonic() + SWEEP_S, monotonic)
        return self._leave

    def _step(self) -> None:
        poller = zmq.Poller()
        poller.register(self._signals.fd, zmq.POLLIN)
        if not self._lifeline.ended:
            poller.register(self._lifeline.fd, zmq.POLLIN)
        for socket in self._caller.sockets:
            poller.register(socket, zmq.POLLIN)
        handlers = self._holder.watch(poller)
        ready = {source for source, _ in poller.poll(self._wait_ms())}
        for fd, handler in handlers.items():
            if fd in ready:
                handler()
        for number in self._signals.drain():
            if number in _ASKING:
                self._perform(self._core.handle(Asked(), monotonic()))
            elif number in _PAUSING:
                self._holder.pause(paused=_PAUSING[signal.Signals(number)])
        self._caller.step()
        if self._lifeline.fd in ready:
            if FINISH in self._lifeline.lines():
                self._perform(self._core.handle(Finished(), monotonic()))
            if self._lifeline.ended:
                self._perform(self._core.handle(Released(), monotonic()))
        now = monotonic()
        self._holder.step(now)
        for origin in self._holder.died():
            self._perform(self._core.handle(Died(origin), now))
        self._perform(self._core.handle(self._holder.awaited(now), now))
        self._perform(self._core.expire(now))
        if self._holder.ended is not None:
            self._perform(self._core.handle(self._holder.ended, now))

    def _wait_ms(self) -> int | None:
        deadlines = (self._core.deadline(), self._caller.deadline(), self._holder.deadline())
        until = min((at for at in deadlines if at is not None), default=None)
        return None if until is None else max(0, int((until - monotonic()) * 1000) + 1)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Drain(now=now):
                    self._holder.leave()
                    self._caller.drain(now=now)
                case Stop():
                    self._holder.stop()
                case Bury(origin=origin):
                    self._caller.bury(origin)
                case Signal(signum=signum):
                    self._holder.signal(signum)
                case Leave():
                    self._leave = effect


def hold(name: str, make: Callable[[dict[str, Any], dict[str, str]], Holder]) -> NoReturn:
    """Be such a program: `make` gets the document and our environment. Ends the process."""
    try:
        set_process_name(name)
        protect_secrets(starts_tasks=True)
        become_subreaper()
        signals = SignalPipe([signal.SIGCHLD, *_ASKING, *_PAUSING])
        # hs-cluster starts us with it blocked, so that none is lost before this.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PAUSING)
        environ = dict(os.environ)  # with what hs-cluster decided: its workers are to have that, too
        configure_by(load_settings())
        lifeline = Lifeline(0)
        document = json.loads(lifeline.first_line(DOCUMENT_WAIT_S))
        caller = Caller(Connection.from_json(document["control"]))
        left = Fleet(make(document, environ), caller, lifeline, signals).run()
        leave(left.status, left.reason)
    except HSError as exc:
        leave(2 if isinstance(exc, RefusedError) else 3, str(exc))


def leave(status: int, reason: str = "") -> NoReturn:
    """End now, with a last line on stderr."""
    if reason:
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(LAST_WORDS_MS):
            os.write(2, f"hs-cluster: {reason}\n".encode(errors="backslashreplace"))
    os._exit(status)
