"""A log file that several processes append to, and that is set aside when it is full.

    log ──▶ log.1 ──▶ log.2 ──▶ … ──▶ log.<files_max> ──▶ removed

A line is one write to a descriptor that appends, so lines of several processes never mix. Whoever finds the file full sets it
aside under a lock; the others see at their next line that the path leads elsewhere, and open it anew. So does whoever used
logrotate. Nobody waits for the lock: while it is held, a line goes to the file that is just being set aside, and is not lost.
"""

import contextlib
import fcntl
import os

from hs_common.errors import RefusedError


class LogFile:
    """An open log file; `fd` stays the same number for ever.

    Args:
        path: Relative to the folder of this moment, for a worker changes its own.
        bytes_max: A line that would pass it goes to a new file.
        files_max: So many that were set aside are kept, at least 1.

    Raises:
        RefusedError: It cannot be opened.

    """

    def __init__(self, path: str, bytes_max: int, files_max: int) -> None:
        self.path = os.path.abspath(path)
        self._bytes_max = bytes_max
        self._files_max = files_max
        try:
            self.fd = _open(self.path)
        except OSError as exc:
            raise RefusedError(f"logging.file {path}: {exc.strerror}") from exc

    def write(self, line: bytes) -> bool:
        """Append a line; whether it was written whole."""
        try:
            self._follow()
            if self._is_full(len(line)):
                self._set_aside(len(line))
            return os.write(self.fd, line) == len(line)
        except OSError:
            return False  # the disk is full, the folder is gone: the caller counts

    def reopen(self) -> None:
        """Open the path anew, whatever it leads to now; where that fails, keep what we have."""
        with contextlib.suppress(OSError):
            fresh = _open(self.path)
            os.dup2(fresh, self.fd, inheritable=False)
            os.close(fresh)

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)

    def _follow(self) -> None:
        try:
            same = os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except FileNotFoundError:
            same = False
        if not same:
            self.reopen()

    def _is_full(self, more_bytes: int) -> bool:
        size = os.fstat(self.fd).st_size
        return size > 0 and size + more_bytes > self._bytes_max

    def _set_aside(self, more_bytes: int) -> None:
        # Another does it right now, or cannot: then the line goes where we are.
        with contextlib.suppress(OSError), open(self.path, "rb+", buffering=0) as own:
            # A description of its own: a lock on ours would be shared with the process that we were forked from.
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Only now is it sure that nobody has done it meanwhile.
            if os.path.samestat(os.stat(self.path), os.fstat(own.fileno())):
                self.reopen()
                if self._is_full(more_bytes):
                    self._shift()
                    self.reopen()

    def _shift(self) -> None:
        free = 1
        while free < self._files_max and os.path.exists(f"{self.path}.{free}"):
            free += 1
        for number in range(free, 1, -1):
            os.replace(f"{self.path}.{number - 1}", f"{self.path}.{number}")
        os.replace(self.path, f"{self.path}.1")


def _open(path: str) -> int:
    # O_NONBLOCK: a FIFO that nobody reads is refused instead of waited for.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
