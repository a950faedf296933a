"""What the tasks say, where it goes through us: streams that we relay, and outputs that the workers spooled.

worker ──pipe──▶ Stream ──whole lines──▶ Outlet (stdout, stderr)
worker ──a byte on "out" for each spooled output──▶ Printer ──▶ Outlet
"""

import os
import select
import signal
from typing import TYPE_CHECKING

from hs_common.clock import monotonic
from hs_common.signals import SignalPipe
from hs_deploy.output.relay import Outlet, Stream
from hs_deploy.output.terminal import Terminal
from hs_deploy.supervision.events import OutputLost

if TYPE_CHECKING:  # few outputs are spooled
    from hs_deploy.output.printing import Printer

WAKE_S = 0.02
"""Between two looks at what can be printed; nobody sees the difference."""


class Outputs:
    """Passes on what the tasks say, and notes when that is not possible any more.

    Args:
        terminal: Where relayed streams go.
        printer: Prints the outputs that the workers spooled, or None: they are not.

    """

    def __init__(self, terminal: Terminal, printer: "Printer | None") -> None:
        self.lost = ""
        """Which of the tasks' streams could not be written, and why."""
        self.more = False
        """Whether there is more to print at once."""
        self._terminal = terminal
        self._printer = printer
        self._relayed: dict[str, Outlet] = {}
        """Streams of the tasks that go through us."""
        if printer is not None:
            self._relayed = dict(zip(("stdout", "stderr"), printer.outlets, strict=True))
        self._wake: Stream | None = None
        """From the worker: a byte for each output that can be printed."""
        self._wake_at = 0.0
        """Not read before this instant."""
        self._refused = 0
        """The signal that said, at the end, that nobody wants what is left; 0: none."""

    @property
    def unprinted(self) -> bool:
        """Whether spooled outputs are left."""
        return self._printer is not None and self._printer.unprinted

    def stream(self, fd: int, kind: str) -> tuple[Stream, Outlet | None]:
        """Take a pipe of a worker, "out" or "err"; return its stream, and the outlet that has to have room before it is read."""
        if kind == "out" and self._printer is not None:
            self._wake = Stream(fd, self._on_wake)
            return self._wake, None
        if kind == "out":
            name, outlet, write = "stdout", self._terminal.out, self._terminal.write_out
        else:
            name, outlet, write = "stderr", self._terminal.err, self._terminal.write_err
        self._relayed[name] = outlet
        return Stream(fd, write), outlet

    def outlets(self) -> set[Outlet]:
        """Return all that may have something to write."""
        return {self._terminal.out, self._terminal.err, *self._relayed.values()}

    def rests(self, stream: Stream, now: float) -> bool:
        """Whether this stream is not to be read yet."""
        return stream is self._wake and now < self._wake_at

    def deadline(self, now: float) -> float | None:
        """Return when to look at a stream that rests, monotonic seconds."""
        return self._wake_at if self._wake is not None and self._wake_at > now else None

    def pump(self) -> None:
        """Print what can be printed, a bounded piece of it."""
        if self._printer is not None:
            self.more = self._printer.pump()

    def losses(self) -> list[OutputLost]:
        """Return, once each, that a stream of the tasks is lost."""
        found = []
        for name, outlet in [*self._relayed.items()]:
            if outlet.failure:
                del self._relayed[name]
                self.lost = f"the tasks' {name} cannot be written: {outlet.failure}"
                found.append(OutputLost(reason=self.lost))
        return found

    def print_rest(self, signals: SignalPipe) -> int:
        """Print all that can be printed, as long as somebody reads it; return the signal that said he wants no more, or 0.

        Somebody sits at a terminal: it may stand still for long, and he can say so. Of other readers nobody knows.
        """
        outlets = {outlet for outlet in self._relayed.values() if os.isatty(outlet.fd)}
        if self._printer is not None:
            outlets |= set(self._printer.outlets)
        while not self._refused and (self._pumps() or any(outlet.waits for outlet in outlets)):
            self._let_take([outlet for outlet in outlets if outlet.waits], signals)
        return self._refused

    def makes_room(self, outlet: Outlet | None, signals: SignalPipe) -> bool:
        """Return whether there is room for more in an outlet, after waiting for it as `print_rest` does."""
        while outlet is not None and outlet.full and os.isatty(outlet.fd) and not self._refused:
            self._let_take([outlet], signals)
        return outlet is None or not outlet.full

    def _pumps(self) -> bool:
        """Print what can be printed; return whether there is more at once."""
        return self._printer is not None and self._printer.pump()

    def _let_take(self, waiting: list[Outlet], signals: SignalPipe) -> None:
        """Wait until one of these can be written, or a signal says that nobody wants it."""
        poll = select.poll()
        poll.register(signals.fd, select.POLLIN)
        for outlet in waiting:
            poll.register(outlet.fd, select.POLLOUT)
        poll.poll(None if waiting else 0)
        for number in signals.drain():
            if number == signal.SIGTSTP:
                os.kill(os.getpid(), signal.SIGSTOP)  # here we go on, after SIGCONT
            elif number not in (signal.SIGCHLD, signal.SIGUSR2):
                self._refused = number
        for outlet in waiting:
            outlet.flush()

    def _on_wake(self, _bytes: bytes) -> None:
        """Print once for all that end in the next moment, or we would take the time that the tasks could have."""
        self._wake_at = monotonic() + WAKE_S
