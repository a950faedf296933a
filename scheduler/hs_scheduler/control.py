"""What whoever started the scheduler tells it on its stdin after the document: how much of a growing input is there.

One JSON line each: {"input": {"bytes": N, "eof": false}}, with N counted from the start of the spool.
"""

import json

from hs_common.errors import StoppedError
from hs_scheduler.input.source import FileSource, Source, StreamSource


class Control:
    """Hears those lines.

    Args:
        source: The input, or None.

    """

    def __init__(self, source: Source | None) -> None:
        self._source = source

    @property
    def input_fd(self) -> int | None:
        """The descriptor to poll for more lines, where the input is a stream that is not at its end."""
        source = self._source
        return source.fd if isinstance(source, StreamSource) and not source.ended else None

    def hear(self, line: bytes) -> None:
        """Act on one line.

        Raises:
            StoppedError: It is no such line: hs-cluster is of another version.

        """
        try:
            said = json.loads(line)["input"]
            bytes_ready, eof = int(said["bytes"]), bool(said["eof"])
        except (ValueError, KeyError, TypeError) as exc:
            raise StoppedError(f"cannot read {line[:80]!r} on stdin: it comes from another version") from exc
        if isinstance(self._source, FileSource):
            self._source.announce(bytes_ready, eof=eof)
