"""What launched workers say, on its way through us: a pipe for each stream of a unit, into our own stdout and stderr.

    unit (a launcher's process, or a worker here) ──pipe──▶ Stream ──whole lines──▶ Outlet, which all units share

A launcher does not tell what it still has to pass on. Here it is seen at the end of a run: whether anything comes, and whether
our own reader has taken what came.
"""

import os
import select
from collections.abc import Callable
from functools import partial
from math import inf
from signal import SIGPIPE

import zmq

from hs_common.clock import monotonic
from hs_deploy.launchers.fleet_core import Awaited, Ended
from hs_deploy.launchers.local import CHILD_ERRORS_FD, pipe
from hs_deploy.output.relay import Outlet, Stream

STALL_S = 10.0
"""At the end of a run outputs are waited for as long as something comes in so long."""

_REST_READS_MAX = 16
"""Of a unit that has ended: as much as a pipe holds at most. What a process that it left behind says later is not waited for."""

Handlers = dict[int, Callable[[], None]]


class Outlets:
    """Our stdout, and our stderr for the tasks and for what launchers say."""

    def __init__(self) -> None:
        self.out, self.errors = Outlet(1), Outlet(CHILD_ERRORS_FD)
        self.moved_at = -inf
        """When anything last came, or our own reader was last waited for; monotonic seconds."""

    @property
    def waits(self) -> bool:
        """Whether our own reader has not taken all."""
        return self.out.waits or self.errors.waits

    @property
    def full(self) -> bool:
        """Whether nothing more is to be read for now."""
        return self.out.full or self.errors.full

    @property
    def lost(self) -> Ended | None:
        """That nobody takes what tasks say any more; who said it lives on."""
        if not (failure := self.out.failure or self.errors.failure):
            return None
        reason = f"the tasks' output cannot be written: {failure}"
        return Ended(-SIGPIPE, reason, reason)

    def watch(self, poller: zmq.Poller) -> Handlers:
        """Wait until the reader takes what waits."""
        handlers: Handlers = {}
        for outlet in (self.out, self.errors):
            if outlet.waits:
                poller.register(outlet.fd, zmq.POLLOUT)
                handlers[outlet.fd] = outlet.flush
        return handlers

    def awaited(self, now: float, whom: str) -> Awaited:
        """Return whether outputs of `whom` may be on their way: something came not long ago, or our own reader is slow."""
        if self.waits:
            self.moved_at = now
        until = self.moved_at + STALL_S
        return Awaited(until, whom if now < until else "")

    def close(self, wait_ms: int) -> None:
        """Write out what waits to be written."""
        self.out.flush(wait_ms)
        self.errors.flush(wait_ms)


class UnitStreams:
    """Stdout and stderr of one unit.

    Args:
        outlets: Where they go.
        take_errors: Takes the lines of stderr.

    """

    def __init__(self, outlets: Outlets, take_errors: Callable[[bytes], None]) -> None:
        self._outlets = outlets
        out = pipe()
        try:
            errors = pipe()
        except OSError:
            os.close(out[0])
            os.close(out[1])
            raise
        self.ends = (out[1], errors[1])
        """For the unit; closed by `begin`."""
        for read_end, _ in (out, errors):
            os.set_blocking(read_end, False)
        self.errors = Stream(errors[0], take_errors)
        self._open = [Stream(out[0], outlets.out.write), self.errors]

    def begin(self) -> None:
        """Leave the write ends to the unit, which was started by now, or could not be."""
        for fd in self.ends:
            os.close(fd)

    def watch(self, poller: zmq.Poller) -> Handlers:
        """Wait for what it says, unless nobody takes what is there already."""
        handlers: Handlers = {}
        for stream in self._open if not self._outlets.full else ():
            poller.register(stream.fd, zmq.POLLIN)
            handlers[stream.fd] = partial(self._read, stream)
        return handlers

    def end(self) -> None:
        """Take the rest of what it said, and nothing more."""
        for stream in [*self._open]:
            poll = select.poll()  # not select: its numbers end at 1,023
            poll.register(stream.fd, select.POLLIN)
            for _ in range(_REST_READS_MAX):
                if stream not in self._open or not poll.poll(0):
                    break
                self._read(stream)
        for stream in self._open:
            stream.close()
        self._open.clear()

    def _read(self, stream: Stream) -> None:
        self._outlets.moved_at = monotonic()
        if not stream.read():
            self._open.remove(stream)
