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
from hs_common.ready import readable
from hs_common.signals import SignalPipe
from hs_deploy.daemons import Daemon
from hs_deploy.launchers.local import FINISH, Process
from hs_deploy.output.relay import Outlet, Stream
from hs_deploy.output.terminal import Terminal
from hs_deploy.runs.spool import KeptSpool, Spool
from hs_deploy.supervision.events import (
    AwaitOrphans,
    DaemonEnded,
    Effect,
    Event,
    Failed,
    Finish,
    Interrupted,
    KillAll,
    KillOrphans,
    LetFinish,
    OrphansGone,
    Release,
    Resumed,
    Say,
    StandStill,
    Start,
    Tell,
    Warn,
)
from hs_deploy.supervision.launch import Launcher
from hs_deploy.supervision.leaving import KILLED_S
from hs_deploy.supervision.orphans import Orphans, kill
from hs_deploy.supervision.outputs import Outputs
from hs_deploy.supervision.reports import Reports
from hs_deploy.supervision.supervisor import SupervisorCore

if TYPE_CHECKING:  # few outputs are spooled
    from hs_deploy.output.printing import Printer


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
        self.reports = Reports()
        self._core = core
        self._launcher = launcher
        self._spool = spool
        self._outputs = Outputs(terminal, printer)
        self._terminal = terminal
        self._signals = signals
        self._orphans = Orphans(kept)
        self._processes: dict[Daemon, Process] = {}
        self._words: dict[Daemon, str] = {}
        self._streams: list[tuple[Stream, Daemon | None, Outlet | None]] = []
        self._events: list[Event] = []
        self._announced = (-1, False)
        self._stopped = False
        """Whether a signal said that nothing more is to be started."""
        self._finish: Finish | None = None

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
        signum = self._outputs.print_rest(self._signals)
        self._outputs.losses()
        if self._outputs.lost and self._finish.status in (0, 1):
            return Finish(3, self._outputs.lost)
        if signum and self._finish.status in (0, 1):
            return Finish(128 + signum, "")
        return self._finish

    def said(self, reason: str) -> bool:
        """Whether a daemon's last words on stderr were this."""
        return any(reason in words for words in self._words.values())

    @property
    def unprinted(self) -> bool:
        """Whether outputs of tasks are left in the spools."""
        return self._outputs.unprinted

    # --- one turn of the loop ---

    def _step(self) -> None:
        now = monotonic()
        handlers: dict[int, Callable[[], object]] = {self._signals.fd: self._on_signals}
        poll = select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        for entry in self._streams:
            stream, _, outlet = entry
            if self._outputs.rests(stream, now):
                continue
            if outlet is None or not outlet.full:
                poll.register(stream.fd, select.POLLIN)
                handlers[stream.fd] = partial(self._on_stream, entry)
        for outlet in self._outputs.outlets():
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
        if self._events or self._outputs.more:
            return 0
        now = monotonic()
        deadlines = [self._core.deadline(), self._terminal.deadline(), self._outputs.deadline(now)]
        deadlines.append(self._spool.retry_at if self._spool else None)
        until = min((at for at in deadlines if at is not None), default=None)
        return None if until is None else max(0, int((until - now) * 1000) + 1)

    def _after_poll(self) -> None:
        now = monotonic()
        if self._spool is not None and self._spool.retry_at is not None and self._spool.retry_at <= now:
            self._pump()
        self._outputs.pump()
        self._events += self._outputs.losses()
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
                self._stopped = self._stopped or number != signal.SIGTSTP
                self._events.append(Interrupted(signum=number))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                self._on_child_ended(pid, os.waitstatus_to_exitcode(status))
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
            while self._on_stream(entry) and readable(entry[0].fd, 0):
                pass
        self._events.append(DaemonEnded(daemon=daemon, status=status, words=self._words.get(daemon, "")))

    def _look_for_orphans(self) -> None:
        if self._orphans.gone({process.pid for process in self._processes.values()}):
            self._events.append(OrphansGone())

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
        self._events += self.reports.read(text)
        if self._spool is not None:
            self._spool.scheduler_read(self.reports.read_bytes, self.reports.kept_bytes)
        self._terminal.update(self.reports.totals, monotonic())

    # --- the input ---

    def _pump(self) -> None:
        assert self._spool is not None
        self._spool.pump(monotonic(), self._is_stopped)
        if self._spool.failure:
            self._events.append(Failed(reason=self._spool.failure))

    def _is_stopped(self) -> bool:
        """Whether the user said so, be it in this moment: a Ctrl-C reaches us no later than the end of who writes to us."""
        self._on_signals()
        return self._stopped

    def _announce(self) -> None:
        """Tell the scheduler how much of the input there is, unless it has not taken the last word yet."""
        scheduler = self._processes.get(Daemon.SCHEDULER)
        if scheduler is None or not scheduler.idle or self._launcher.document(Daemon.SCHEDULER) is None:
            return
        if self._spool is not None:
            state = (self._spool.bytes, self._spool.eof)
        elif self.reports.half_line and not self._is_stopped():
            state = (self.reports.read_bytes, True)
        else:
            return
        if state != self._announced:
            self._announced = state
            scheduler.tell(json.dumps({"input": {"bytes": state[0], "eof": state[1]}}).encode() + b"\n")

    # --- what to do ---

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(daemon=daemon):
                    self._start(daemon)
                case Tell() | Release() | LetFinish():
                    self._speak(effect)
                case AwaitOrphans():
                    self._orphans.watch(kill=False)
                    self._look_for_orphans()
                case KillOrphans():
                    self._orphans.watch(kill=True)
                    self._look_for_orphans()
                case KillAll():
                    kill({process.pid for process in self._processes.values()})
                case StandStill():
                    self._stand_still()
                case Say(text=text):
                    self._terminal.say(text)
                case Warn(text=text):
                    self._terminal.warn(text)
                case Finish():
                    self._finish = effect

    def _speak(self, effect: Tell | Release | LetFinish) -> None:
        process = self._processes.get(effect.daemon)
        if process is None:
            return  # its end is on its way to the core
        match effect:
            case Tell(signum=signum):
                process.signal(signum)
            case Release():
                process.release()
            case LetFinish():
                process.tell(FINISH + b"\n")

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
                case _:
                    stream, outlet = self._outputs.stream(fd, kind)
                    self._streams.append((stream, None, outlet))
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
        self._orphans.sweep(self._signals, self._reap, KILLED_S)
        self._terminal.end_progress()
        for stream, _, outlet in self._streams.copy():
            while readable(stream.fd, 0) and self._outputs.makes_room(outlet, self._signals):
                if not stream.read():
                    break
