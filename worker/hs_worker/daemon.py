"""IO shell of the worker: one thread, one epoll. Feeds the core; what that asks for is done by `performing`.

    pipe of the guardian ─┐
    SIGCHLD ──────────────┼──▶ core.handle ──▶ performing
    socket, its monitor ──┤    core.expire
    pipes of the relay ───┘

The descriptors of ZeroMQ are edge-triggered: after anything was sent, or a wake-up, the socket is read until it has nothing more.
"""

import os
import select
import signal
from collections.abc import Callable
from math import ceil

from hs_common.clock import monotonic, wall
from hs_common.crash import crash_point
from hs_common.errors import StoppedError
from hs_common.lifeline import Lifeline
from hs_common.logs import get_logger
from hs_common.messages import Committed, Welcome
from hs_common.signals import SignalPipe
from hs_worker import events
from hs_worker.contact import Contact
from hs_worker.core import WorkerCore
from hs_worker.execution.children import Children
from hs_worker.execution.executor import REAP_MAX, Executor
from hs_worker.execution.tree import sweep
from hs_worker.output.outputs import Piped
from hs_worker.performing import Performing
from hs_worker.shared_map import SharedMap

_TURN_MAX_S = 60.0
"""Of the loop, when nothing happens and nothing is due."""
_RECEIVE_MAX = 256
"""Messages taken in one go."""
_ROUNDS_MAX = 64
"""Of tasks that ended as they were spawned, before the broker is served again."""
_READ_BYTES = 4096
_STOPPED_WAIT_S = 1.0
"""After the guardian's end: for the acknowledgement of what was handed back."""
_IDLE_WAIT_S = 0.1
"""The same when nothing was running: whoever ended us knows all that he wants to know."""
_LAST_WORDS_MS = 200
_RELAY_HURRY_S = 0.5
"""At the end, the reader of our outputs may take nothing for so long when whoever started us is gone."""
_RELAY_TURN_MS = 100
_END_WAIT_S = 1.0
"""For the word that somebody ends us, when a task has died as if somebody did."""
_SIGNAL_BITS = 0x7F
"""Of a wait status."""
_SWEEP_S = 2.0
_CLOCK_S = 0.002
"""The wall clock may be off by so much before the core is told."""


