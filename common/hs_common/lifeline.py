"""The pipe by which `hs-cluster` starts a daemon, and by which the daemon knows that `hs-cluster` still lives.

first line     one JSON document: connection or server, settings; secrets travel here and nowhere else
more lines     as the daemon's part defines them
end of file    hs-cluster is gone (a pipe ends with its last writer, even after kill -9): end what you started, then yourself
"""

import os
import select

from hs_common import limits
from hs_common.errors import RefusedError

_READ_BYTES = 64 * limits.KIB
_LINE_BYTES_MAX = limits.MIB


class Lifeline:
    """Reads lines from a descriptor without ever changing its flags: others may hold the same open pipe."""

    def __init__(self, fd: int = 0) -> None:
        self.fd = fd
        """For the poller: readable when there are lines, and for good once it ended."""
        self.ended = False
        """Whether the end of file was seen. Take `fd` out of the poller then."""
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def first_line(self, timeout_s: float) -> bytes:
        """Wait for the first line and return it without its newline. Its writer may still be importing when we are ready.

        Raises:
            RefusedError: Nothing within `timeout_s` seconds of silence, the end of file before a newline, or over 1 MiB.

        """
        while not self.ended:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                return bytes(line)
            if not self.wait(timeout_s):
                raise RefusedError(f"no document on descriptor {self.fd} within {timeout_s} s")
            self._read()
        raise RefusedError(f"descriptor {self.fd} ended before its first line did")

    def wait(self, timeout_s: float) -> bool:
        """Wait, `timeout_s` seconds at most; return whether there is anything to read, its end included."""
        return bool(self._poll.poll(timeout_s * 1000))

    def lines(self) -> list[bytes]:
        """Return the lines that have come whole, without newlines; sets `ended`. Never waits."""
        while not self.ended and self.wait(0):
            self._read()
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        return lines

    def _read(self) -> None:
        part = os.read(self.fd, _READ_BYTES)
        self._buffer += part
        self.ended = not part
        if len(self._buffer) > _LINE_BYTES_MAX and b"\n" not in self._buffer:
            raise RefusedError(f"a line of over {_LINE_BYTES_MAX} bytes on descriptor {self.fd}")
