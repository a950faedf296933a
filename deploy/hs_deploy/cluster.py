"""The one-shot: IO shell of the supervisor. One poller waits for signals, reports, logs, the input and the terminal.

    options ─▶ run folders ─▶ three daemons started ─▶ keys made and handed over ─▶ loop ─▶ sweep ─▶ summary, exit status

The daemons come before the keys: while they import what they need, so do we.
"""

import contextlib
import json
import os
import select
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from hs_common.clock import monotonic
from hs_common.signals import SignalPipe
from hs_deploy.daemons import Daemon
from hs_deploy.events import (
    AwaitOrphans,
    DaemonEnded,
    Effect,
    Event,
    Failed,
    Finish,
    HaltAsked,
    Interrupted,
    KillAll,
    KillOrphans,
    OrphansGone,
    OutputLost,
    Progressed,
    Release,
    Resumed,
    RunEnded,
    Say,
    StandStill,
    Start,
    Tell,
)
from hs_deploy.launch import Launcher
from hs_deploy.launchers.local import Process, children
from hs_deploy.relay import Outlet, Stream
from hs_deploy.spool import KeptSpool, Spool
from hs_deploy.summary import Totals, totals
from hs_deploy.supervisor import KILLED_S, SupervisorCore
from hs_deploy.terminal import Terminal

if TYPE_CHECKING:  # few outputs are spooled
    from hs_deploy.printing import Printer

WAKE_S = 0.02
"""Between two looks at what can be printed; nobody sees the difference."""
SWEEP_POLL_MS = 50
"""Between two looks at what is still dying; each death wakes us before."""


