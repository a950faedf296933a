"""Signals as bytes in a pipe, so that one poller waits for everything and nothing runs inside a handler."""

import os
import select
import signal
from collections.abc import Iterable

_READ_BYTES = 4096


class SignalPipe:
    """Catch these signals; `fd` becomes readable when one came.

    A signal that was ignored when we started stays ignored (nohup), but SIGCHLD: ignored, it would take our children's statuses.
    """

    def __init__(self, signals: Iterable[int]) -> None:
        """Install it. Only in the main thread, once for a process."""
        # Both ends non-blocking: a full pipe loses a byte but never holds up a handler. Closed on exec: no task gets it.
        self.fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._asked = frozenset(int(number) for number in signals)
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in self._asked:
            if number == signal.SIGCHLD or signal.getsignal(number) != signal.SIG_IGN:
                # Python writes to the pipe only for a signal that has a handler of its own.
                signal.signal(number, _noted)

    def drain(self) -> list[int]:
        """Return the signals that came since the last call, in order. As with all signals, two may have become one."""
        received = b""
        while True:
            try:
                part = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                # Python writes the number of every signal that has a handler: the log has one of its own.
                return [number for number in received if number in self._asked]
            received += part

    def wait(self, timeout_s: float) -> list[int]:
        """Wait for a signal, `timeout_s` seconds at most; return what `drain` does: nothing, too, where the log's came first."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        poll.poll(timeout_s * 1000)
        return self.drain()


def _noted(_number: int, _frame: object) -> None:
    """Do nothing: the byte in the pipe is all we want."""
