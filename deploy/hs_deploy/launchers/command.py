"""Workers that a program of the user's starts: mpirun, srun, a script. A program of its own (`python -m`), see `fleet`.

The launcher is executed as it is, without a shell, with /dev/null as stdin: two of them (mpirun, srun) would otherwise read what
is not theirs. It is the head of a session of its own, so one signal reaches all that it started here.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq

from hs_common.errors import StoppedError
from hs_common.incarnation import origin_arguments
from hs_deploy.daemons import how_it_ended
from hs_deploy.launchers.fleet import hold
from hs_deploy.launchers.fleet_core import STATUS_STOPPED, Awaited, Ended
from hs_deploy.launchers.local import CHILD_ERRORS_FD, out_of_the_way, pipe
from hs_deploy.output.relay import Outlet, Stream

HINTS = {
    # One rank that dies must not take the others along.
    "OMPI_MCA_orte_enable_recovery": "1",
    "PRTE_MCA_prte_enable_recovery": "1",
    "SLURM_KILL_BAD_EXIT": "0",
    # A worker that is bound to one core runs all its tasks there.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
"""What launchers are told in their environment, where the user says nothing else. Nothing relies on it."""

_LAST_WORDS = b"hs-worker: "
"""With these begins what a worker says that could not begin; a launcher may put a rank before it, and its own words after it."""


class CommandHolder:
    """The process of a launcher.

    Args:
        launcher: Its words, the program first.
        worker: The command line that it is to start.
        environ: Of the launcher.
        origin: Of its workers, where there are other launchers beside it.

    """

    def __init__(
        self, launcher: Sequence[str], worker: Sequence[str], environ: Mapping[str, str], origin: bytes = b""
    ) -> None:
        self._argv = [*launcher, *worker, *origin_arguments(origin)]
        self._origin = origin
        self._name = os.path.basename(launcher[0])
        self._environ = {**HINTS, **environ}
        self.pid = 0
        self._errors = Outlet(CHILD_ERRORS_FD)
        self._stream: Stream | None = None
        self._last_words = ""
        """Of a worker that could not begin."""
        self._silent = False
        """Whether its stderr has ended."""
        self._ended: Ended | None = None

    def start(self) -> None:
        """Start it.

        Raises:
            StoppedError: It cannot be executed.

        """
        nothing = out_of_the_way(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        read_end, write_end = pipe()
        try:
            self.pid = os.posix_spawnp(
                self._argv[0],
                self._argv,
                self._environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing, 0),
                    (os.POSIX_SPAWN_DUP2, write_end, 2),
                    (os.POSIX_SPAWN_CLOSE, CHILD_ERRORS_FD),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGTSTP, signal.SIGXFSZ],
            )
        except OSError as exc:
            raise StoppedError(f"the launcher {self._name} cannot be started: {exc.strerror}") from exc
        finally:
            os.close(nothing)
            os.close(write_end)
        os.set_blocking(read_end, False)
        self._stream = Stream(read_end, self._take)

    def watch(self, poller: zmq.Poller) -> dict[int, Callable[[], None]]:
        """Wait for its stderr, unless nobody takes what is there already."""
        handlers: dict[int, Callable[[], None]] = {}
        if self._errors.waits:
            poller.register(self._errors.fd, zmq.POLLOUT)
            handlers[self._errors.fd] = self._errors.flush
        if self._stream is not None and not self._silent and not self._errors.full:
            poller.register(self._stream.fd, zmq.POLLIN)
            handlers[self._stream.fd] = self._read
        return handlers

    def deadline(self) -> float | None:
        """Nothing is due by itself."""
        return None

    def step(self, _now: float) -> None:
        """Take the statuses of children that ended; the launcher may have left some to us."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == self.pid:
                    self.on_end(os.waitstatus_to_exitcode(found[1]))

    def died(self) -> list[bytes]:
        """Its workers are dead if it ended by itself and not in order: a launcher that was killed may have left them alive."""
        return [self._origin] if self._origin and self._ended is not None and self._ended.status > 0 else []

    def awaited(self, now: float) -> Awaited:
        """Return nothing: what workers write is not seen here."""
        return Awaited(now, "")

    def leave(self) -> None:
        """It was started once."""

    def stop(self) -> None:
        """Do nothing: the broker tells them."""

    def signal(self, signum: int) -> None:
        """Send it to the launcher; SIGKILL goes to all that it started here."""
        if self._ended is not None:
            return
        if signum == signal.SIGKILL:
            os.killpg(self.pid, signum)
        else:
            os.kill(self.pid, signum)

    def pause(self, *, paused: bool) -> None:
        """Do nothing: launchers have their own ideas of these signals, and hardly one passes them on."""

    @property
    def ended(self) -> Ended | None:
        """How it ended, with its last words."""
        return self._ended

    def close(self, wait_ms: int) -> None:
        """Pass on the rest of what it said."""
        self._errors.flush(wait_ms)

    def on_end(self, status: int) -> None:
        """Take its exit status, and the rest of what it said.

        One that is told to live on when a rank fails (see `HINTS`) ends with 0 although no worker of it could begin.
        """
        stream = self._stream
        assert stream is not None, "it was started"
        while not self._silent and select.select([stream.fd], [], [], 0)[0]:
            self._read()
        how = f"the launcher {self._name} {how_it_ended(status, self._last_words or stream.words)}"
        self._ended = Ended(STATUS_STOPPED if self._last_words and not status else status, how)

    def _take(self, lines: bytes) -> None:
        """Pass on what it says."""
        self._errors.write(lines)
        begin = lines.rfind(_LAST_WORDS)
        if begin >= 0:
            self._last_words = lines[begin:].partition(b"\n")[0].decode(errors="backslashreplace").strip()

    def _read(self) -> None:
        assert self._stream is not None, "it was started"
        self._silent = not self._stream.read()


def _make(document: dict[str, Any], environ: dict[str, str]) -> CommandHolder:
    return CommandHolder(document["launcher"], document["worker"], environ)


if __name__ == "__main__":
    hold("hs-launcher", _make)
