"""The guardian: starts the worker, outlives it, and lets nothing survive it that it started.

    hs-cluster or a shell ──stdin, signals──▶ guardian ──pipe: document, words──▶ worker ──▶ tasks
                                                  └───────── shared map ───────────┘

    worker ended in order, or refused   sweep, end
    worker died                         sweep, read the map, start a successor (at most `limits.RESTARTS_MAX` times in a row)
    guardian died                       the worker reads the end of its pipe, stops its tasks and ends

Words on the pipe: drain, grace; stop, pause, resume, which a lifeline may say as well, and kept (`frames`), which only that says.
Its end means: kill what runs and end.
Signals reach only the guardian (the worker lives in a session of its own and heeds none), so that a launcher that signals all
processes of a step is not taken for two signals. The guardian imports nothing that is not needed here, and once its worker has
begun it ends with status 0 whatever happens, unless outputs are lost: launchers act on anything else.
"""

import contextlib
import fcntl
import os
import select
import signal
import sys
from collections.abc import Callable
from math import ceil, inf
from typing import NamedTuple, NoReturn

from hs_common import limits
from hs_common.clock import monotonic
from hs_common.errors import StoppedError
from hs_common.incarnation import ID_BYTES
from hs_common.lifeline import Lifeline
from hs_common.logs import get_logger
from hs_common.notify import Notifier
from hs_common.prctl import become_subreaper
from hs_common.signals import SignalPipe
from hs_worker.execution.tree import sweep
from hs_worker.shared_map import SharedMap

EXIT_REFUSED = 4
"""Of a worker that the broker will not have: coming back would be of no use."""
EXIT_TIME_OVER = 5
"""Of a worker that may run no longer. The guardian passes it on to whoever understands it (`tells_end`)."""
EXIT_SETUP = (2, 3)
"""Of a worker that could not even begin: misuse, or a host that lacks something; 3 also where outputs are lost. These the
guardian passes on."""
END_S = 2.0
"""Within so long after the end of the lifeline everything is gone."""
_AGAIN_S = 1.0
"""Between two attempts to start a successor, where the host makes no process."""
_SWEEP_S = 10.0
"""For what a dead worker left. What survives SIGKILL for so long sits in the kernel."""
_PAUSE_SIGNALS = {signal.SIGTSTP: b"pause", signal.SIGCONT: b"resume"}
_DRAIN_SIGNALS = {signal.SIGINT: b"drain", signal.SIGUSR1: b"drain", signal.SIGTERM: b"grace", signal.SIGHUP: b"grace"}

log = get_logger("worker")


class Start(NamedTuple):
    """What a worker inherits."""

    pipe: int
    """Reading end: the document if there is a lifeline, then words."""
    shared: SharedMap
    beat_s: float
    """It has to turn its loop and note it within so many seconds; infinity: nobody asks."""


Work = Callable[[Start], int]
"""Runs in the new process; returns its exit status."""


