"""What whoever started the scheduler tells it on its stdin after the document: how much of a growing input is there.

One JSON line each: {"input": {"bytes": N, "eof": false}}, with N counted from the start of the spool. Of a stream that the
scheduler reads itself, eof says that its last line is whole though it has no newline.
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
        return source.fd if isinstance(source, StreamSource) and source.reads else None

    @property
    def half_line(self) -> bool:
        """Whether the input has ended in a line without newline, and it is not known yet if that is all of it."""
        return isinstance(self._source, StreamSource) and self._source.asking

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
        elif isinstance(self._source, StreamSource) and eof:
            self._source.accept()