class Cluster:
    """Starts the daemons, watches them, ends with them.

    Args:
        core: Decides.
        launcher: Knows how each daemon is started and what it is given.
        spool: Copies a piped input, or None.
        printer: Prints the outputs that the workers spooled, or None: they are not.
        terminal: Where everything that people read goes.
        signals: `launch.SIGNALS`, caught since before the first start: no SIGCHLD may be missed.
        kept: Children that we had before (an exec in a shell script, a process substitution): not ours to end.

    """

    def __init__(
        self,
        *,
        core: SupervisorCore,
        launcher: Launcher,
        spool: Spool | KeptSpool | None,
        printer: "Printer | None" = None,
        terminal: Terminal,
        signals: SignalPipe,
        kept: set[int],
    ) -> None:
        self.totals = Totals()
        self.slots = 0
        """Most that there were at once."""
        self._core = core
        self._launcher = launcher
        self._spool = spool
        self._printer = printer
        self._more_to_print = False
        self._wake: Stream | None = None
        """From the worker: a byte for each output that can be printed."""
        self._wake_at = 0.0
        """Not read before this instant."""
        self._relayed: dict[str, Outlet] = {}
        """Streams of the tasks that go through us."""
        if printer is not None:
            self._relayed = dict(zip(("stdout", "stderr"), printer.outlets, strict=True))
        self._terminal = terminal
        self._signals = signals
        self._kept = kept
        self._processes: dict[Daemon, Process] = {}
        self._words: dict[Daemon, str] = {}
        self._streams: list[tuple[Stream, Daemon | None, Outlet | None]] = []
        self._events: list[Event] = []
        self._announced = (-1, False)
        self._awaits_orphans = self._kills_orphans = False
        self._finish: Finish | None = None
        self._lost = ""
        """Which of the tasks' streams could not be written, and why."""

    def run(self, hand_over: Callable[[], None]) -> Finish:
        """Start everything, call `hand_over` (it makes the keys), watch until the end; return how it ended."""
        self._perform(self._core.begin())
        hand_over()
        for process in self._processes.values():
            self._tell_document(process)
        if self._terminal.wants_progress:
            self._terminal.begin_progress()
        while self._finish is None:
            self._step()
        self._sweep()
        if self._printer is not None:
            self._print_rest()
        self._look_after_outputs()
        if self._lost and self._finish.status in (0, 1):
            return Finish(3, self._lost)
        return self._finish

    def said(self, reason: str) -> bool:
        """Whether a daemon's last words on stderr were this."""
        return any(reason in words for words in self._words.values())

    # --- one turn of the loop ---

    def _step(self) -> None:
        handlers: dict[int, Callable[[], object]] = {self._signals.fd: self._on_signals}
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        for entry in self._streams:
            stream, _, outlet = entry
            if stream is self._wake and monotonic() < self._wake_at:
                continue
            if outlet is None or not outlet.full:
                poll.register(stream.fd, select.POLLIN)
                handlers[stream.fd] = partial(self._on_stream, entry)
        for outlet in self._outlets():
            if outlet.waits:
                poll.register(outlet.fd, select.POLLOUT)
                handlers[outlet.fd] = outlet.flush
        for process in self._processes.values():
            if (fd := process.waits_to_write) is not None:
                poll.register(fd, select.POLLOUT)
                handlers[fd] = process.flush
        if self._spool is not None and (fd := self._spool.source) is not None:
            poll.register(fd, select.POLLIN)
            handlers[fd] = self._pump
        for fd, _ in poll.poll(self._wait_ms()):
            handlers[fd]()
        self._after_poll()

    def _wait_ms(self) -> int | None:
        if self._events or self._more_to_print:
            return 0
        deadlines = [self._core.deadline(), self._terminal.deadline(), self._spool.retry_at if self._spool else None]
        if self._wake is not None and self._wake_at > monotonic():
            deadlines.append(self._wake_at)
        until = min((at for at in deadlines if at is not None), default=None)
        return None if until is None else max(0, int((until - monotonic()) * 1000) + 1)

    def _after_poll(self) -> None:
        now = monotonic()
        if self._spool is not None and self._spool.retry_at is not None and self._spool.retry_at <= now:
            self._pump()
        if self._printer is not None:
            self._more_to_print = self._printer.pump()
        self._look_after_outputs()
        events, self._events = self._events, []
        for event in events:
            self._perform(self._core.handle(event, now))
        self._perform(self._core.expire(now))
        self._announce()
        self._terminal.draw(now)

    # --- what happened ---

    def _on_signals(self) -> None:
        for number in self._signals.drain():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGUSR2:
                for process in self._processes.values():
                    process.signal(number)  # reopens its log
            else:
                self._events.append(Interrupted(signum=number))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                self._on_child_ended(pid, os.waitstatus_to_exitcode(status))
        if self._awaits_orphans:
            self._look_for_orphans()

    def _on_child_ended(self, pid: int, status: int) -> None:
        process = next((process for process in self._processes.values() if process.pid == pid), None)
        if process is None:
            return  # an orphan of a daemon, or a child that we had before
        process.release()
        daemon = process.daemon
        del self._processes[daemon]
        for entry in [entry for entry in self._streams if entry[1] is daemon]:
            # What it said before it ended comes first: above all that the run is over.
            while self._on_stream(entry) and select.select([entry[0].fd], [], [], 0)[0]:
                pass
        self._events.append(DaemonEnded(daemon=daemon, status=status, words=self._words.get(daemon, "")))

    def _look_for_orphans(self) -> None:
        orphans = self._orphans()
        if self._kills_orphans:
            _kill(orphans)
        if not orphans:
            self._awaits_orphans = self._kills_orphans = False
            self._events.append(OrphansGone())

    def _orphans(self) -> set[int]:
        return children() - self._kept - {process.pid for process in self._processes.values()}

    def _on_stream(self, entry: tuple[Stream, Daemon | None, Outlet | None]) -> bool:
        """Read once; return False at its end."""
        if entry not in self._streams:
            return False  # its end was seen earlier in this turn, when its daemon was reaped
        stream, daemon, outlet = entry
        going_on = stream.read()
        if daemon is not None and outlet is not None and stream.words:  # the log, not the report
            self._words[daemon] = stream.words
        if not going_on:
            self._streams.remove(entry)
        return going_on

    def _on_report(self, text: bytes) -> None:
        for line in text.splitlines():
            try:
                report = json.loads(line)
            except ValueError:
                continue  # the half line of a scheduler that was killed while it wrote
            if "end" in report:
                self.totals = totals(report["end"], self.totals)
                self._events.append(RunEnded(status=report["end"]["status"], reason=report["end"]["reason"]))
            elif "halt" in report:
                self._events.append(HaltAsked(reason=report["halt"]["reason"], now=report["halt"]["now"]))
            elif "progress" in report:
                self.totals = totals(report["progress"], self.totals)
                self.slots = max(self.slots, self.totals.slots)
                finished = self.totals.done + self.totals.retried
                self._events.append(Progressed(finished=finished, left=self.totals.left))
                if self._spool is not None and report["progress"].get("offset") is not None:
                    self._spool.scheduler_read(report["progress"]["offset"])
            self._terminal.update(self.totals, monotonic())

    # --- the outputs ---

    def _outlets(self) -> set[Outlet]:
        return {self._terminal.out, self._terminal.err, *self._relayed.values()}

    def _on_wake(self, _bytes: bytes) -> None:
        """Print once for all that end in the next moment, or we would take the time that the tasks could have."""
        self._wake_at = monotonic() + WAKE_S

    def _look_after_outputs(self) -> None:
        """Say once that a stream of the tasks is lost."""
        for name, outlet in [*self._relayed.items()]:
            if outlet.failure:
                del self._relayed[name]
                self._lost = f"the tasks' {name} cannot be written: {outlet.failure}"
                self._events.append(OutputLost(reason=self._lost))

    def _print_rest(self) -> None:
        """Print all that can be printed, as long as somebody reads it and no signal says that he wants no more."""
        assert self._printer is not None
        while self._printer.pump() or any(outlet.waits for outlet in self._printer.outlets):
            poll = select.poll()
            poll.register(self._signals.fd, select.POLLIN)
            waiting = [outlet for outlet in self._printer.outlets if outlet.waits]
            for outlet in waiting:
                poll.register(outlet.fd, select.POLLOUT)
            poll.poll(None if waiting else 0)
            if any(number != signal.SIGCHLD for number in self._signals.drain()):
                return
            for outlet in waiting:
                outlet.flush()

    # --- the input ---

    def _pump(self) -> None:
        assert self._spool is not None
        self._spool.pump(monotonic())
        if self._spool.failure:
            self._events.append(Failed(reason=self._spool.failure))

    def _announce(self) -> None:
        """Tell the scheduler how much of the input there is, unless it has not taken the last word yet."""
        scheduler = self._processes.get(Daemon.SCHEDULER)
        if (
            self._spool is None
            or scheduler is None
            or not scheduler.idle
            or self._launcher.document(Daemon.SCHEDULER) is None
        ):
            return
        state = (self._spool.bytes, self._spool.eof)
        if state != self._announced:
            self._announced = state
            scheduler.tell(json.dumps({"input": {"bytes": state[0], "eof": state[1]}}).encode() + b"\n")

    # --- what to do ---

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(daemon=daemon):
                    self._start(daemon)
                case Tell(daemon=daemon, signum=signum):
                    if (process := self._processes.get(daemon)) is not None:  # or its end is on its way to the core
                        process.signal(signum)
                case Release(daemon=daemon):
                    if (process := self._processes.get(daemon)) is not None:
                        process.release()
                case AwaitOrphans():
                    self._awaits_orphans = True
                    self._look_for_orphans()
                case KillOrphans():
                    self._kills_orphans = True
                    self._look_for_orphans()
                case KillAll():
                    _kill({process.pid for process in self._processes.values()})
                case StandStill():
                    self._stand_still()
                case Say(text=text):
                    self._terminal.say(text)
                case Finish():
                    self._finish = effect

    def _stand_still(self) -> None:
        self._terminal.hide_progress()
        since = monotonic()
        os.kill(os.getpid(), signal.SIGSTOP)
        # Here we go on, after SIGCONT.
        self._events.append(Resumed(away_s=monotonic() - since))

    def _start(self, daemon: Daemon) -> None:
        try:
            process, streams = self._launcher.start(daemon)
        except OSError as exc:
            self._events.append(DaemonEnded(daemon=daemon, status=1, words=f"it cannot be started: {exc.strerror}"))
            return
        self._processes[daemon] = process
        self._words.pop(daemon, None)
        for fd, kind in streams:
            match kind:
                case "report":
                    self._streams.append((Stream(fd, self._on_report), daemon, None))
                case "log":
                    self._streams.append((Stream(fd, self._terminal.write_err), daemon, self._terminal.err))
                case "out" if self._printer is not None:
                    self._wake = Stream(fd, self._on_wake)
                    self._streams.append((self._wake, None, None))
                case "out":
                    self._relayed["stdout"] = self._terminal.out
                    self._streams.append((Stream(fd, self._terminal.write_out), None, self._terminal.out))
                case "err":
                    self._relayed["stderr"] = self._terminal.err
                    self._streams.append((Stream(fd, self._terminal.write_err), None, self._terminal.err))
        if daemon is Daemon.SCHEDULER:
            self._announced = (-1, False)
        self._tell_document(process)

    def _tell_document(self, process: Process) -> None:
        document = self._launcher.document(process.daemon)
        if document is not None:
            process.tell(document)

    # --- the end ---

    def _sweep(self) -> None:
        """Leave no process behind, and nothing unread that one of them wrote."""
        self._reap()
        until = monotonic() + KILLED_S
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        while left := children() - self._kept:
            _kill(left)
            if monotonic() > until:
                break  # in an uninterruptible wait: it ends with it, our signal is on its way
            poll.poll(SWEEP_POLL_MS)
            self._signals.drain()
            self._reap()
        self._terminal.end_progress()
        for stream, _, outlet in self._streams.copy():
            while (outlet is None or not outlet.full) and select.select([stream.fd], [], [], 0)[0] and stream.read():
                pass


def _kill(pids: set[int]) -> None:
    """Kill children of ours; they are not reaped yet, so the numbers are still theirs."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