class Guardian:
    """One guardian and the worker of the moment.

    Args:
        work: What a worker does.
        shared: The map.
        lifeline: Descriptor of the lifeline, or None where stdin is none.
        notifier: To the service manager: we answer for the worker's loop too.
        silence_s: Of the lifeline, until it counts as ended; 0: its end is always seen. A network may swallow it.
        origin: What the ids of all workers begin with.
        tells_end: Whether to end with `EXIT_TIME_OVER` where that is why.

    """

    def __init__(
        self,
        work: Work,
        shared: SharedMap,
        lifeline: int | None,
        notifier: Notifier,
        *,
        silence_s: float = 0.0,
        origin: bytes = b"",
        tells_end: bool = False,
    ) -> None:
        self._work = work
        self._shared = shared
        self._origin = origin
        self._notifier = notifier
        self._beats = 0
        """Turns of the worker's loop as of the last look."""
        self._lifeline = None if lifeline is None else Lifeline(lifeline)
        self._document = b""
        self._signals = SignalPipe([signal.SIGCHLD, *_DRAIN_SIGNALS, *_PAUSE_SIGNALS])
        # hs-cluster starts us with it blocked, so that none is lost before this.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PAUSE_SIGNALS)
        self._poll = select.poll()
        self._poll.register(self._signals.fd, select.POLLIN)
        if lifeline is not None:
            self._poll.register(lifeline, select.POLLIN)
        self._worker = 0
        self._pipe = -1
        self._word = b""
        """The last that was said; a successor hears it too."""
        self._paused = False
        self._ends_at: float | None = None
        self._again_at = inf
        """When to start a successor that could not be started."""
        self._silence_s = silence_s or inf
        self._silent_at = monotonic() + self._silence_s
        """Then the lifeline counts as ended: the network is cut, and nobody could tell us."""
        self._told = (*EXIT_SETUP, EXIT_TIME_OVER) if tells_end else EXIT_SETUP
        self._restarts = 0
        self._finished = 0
        self._status = 0

    def run(self) -> int:
        """Return when the worker has ended for good, and nothing of it is left: our exit status.

        Raises:
            StoppedError: The host makes no process, not even the first.

        """
        try:
            self._start()
        except OSError as exc:
            raise StoppedError(f"no process can be started: {exc.strerror}") from exc
        self._notifier.ready(monotonic())
        while self._worker or self._again_at < inf:
            self._wait()
            if self._ends_at is not None and monotonic() >= self._ends_at:
                break
        sweep(monotonic() + END_S, monotonic)
        return self._status

    def _wait(self) -> None:
        until = min(self._notifier.due_at, self._again_at, self._silent_at if self._ends_at is None else self._ends_at)
        wait_ms = None if until == inf else ceil(max(0.0, until - monotonic()) * 1000)
        ready = {fd for fd, _ in self._poll.poll(wait_ms)}
        if (now := monotonic()) >= self._notifier.due_at:
            self._vouch(now)
        if self._lifeline is not None and self._lifeline.fd in ready:
            self._on_lifeline(self._lifeline)
        elif self._lifeline is not None and self._ends_at is None and now >= self._silent_at:
            self._end(self._lifeline)
        if now >= self._again_at:
            self._succeed()
        if self._signals.fd in ready:
            for number in self._signals.drain():
                if number == signal.SIGCHLD:
                    self._reap()
                elif number in _DRAIN_SIGNALS:
                    # The second one, whichever it is, says: now.
                    self._say(b"stop" if self._word else _DRAIN_SIGNALS[signal.Signals(number)])
                elif number in _PAUSE_SIGNALS:
                    self._pause(_PAUSE_SIGNALS[signal.Signals(number)])

    def _vouch(self, now: float) -> None:
        """Tell the service manager that all is well, if the worker's loop has turned since the last time, or never yet."""
        beats = self._shared.beats
        if beats and beats == self._beats:
            self._notifier.skip(now)
        else:
            self._notifier.beat(now)
        self._beats = beats

    def _pause(self, word: bytes) -> None:
        """Let the tasks stop or go on; at a terminal of our own we stop with them."""
        self._paused = word == b"pause"
        self._write(word + b"\n")
        if self._paused and self._lifeline is None:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _on_lifeline(self, lifeline: Lifeline) -> None:
        self._silent_at = monotonic() + self._silence_s
        for line in lifeline.lines():
            if not self._document:
                self._document = line + b"\n"
                self._write(self._document)
            elif line in _PAUSE_SIGNALS.values():
                self._pause(line)
            elif line == b"stop":
                self._say(line)
            elif line:
                self._write(line + b"\n")
        if lifeline.ended:
            self._end(lifeline)

    def _end(self, lifeline: Lifeline) -> None:
        """Whoever started us is gone: so are we, soon."""
        self._poll.unregister(lifeline.fd)
        self._ends_at = monotonic() + END_S
        self._again_at = inf
        self._close_pipe()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._worker:
                    self._on_death(os.waitstatus_to_exitcode(status))

    def _on_death(self, status: int) -> None:
        self._worker = 0
        self._close_pipe()
        if status in self._told:
            self._status = status
        if status in (0, EXIT_REFUSED, EXIT_TIME_OVER, *EXIT_SETUP) or self._ends_at is not None:
            return
        if not sweep(monotonic() + _SWEEP_S, monotonic):
            log.error("worker.unkillable")
        if self._shared.finished != self._finished:
            self._restarts = 0
        self._finished = self._shared.finished
        self._succeed(status=status)

    def _succeed(self, **why: int) -> None:
        """Start a successor, or note when to try again, or that there have been enough. `why`: what is logged."""
        self._again_at = inf
        self._restarts += 1
        if self._restarts > limits.RESTARTS_MAX or self._word == b"stop":
            log.error("worker.lost", **why, restarts=self._restarts - 1)
            return
        try:
            self._start()
        except OSError as exc:
            # It has the outcomes that nobody acknowledged: only we can wait until the host makes processes again.
            log.warning("worker.unstarted", **why, reason=exc.strerror, again_s=_AGAIN_S)
            self._again_at = monotonic() + _AGAIN_S
        else:
            log.warning("worker.restarted", **why)

    def _start(self) -> None:
        self._shared.succeed(self._origin + os.urandom(ID_BYTES - len(self._origin)))
        read_end, self._pipe = os.pipe2(os.O_CLOEXEC)
        # Blocked: the new process must not act on a signal in our stead before it has its own handlers.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *_DRAIN_SIGNALS, *_PAUSE_SIGNALS})
        sys.stdout.flush()
        try:
            self._worker = os.fork()
            if not self._worker:
                self._become_worker(read_end)
        except OSError:
            self._close_pipe()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            os.close(read_end)
        self._write(self._document)
        if self._paused:
            self._write(b"pause\n")
        if self._word:
            self._write(self._word + b"\n")

    def _become_worker(self, read_end: int) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            os.close(self._signals.fd)
            os.close(self._pipe)
            nothing = os.open(os.devnull, os.O_RDONLY)
            if nothing:  # the lifeline is the guardian's alone; tasks inherit this one
                os.dup2(nothing, 0)
                os.close(nothing)
            os.setsid()
            status = self._work(Start(read_end, self._shared, self._notifier.period_s / 2))
        except BaseException:
            log.exception("worker.crashed")
        finally:
            os._exit(status)

    def _say(self, word: bytes) -> None:
        self._notifier.stopping()
        self._word = word
        self._write(word + b"\n")

    def _write(self, line: bytes) -> None:
        """Write to the worker. It reads all the time, and a document or a word is far less than the pipe holds."""
        if self._pipe >= 0 and line:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, line)

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def guard(
    work: Work,
    shared: SharedMap,
    lifeline: int | None,
    notifier: Notifier,
    *,
    silence_s: float,
    origin: bytes,
    tells_end: bool,
) -> int:
    """Be the guardian of a worker; return the exit status when all is over."""
    become_subreaper()
    return Guardian(work, shared, lifeline, notifier, silence_s=silence_s, origin=origin, tells_end=tells_end).run()


def close_on_exec() -> None:
    """Let no task inherit a descriptor that we inherited, stdin, stdout and stderr excepted."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2:  # noqa: PLR2004 - stderr
            with contextlib.suppress(OSError):  # the one of the listing itself
                fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
