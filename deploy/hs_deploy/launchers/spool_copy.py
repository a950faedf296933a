"""The spools of the workers of one session, written down here as they come, beside those of workers on this host.

What is in the file counts as kept: only then does the worker tell that the task has ended. One that dies leaves what it had
started to say behind the last whole record, where nobody looks (`hs_worker.output.spool_file`).
"""

import os

from hs_common.errors import StoppedError
from hs_worker.output.spool_file import SUFFIX


class SpoolCopy:
    """A file for each worker, made when it first says something. `folder`: where hs-cluster looks for them."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._fd = -1
        self.bytes = 0
        """Of the present worker."""

    def begin(self) -> None:
        """Expect another worker; what there is of this one is whole as far as it goes."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self.bytes = -1, 0

    def write(self, data: bytes) -> None:
        """Take what comes next.

        Raises:
            StoppedError: It cannot be written.

        """
        try:
            if self._fd < 0:
                path = os.path.join(self._folder, os.urandom(8).hex() + SUFFIX)
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            while data:
                written = os.write(self._fd, data)
                self.bytes += written
                data = data[written:]
        except OSError as exc:
            raise StoppedError(f"the tasks' output cannot be kept in {self._folder}: {exc.strerror}") from exc
