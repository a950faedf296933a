"""What commands write to stdout."""

import os
import sys
from collections.abc import Iterable

from hs_common.errors import StoppedError


def print_texts(texts: Iterable[str]) -> None:
    """Write texts, as they come; what is no UTF-8 is escaped."""
    print_bytes(text.encode(errors="backslashreplace") for text in texts)


def print_bytes(pieces: Iterable[bytes]) -> None:
    """Write bytes, as they come; that nobody reads any more (`| head`) is no failure.

    Raises:
        StoppedError: They cannot be written.

    """
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What is buffered must not be tried once more at the end of the program.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as exc:
        raise StoppedError(f"stdout: {exc.strerror}") from exc