class WorkerDaemon:
    """The loop.

    Args:
        core: Decides.
        contact: With the broker; in the poller already.
        executor: Runs tasks.
        poller: The relay, if any, is registered there already.
        pipe: Of the guardian, its document read.
        shared: The map; None: nothing is recorded there (null executor).
        relay: None: tasks write by themselves.
        grace_s: Of running tasks after the word `grace`.

    """

    def __init__(
        self,
        core: WorkerCore,
        contact: Contact,
        executor: Executor,
        poller: select.epoll,
        pipe: Lifeline,
        *,
        shared: SharedMap | None,
        relay: Piped | None,
        grace_s: float | None,
    ) -> None:
        self._core = core
        self._contact = contact
        self._link = contact.link
        self._executor = executor
        self._poller = poller
        self._pipe = pipe
        self._shared = shared
        self._relay = relay
        self._grace_s = grace_s
        self._ending = False
        """Whether the guardian has said so."""
        # Only the guardian's signals count (see there): ours get handlers that do nothing, for a default would kill.
        ignored = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGTSTP, signal.SIGCONT)
        self._signals = SignalPipe(ignored)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ignored)
        self._children = Children()
        self._poller.register(self._children.fd, select.EPOLLIN)
        self._poller.register(self._signals.fd, select.EPOLLIN)
        self._poller.register(self._pipe.fd, select.EPOLLIN)
        self._performing = Performing(core, contact, executor, shared=shared, relay=relay)
        self._handle = self._performing.handle
        self._offset_s = 0.0
        self._again = False
        """More children may have ended than were reaped."""
        self._full = False
        """What the core knows of the reader of our outputs."""

    def run(self, reader_wait_s: float, beat: Callable[[], None] | None, turn_max_s: float = _TURN_MAX_S) -> int:
        """Work until the core says that it leaves; return the exit status.

        Args:
            reader_wait_s: At the end, the reader of our outputs may take nothing for so long, seconds.
            beat: Called after each turn of the loop; None: nobody asks.
            turn_max_s: A turn takes no longer when nothing happens, seconds.

        Raises:
            StoppedError: Outputs are lost, for nobody reads them.

        """
        self._obey()  # what came along with the document makes the descriptor ready no more
        while (status := self._performing.status) is None:
            self.step(min(turn_max_s, _TURN_MAX_S))
            if beat is not None:
                beat()
        lost_bytes = self._write_out(self._relay, beat, reader_wait_s) if self._relay is not None else 0
        self._link.close(linger_ms=_LAST_WORDS_MS)
        # What tasks left in the background ends with us; the guardian looks again.
        sweep(monotonic() + _SWEEP_S, monotonic)
        if lost_bytes and self._pipe.ended:
            get_logger("worker").error("output.lost", left_bytes=lost_bytes)  # nobody asks for our status
        elif lost_bytes:
            raise StoppedError(f"the tasks' output cannot be written: nobody reads it, {lost_bytes} bytes are lost")
        return status

    def _write_out(self, relay: Piped, beat: Callable[[], None] | None, wait_s: float) -> int:
        """Wait for the reader of our outputs as long as he takes something now and then; return how much he did not take."""
        left, taken_at = relay.close(0), monotonic()
        while left and monotonic() < taken_at + (_RELAY_HURRY_S if self._pipe.ended else wait_s):
            if beat is not None:
                beat()
            self._pipe.lines()  # all but its end is about tasks, and there is none
            before, left = left, relay.close(_RELAY_TURN_MS)
            if left != before:
                taken_at = monotonic()
        return left

    def step(self, wait_max_s: float = _TURN_MAX_S) -> None:
        """Wait for something to happen, then act on it."""
        deadline = min(self._core.deadline(), self._contact.due_at)
        wait_s = min(wait_max_s, deadline - monotonic())
        if self._again or self._performing.sent or self._executor.has_ended:
            wait_s = 0.0
        ready = self._poller.poll(max(0.0, ceil(wait_s * 1000) / 1000))
        self._set_clock()
        listen = self._performing.sent
        reap = self._again or self._executor.has_ended
        for fd, _ in ready:
            if fd == self._children.fd:
                self._children.clear()
                reap = True
            elif fd == self._signals.fd:
                os.read(fd, _READ_BYTES)  # none of our business
            elif fd in self._contact.fds:
                listen = True
            elif fd == self._pipe.fd:
                self._obey()
            elif self._relay is not None and self._relay.owns(fd):
                self._relay.handle(fd)
        if reap:
            self._reap()
            # What ended as it was spawned needs no look at the descriptors in between (null executor).
            for _ in range(_ROUNDS_MAX):
                if not self._executor.has_ended:
                    break
                self._reap()
        self._look_after_reader()
        now = monotonic()
        if now >= deadline:
            self._on_due(now)
        if listen or self._performing.sent:
            self._listen()

    def _on_due(self, now: float) -> None:
        if now >= self._contact.due_at:
            self._performing.sent = True  # what was opened anew may have become ready unseen
            if self._contact.look(now):
                self._handle(events.StopAsked(kill=False, wait_s=0.0))
        self._performing.expire(now)

    def _listen(self) -> None:
        """Take what the broker and the monitor have to say, until they have nothing more to say."""
        self._performing.sent = False
        for event in self._link.events():
            if event == "connected":
                self._contact.on_connected()
                self._handle(events.Connected())
            else:
                self._contact.on_disconnected()
                self._handle(events.Disconnected())
                if event == "denied":
                    self._contact.on_denied()
                elif event == "moved":
                    self._contact.on_moved()
                    self._performing.sent = True
        messages = self._link.receive(_RECEIVE_MAX)
        for message in messages:
            crash_point("worker.received")
            if type(message) is Welcome and self._shared is not None:
                self._shared.welcome()
            self._handle(message)
            if type(message) is Committed:
                crash_point("worker.after_committed")
        if len(messages) == _RECEIVE_MAX:
            self._performing.sent = True  # there may be more: look again, after the others

    def _reap(self) -> None:
        """Take what ended, and start what follows."""
        strangers = self._executor.strangers
        exits = self._executor.reap()
        self._again = len(exits) + self._executor.strangers - strangers >= REAP_MAX
        if exits:
            self._look_after_reader()  # before anything starts in the place of what has just left its output here
            if self._grace_s is not None and any(exit_.status & _SIGNAL_BITS == signal.SIGTERM for exit_ in exits):
                self._listen_for_the_end()
            self._handle(events.Exited(exits))
        if self._executor.strangers != strangers:
            self._performing.look_again()

    def _listen_for_the_end(self) -> None:
        """Wait a moment for a word of our own end: a batch system that ends a job sends SIGTERM to us and to the tasks alike.

        Other words may come before that one: Slurm sends SIGCONT first, for who stands still could not act on it.
        """
        until = monotonic() + _END_WAIT_S
        while not (self._ending or self._pipe.ended) and self._pipe.wait(max(0.0, until - monotonic())):
            self._obey()

    def _look_after_reader(self) -> None:
        if self._relay is not None and self._relay.full != self._full:
            self._full = self._relay.full
            self._handle(events.OutputFull(self._full))

    def _obey(self) -> None:
        for word in self._pipe.lines():
            if word == b"drain":
                self._handle(events.DrainAsked(None))
            elif word == b"grace":
                self._ending = True
                self._handle(events.DrainAsked(self._grace_s))
            elif word == b"pause":
                self._handle(events.PauseAsked())
            elif word == b"resume":
                self._handle(events.ResumeAsked())
            elif word.startswith(b"kept "):
                self._on_kept(*word.split()[1:])
            elif word == b"stop":
                self._ending = True
                self._reap()  # what ended by itself has finished
                self._handle(events.StopAsked(kill=False, wait_s=_STOPPED_WAIT_S))
        if self._pipe.ended:
            self._poller.unregister(self._pipe.fd)
            self._reap()
            wait_s = _STOPPED_WAIT_S if self._core.busy else _IDLE_WAIT_S
            self._handle(events.StopAsked(kill=True, wait_s=wait_s))

    def _on_kept(self, worker: bytes, sent: bytes) -> None:
        """Take note of how much of our spool there is, unless it is about the worker before us."""
        if self._shared is not None and worker == self._shared.incarnation.hex().encode():
            self._handle(events.OutputKept(int(sent)))

    def _set_clock(self) -> None:
        offset_s = wall() - monotonic()
        if abs(offset_s - self._offset_s) > _CLOCK_S:
            self._offset_s = offset_s
            self._handle(events.ClockSet(offset_s))
