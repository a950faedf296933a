"""One host, one session, one worker: what any client of SSH has to offer, and how the streams of a session are taken apart.

The remote shell says a mark first, then becomes the worker. What comes before the mark is a greeting of the host, and not shown.
"""

import shlex
from collections.abc import Callable, Sequence
from typing import Protocol

from hs_deploy.relay import Lines

MARK = b"hs-cluster: here the worker begins"
GREETING_BYTES_MAX = 1 << 20
"""Of what a host may say before; more is cut from its beginning."""

STATUS_MISUSE = (2, 3, 126, 127)
"""Exit statuses of a worker, or of the shell in its place, that will come again however often it is tried."""


class LoginError(Exception):
    """It did not work out. `final`: nor will it when tried again."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.final = final


class Session(Protocol):
    """A session in which a worker runs, or that has ended."""

    fds: tuple[int, ...]
    """To wait for; `read` when one is ready."""

    def read(self) -> None:
        """Take what has come, without waiting."""

    def tell(self, line: bytes) -> None:
        """Say a line to the worker, without waiting; what does not go now is dropped with the session."""

    def release(self) -> None:
        """Close its stdin: the worker ends."""

    def close(self) -> None:
        """Cut it off."""

    @property
    def status(self) -> int | None:
        """Return how it ended: an exit status, or -1 where there is none; None: it has not."""

    streams: "Streams"


class Streams:
    """The two streams of a session, cut into whole lines."""

    def __init__(self, out: Callable[[bytes], None], err: Callable[[bytes], None]) -> None:
        self.begun = False
        """Whether the mark was seen."""
        self._greeting = b""
        self._out = Lines(out)
        self._err = Lines(err)

    @property
    def words(self) -> str:
        """The last line of its stderr."""
        return self._err.words

    def out(self, text: bytes) -> None:
        """Take what came on its stdout."""
        if self.begun:
            self._out.take(text)
            return
        self._greeting = (self._greeting + text)[-GREETING_BYTES_MAX:]
        _, mark, rest = self._greeting.partition(MARK + b"\n")
        if mark:
            self.begun, self._greeting = True, b""
            self._out.take(rest)

    def err(self, text: bytes) -> None:
        """Take what came on its stderr."""
        self._err.take(text)

    def end(self) -> None:
        """Pass on what came without a newline."""
        self._out.end()
        self._err.end()


def remote_command(programs: Sequence[Sequence[str]], named: str | None) -> str:
    """Return what the shell of the host is to run, whichever shell it is.

    Args:
        programs: Command lines of the worker's program here, tried there in this order.
        named: Path of the program there, or None.

    """
    if named is not None:
        start = f"{shlex.quote(named)} --remote"
    else:
        tried = [
            f"if {' && '.join(f'test -r {shlex.quote(word)}' for word in words if word.startswith('/'))}; "
            f"then {shlex.join(words)} --remote; exit $?; fi"
            for words in programs
        ]
        start = "; ".join([*tried, "hs-worker --remote"])
    # No exec: of a worker that was killed a shell tells a status, where `ssh` would say the same as of a lost connection.
    script = f"echo {shlex.quote(MARK.decode())}; {start}; exit $?"
    return f"exec /bin/sh -c {shlex.quote(script)}"
