"""What a task printed: the files that `--capture` made on its worker's host.

the path exists here (our host, or a shared file system: it holds the task's id, so it is the one) ──▶ read
else ──▶ SFTP to the worker's host, by the user's own SSH settings; a host whose key is not known is refused
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from hs_common.errors import StoppedError

PIECE_BYTES = 32 * 1024
"""Of one request; servers need not give more. Source: draft-ietf-secsh-filexfer-02, section 6.4."""

WINDOW_BYTES = 64 * PIECE_BYTES
"""Asked for ahead."""

END_BYTES = 4096
"""Enough for a last line."""

CONNECT_S = 15.0
"""For the connection, for the greeting of the server and for the login, each."""

SILENCE_S = 60.0
"""A transfer in which nothing comes for so long is given up."""


def output_of(path: bytes | None, host: str | None) -> Iterator[bytes]:
    """Yield the content of a captured file, unchanged.

    Args:
        path: As the task's `outpath` or `errpath` has it.
        host: Where its worker was.

    Raises:
        StoppedError: Nothing was captured, or it is out of reach: why.

    """
    if path is None or host is None:
        raise StoppedError("nothing of this task was captured: run it with --capture, and wait until it ends")
    try:
        with open(path, "rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except FileNotFoundError:
        shown = os.fsdecode(path)
        if host == os.uname().nodename:
            raise StoppedError(f"{shown} is not there any more") from None
        yield from _fetched(path, host)
    except OSError as exc:
        raise StoppedError(f"{os.fsdecode(path)}: {exc.strerror}") from exc


def end_of(path: bytes | None) -> bytes | None:
    """Return the last bytes of a captured file, or None: it is not here, and nobody else is asked."""
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - END_BYTES))
            return file.read(END_BYTES)
    except OSError:
        return None


def _fetched(path: bytes, host: str) -> Iterator[bytes]:
    # Only now: fabric takes 150 ms to load, and nearly every output is here.
    from fabric import Connection  # noqa: PLC0415
    from paramiko import SSHException  # noqa: PLC0415

    from hs_common import known_hosts  # noqa: PLC0415

    where = f"host {host}: {os.fsdecode(path)}"
    connection = Connection(host, connect_timeout=CONNECT_S)
    known_hosts.enforce(connection)
    try:
        connection.open()
        channel = connection.sftp()
        channel.get_channel().settimeout(SILENCE_S)
        with channel.open(path, "rb") as file:
            size = file.stat().st_size or 0
            for start in range(0, size, WINDOW_BYTES):
                # Asked for together and waited for in order: a far host is not asked piece by piece.
                end = min(size, start + WINDOW_BYTES)
                yield from file.readv([(at, min(PIECE_BYTES, end - at)) for at in range(start, end, PIECE_BYTES)])
    except FileNotFoundError:
        raise StoppedError(f"{where} is not there any more") from None
    except (OSError, EOFError, SSHException) as exc:
        raise StoppedError(f"{where} cannot be fetched: {_reason(exc)}") from exc
    finally:
        with contextlib.suppress(OSError, EOFError, SSHException):
            connection.close()


def _reason(error: Any) -> str:  # noqa: ANN401 - whatever was raised
    return " ".join(str(error).split()) or type(error).__name__
