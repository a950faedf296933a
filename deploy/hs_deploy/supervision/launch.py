"""How each daemon of a local cluster is started: its program, its descriptors, and the document that it gets first.

stdin      1              2          3        4                 5
broker     lifeline   /dev/null      log pipe
scheduler  lifeline   /dev/null      log pipe   report   input (--no-db)
worker     lifeline   tasks' stdout  log pipe                              tasks' stderr
"""

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence

from hs_common.values import dataclass
from hs_deploy.daemons import Daemon
from hs_deploy.launchers import local
from hs_deploy.launchers.local import CHILD_ERRORS_FD, CHILD_INPUT_FD, CHILD_REPORT_FD, Process

SIGNALS = (
    signal.SIGCHLD,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
)
"""What `hs-cluster` waits for while its daemons run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Descriptors of ours that are passed on, all above `local.FD_MIN`."""

    input: int | None
    """For a scheduler that reads it itself."""
    output: int | None
    """Tasks' stdout; None: a pipe to us."""
    errors: int | None
    """Tasks' stderr; None: a pipe to us."""


Started = tuple[Process, list[tuple[int, str]]]
"""A daemon, and the read ends of its pipes, each with its kind: log, report, out or err."""


class Launcher:
    """Starts a daemon the first time and every time again, always in the same way, but for what its document says of that.

    Args:
        arguments: Daemon -> its command line, the program included.
        environ: Of the daemons.
        streams: What is passed on.

    """

    def __init__(
        self, *, arguments: Mapping[Daemon, Sequence[str]], environ: Mapping[str, str], streams: Streams
    ) -> None:
        self._arguments = arguments
        self._environ = environ
        self._streams = streams
        self._nothing = local.out_of_the_way(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
        self._documents: Mapping[Daemon, Mapping[str, object]] = {}
        self._started: dict[Daemon, Started] = {}
        self._starts: Counter[Daemon] = Counter()

    def start_all(self) -> None:
        """Start all three now; `start` hands them out. So they run while their supervisor is still being imported."""
        for daemon in Daemon:
            with contextlib.suppress(OSError):  # `start` tries again, and its caller hears why not
                self._started[daemon] = self._start(daemon)

    def give(self, documents: Mapping[Daemon, Mapping[str, object]]) -> None:
        """Take what each daemon is to read first, on its stdin and nowhere else: there are secrets in it."""
        self._documents = documents

    def document(self, daemon: Daemon) -> bytes | None:
        """Return the line that it reads first, also that there was one before it; or None: the keys are not made yet."""
        document = self._documents.get(daemon)
        if document is None:
            return None
        again = {"again": True} if self._starts[daemon] > 1 else {}
        return json.dumps({**document, **again}).encode() + b"\n"

    def start(self, daemon: Daemon) -> Started:
        """Start it, if it was not started already; return it and the read ends of its pipes.

        Raises:
            OSError: It cannot be started.

        """
        return self._started.pop(daemon, None) or self._start(daemon)

    def _start(self, daemon: Daemon) -> Started:
        ours: list[tuple[int, str]] = []
        theirs: list[int] = []

        def pipe(kind: str) -> int:
            read_end, write_end = local.pipe()
            os.set_blocking(read_end, False)
            ours.append((read_end, kind))
            theirs.append(write_end)
            return write_end

        try:
            descriptors = {1: self._nothing, 2: pipe("log")}
            if daemon is Daemon.SCHEDULER:
                descriptors[CHILD_REPORT_FD] = pipe("report")
                if self._streams.input is not None:
                    descriptors[CHILD_INPUT_FD] = self._streams.input
            if daemon is Daemon.WORKER:
                output, errors = self._streams.output, self._streams.errors
                descriptors[1] = pipe("out") if output is None else output
                descriptors[CHILD_ERRORS_FD] = pipe("err") if errors is None else errors
            process = local.start(daemon, self._arguments[daemon], descriptors, self._environ)
        except OSError:
            for fd, _ in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._starts[daemon] += 1
        return process, ours
