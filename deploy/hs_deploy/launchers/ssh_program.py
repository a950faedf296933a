"""A session of SSH by the `ssh` program, for sites whose login paramiko cannot do (GSSAPI, hostbased, certificates)."""

import contextlib
import os
import re
import select
import signal
from collections.abc import Mapping

from hs_common.errors import StoppedError
from hs_deploy.launchers.local import pipe
from hs_deploy.launchers.nodes import Node
from hs_deploy.launchers.session import Streams
from hs_deploy.launchers.ssh_args import SshArgs

READ_BYTES = 64 * 1024
STATUS_NO_SESSION = 255
"""Of ssh, when it could not log in or the connection was lost."""

_ALLOCATED = re.compile(rb"Allocated port (\d+) for remote forward")


class ProgramSession:
    """A process of ssh in which the worker runs, or that is still logging in.

    Args:
        argv: Its command line.
        environ: Its environment.
        streams: Where its output goes.

    """

    def __init__(self, argv: list[str], environ: Mapping[str, str], streams: Streams) -> None:
        self.streams = streams
        self._outbox = b""
        self._exit: int | None = None
        self.port: int | None = None
        """Of the host, that leads to ours, once ssh has said so."""
        ours: list[int] = []
        theirs: list[int] = []
        for downward in (True, False, False):
            read_end, write_end = pipe()
            theirs.append(read_end if downward else write_end)
            ours.append(write_end if downward else read_end)
        try:
            self.pid = os.posix_spawnp(
                argv[0],
                argv,
                environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(theirs)],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGTSTP],
            )
        except OSError as exc:
            for fd in ours:
                os.close(fd)
            raise StoppedError(f"ssh.client = openssh: the program ssh cannot be started: {exc.strerror}") from exc
        finally:
            for fd in theirs:
                os.close(fd)
        for fd in ours:
            os.set_blocking(fd, False)
        self._stdin, self._stdout, self._stderr = ours
        self.fds: tuple[int, ...] = (self._stdout, self._stderr)

    def read(self) -> None:
        """Take what has come."""
        for fd in self.fds:
            try:
                part = os.read(fd, READ_BYTES)
            except BlockingIOError:
                continue
            if not part:
                os.close(fd)
                self.fds = tuple(other for other in self.fds if other != fd)
            elif fd == self._stdout:
                self.streams.out(part)
            elif (found := _ALLOCATED.search(part)) is not None and self.port is None:
                self.port = int(found[1])
            else:
                self.streams.err(part)

    def tell(self, line: bytes) -> None:
        """Say a line; the pipe holds far more."""
        self._outbox += line
        with contextlib.suppress(OSError):  # full for the moment, or ended
            while self._outbox and self._stdin >= 0:
                self._outbox = self._outbox[os.write(self._stdin, self._outbox) :]

    def release(self) -> None:
        """Close its stdin."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def close(self) -> None:
        """Cut it off."""
        self.release()
        if self._exit is None:
            os.kill(self.pid, signal.SIGKILL)

    def on_exit(self, status: int) -> None:
        """Note that the process has ended: nobody else waits for it."""
        self._exit = status
        self.release()

    @property
    def status(self) -> int | None:
        """Return how it ended, once all that it said was read; -1: no session, or none any more."""
        poll = select.poll()  # not select: its numbers end at 1,023, and there may be hundreds of hosts
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        if self._exit is None or poll.poll(0):
            return None
        return -1 if self._exit in (STATUS_NO_SESSION, -signal.SIGKILL) else self._exit


def command_line(node: Node, args: SshArgs, command: str, *, silence_s: float, tunnel_to: int | None) -> list[str]:
    """Return the command line of ssh; what the user says comes first, for the first value wins."""
    alive_s = max(1, round(silence_s / 3))
    words = ["ssh", "-T", "-a", "-x", *args.words]
    words += ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15"]
    words += ["-o", f"ServerAliveInterval={alive_s}", "-o", "ServerAliveCountMax=3", "-o", "ControlMaster=no"]
    if tunnel_to is not None:
        words += ["-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:0:127.0.0.1:{tunnel_to}"]
    words += ["-l", node.user] if node.user else []
    words += ["-p", str(node.port)] if node.port else []
    return [*words, "--", node.host, command]
