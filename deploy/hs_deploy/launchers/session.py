"""One host, one session, one worker: what any client of SSH has to offer, and how the streams of a session are taken apart.

The remote shell says a mark first, then becomes the worker. What comes before the mark is a greeting of the host, and not shown;
what comes behind it is in frames (`hs_worker.output.frames`).
"""

import shlex
from collections.abc import Callable, Sequence
from typing import Protocol

from hs_common.errors import WireError
from hs_deploy.launchers.spool_copy import SpoolCopy
from hs_deploy.output.relay import Lines
from hs_worker.output.frames import FrameReader, Kind

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
    """The two streams of a session.

    Args:
        out: Gets the tasks' stdout, whole lines.
        err: Gets what comes on stderr, likewise.
        spool: Gets the outputs that are spooled; None: they are not.

    """

    def __init__(
        self, out: Callable[[bytes], None], err: Callable[[bytes], None], spool: SpoolCopy | None = None
    ) -> None:
        self.begun = False
        """Whether the mark was seen."""
        self.failure = ""
        """Why what comes makes no sense, or ""."""
        self.worker = b""
        """The incarnation that is there; b"": none has begun."""
        self.moved = False
        """Whether anything came since somebody last looked, who sets it back."""
        self._greeting = b""
        self._frames = FrameReader()
        self._out = Lines(out)
        self._err = Lines(err)
        self._spool = spool
        self._told_bytes = 0

    @property
    def words(self) -> str:
        """The last line of its stderr."""
        return self._err.words

    def out(self, text: bytes) -> None:
        """Take what came on its stdout."""
        self.moved = True
        if self.begun:
            self._take(text)
            return
        self._greeting = (self._greeting + text)[-GREETING_BYTES_MAX:]
        _, mark, rest = self._greeting.partition(MARK + b"\n")
        if mark:
            self.begun, self._greeting = True, b""
            self._take(rest)

    def err(self, text: bytes) -> None:
        """Take what came on its stderr."""
        self.moved = True
        self._err.take(text)

    def receipt(self) -> bytes:
        """Return a line for the worker that says how much of its spool is here, if that is news; b"": it is none."""
        if self._spool is None or self._spool.bytes == self._told_bytes:
            return b""
        self._told_bytes = self._spool.bytes
        return b"kept %s %d\n" % (self.worker.hex().encode(), self._told_bytes)

    def end(self) -> None:
        """Pass on what came without a newline."""
        self._out.end()
        self._err.end()
        if self._spool is not None:
            self._spool.begin()

    def _take(self, text: bytes) -> None:
        try:
            for kind, data in () if self.failure else self._frames.take(text):
                if kind == Kind.LINES:
                    self._out.take(data)
                elif kind == Kind.BEGIN:
                    self._begin(data)
                elif self._spool is not None:
                    self._spool.write(data)
        except WireError as exc:
            self.failure = str(exc)

    def _begin(self, worker: bytes) -> None:
        """Hear of a worker; the one before it, if any, is dead."""
        self.worker = worker
        self._out.end()
        if self._spool is not None:
            self._spool.begin()
            self._told_bytes = 0


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
