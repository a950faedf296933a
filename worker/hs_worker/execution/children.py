"""That a child ended, as a descriptor: SIGCHLD stays blocked and is read, so that it interrupts nothing.

A handler would cost a frame on the stack, a byte through a pipe, a wait that begins again and a call of Python, for each task.
"""

import ctypes
import os
import signal

_SIGNALS_BYTES = 128
"""Of a set of signals in any C library."""
_READ_BYTES = 1024
"""Several times what the kernel tells of one signal; of a signal that is pending there is one at most."""


class Children:
    """`fd` is readable when a child has ended since `clear`. The tasks themselves begin with nothing blocked."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        signals = ctypes.create_string_buffer(_SIGNALS_BYTES)
        libc.sigemptyset(signals)
        libc.sigaddset(signals, int(signal.SIGCHLD))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        # Ignored, as it may have been inherited, it would take our children's statuses.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Its flags are those of open.
        self.fd: int = libc.signalfd(-1, signals, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def clear(self) -> None:
        """Take note: what ends from now on makes `fd` readable again."""
        os.read(self.fd, _READ_BYTES)
