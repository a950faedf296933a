"""Workers that a program of the user's starts: mpirun, srun, a script. A program of its own (`python -m`), see `fleet`.

The launcher is executed as it is, without a shell, with /dev/null as stdin: two of them (mpirun, srun) would otherwise read what
is not theirs. It is the head of a session of its own, so one signal reaches all that it started here.
"""

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import zmq

from hs_common.errors import StoppedError
from hs_common.incarnation import origin_arguments
from hs_deploy.daemons import STATUS_STOPPED, how_it_ended
from hs_deploy.launchers.fleet import hold
from hs_deploy.launchers.fleet_core import Awaited, Ended
from hs_deploy.launchers.local import CHILD_ERRORS_FD
from hs_deploy.launchers.unit_streams import Handlers, Outlets, UnitStreams

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
        outlets: Where goes what it says.
        origin: Of its workers, where there are other launchers beside it.

    """

    def __init__(
        self,
        launcher: Sequence[str],
        worker: Sequence[str],
        environ: Mapping[str, str],
        outlets: Outlets,
        origin: bytes = b"",
    ) -> None:
        self._argv = [*launcher, *worker, *origin_arguments(origin)]
        self._origin = origin
        self._name = os.path.basename(launcher[0])
        self._environ = {**HINTS, **environ}
        self.pid = 0
        self._outlets = outlets
        self._streams: UnitStreams | None = None
        self._last_words = ""
        """Of a worker that could not begin."""
        self._lingers = False
        """Whether our own reader may take his time with what it said."""
        self._ended: Ended | None = None

    def start(self) -> None:
        """Start it.

        Raises:
            StoppedError: It cannot be executed.

        """
        streams = UnitStreams(self._outlets, self._take)
        try:
            self.pid = os.posix_spawnp(
                self._argv[0],
                self._argv,
                self._environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    *((os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(streams.ends, 1)),
                    (os.POSIX_SPAWN_CLOSE, CHILD_ERRORS_FD),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGTSTP, signal.SIGXFSZ],
            )
        except OSError as exc:
            streams.end()
            raise StoppedError(f"the launcher {self._name} cannot be started: {exc.strerror}") from exc
        finally:
            streams.begin()
        self._streams = streams

    def watch(self, poller: zmq.Poller) -> Handlers:
        """Wait for what it says, and for our own reader."""
        streams = self._streams.watch(poller) if self._streams is not None else {}
        return streams | self._outlets.watch(poller)

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
        """Wait as long as it says something, and until that is taken."""
        return self._outlets.awaited(now, f"the launcher {self._name}")

    def leave(self) -> None:
        """Let all that it said be taken before we say that it has ended; it was started once."""
        self._lingers = True

    def stop(self) -> None:
        """Do nothing: the broker tells them."""

    def signal(self, signum: int) -> None:
        """Send it to the launcher; SIGKILL goes to all that it started here."""
        self._lingers = False
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
        """How it ended, with its last words; or that nobody takes what it says."""
        return self._outlets.lost or (None if self._lingers and self._outlets.waits else self._ended)

    def close(self, wait_ms: int) -> None:
        """Pass on the rest of what it said."""
        self._outlets.close(wait_ms)

    def on_end(self, status: int) -> None:
        """Take its exit status, and the rest of what it said.

        One that is told to live on when a rank fails (see `HINTS`) ends with 0 although no worker of it could begin.
        """
        assert self._streams is not None, "it was started"
        self._streams.end()
        how = f"the launcher {self._name} {how_it_ended(status, self._last_words or self._streams.errors.words)}"
        self._ended = Ended(STATUS_STOPPED if self._last_words and not status else status, how)

    def _take(self, lines: bytes) -> None:
        """Pass on what it says."""
        self._outlets.errors.write(lines)
        begin = lines.rfind(_LAST_WORDS)
        if begin >= 0:
            self._last_words = lines[begin:].partition(b"\n")[0].decode(errors="backslashreplace").strip()


def _make(document: dict[str, Any], environ: dict[str, str]) -> CommandHolder:
    return CommandHolder(document["launcher"], document["worker"], environ, Outlets())


if __name__ == "__main__":
    hold("hs-launcher", _make)
