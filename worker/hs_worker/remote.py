"""What a worker on another host reads before anything else: over SSH its stdin is the only private way to it.

line 1     one JSON object: arguments (its command line), settings (as hs-cluster hands them over), environ (of -E)
line 2     the document with the connection, as from every lifeline; then beats
"""

import json
import os
import sys

from hs_common import limits
from hs_common.config import HANDED
from hs_common.errors import RefusedError


def take_start() -> None:
    """Read the first line from stdin and become what it says.

    Raises:
        RefusedError: It says nothing, or makes no sense.

    """
    try:
        start = json.loads(_first_line(0))
        os.environ.update(start["environ"])
        os.environ[HANDED] = start["settings"]
        sys.argv[1:] = start["arguments"]
    except (ValueError, KeyError, TypeError) as exc:
        raise RefusedError(f"--remote is for hs-cluster --ssh, which says on stdin what to do: {exc}") from exc


def _first_line(fd: int) -> bytes:
    """Return it without its newline. Byte by byte: what follows is for the guardian, who reads the descriptor itself."""
    line = bytearray()
    while (part := os.read(fd, 1)) not in (b"", b"\n"):
        line += part
        if len(line) > limits.MIB:
            raise RefusedError("the first line is over 1 MiB")
    return bytes(line)
