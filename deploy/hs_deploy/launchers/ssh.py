"""Workers on other hosts, one session of SSH each. A program of its own (`python -m`), see `fleet`.

    core ──Login──▶ a thread of fabric, or a process of ssh ──mark──▶ what the worker reads first ──▶ beats, until its end
                                                      └── reason ──▶ core

Over its stdin a worker gets: its command line, settings and variables; its connection; then a beat now and then. Silence or the
end of it is its end, so no worker outlives its session, also where the link is cut and nobody says so.
"""

import contextlib
import json
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import zmq

from hs_common.clock import monotonic
from hs_common.incarnation import ORIGIN_BYTES, origin_arguments
from hs_deploy.launchers.fleet import hold
from hs_deploy.launchers.fleet_core import Awaited, Ended
from hs_deploy.launchers.local import CHILD_ERRORS_FD
from hs_deploy.launchers.nodes import Node
from hs_deploy.launchers.session import STATUS_MISUSE, LoginError, Session, Streams, remote_command
from hs_deploy.launchers.spool_copy import SpoolCopy
from hs_deploy.launchers.ssh_args import parse_ssh_args
from hs_deploy.launchers.ssh_core import Effect as SshEffect
from hs_deploy.launchers.ssh_core import Login, Say, SshCore
from hs_deploy.launchers.ssh_program import ProgramSession, command_line
from hs_deploy.output.relay import Outlet

STALL_S = 30.0
"""At the end of a run outputs are waited for as long as something comes in so long, or within the lease if that is shorter."""

BEATS_PER_SILENCE = 3
BEAT_MAX_S = 10.0
LATE_S = 0.05
"""Between two looks at a session that has said its last word but not how it ended."""

_PAUSE = {True: b"pause\n", False: b"resume\n"}
"""What a worker hears of Ctrl-Z here, where no signal reaches it."""

_FINAL_WORDS = ("Permission denied", "Host key verification failed", "No such identity", "Bad owner or permissions")
"""In the last line of ssh: another try makes no sense. Source: OpenSSH's own texts."""


class SshHolder:
    """All sessions.

    Args:
        document: As `remote.ssh_document` makes it.
        environ: Of the ssh program.

    """

    def __init__(self, document: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        nodes = [Node(*node) for node in document["nodes"]]
        self._core = SshCore(nodes, monotonic())
        self._environ = environ
        self._fabric = document["client"] == "fabric"
        self._args = parse_ssh_args(document["args"], "--ssh-args", fabric=self._fabric)
        self._command = remote_command(document["programs"], document["remote_exe"])
        self._start = {name: document[name] for name in ("arguments", "settings", "environ")}
        self._connection = document["connection"]
        self._spool_folder: str = document["spool"]
        self._wakes: bool = document["wakes"]
        self._silence_s: float = document["silence_s"]
        self._tunnel_to: int | None = document["tunnel_to"]
        self._beat_s = min(BEAT_MAX_S, self._silence_s / BEATS_PER_SILENCE)
        self._beat_at = monotonic() + self._beat_s
        self._sessions: dict[Node, Session] = {}
        self._up: dict[Node, bytes] = {}
        """Where a worker was started -> its origin."""
        self._died: list[bytes] = []
        self._paused = False
        self._stall_s = min(STALL_S, self._silence_s)
        self._moved_at = monotonic()
        """When anything last came from a host, or our own reader was last waited for."""
        self._finishing = False
        self._cut = False
        """Whether the sessions are to end, whatever is still on its way."""
        self._lost: list[str] = []
        """Whose outputs cannot come any more, though they are waited for."""
        self._ports: dict[Node, int | None] = {}
        self._logins: queue.SimpleQueue[tuple[Node, Session | LoginError, int | None]] = queue.SimpleQueue()
        self._wake_fd, self._waking_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._out, self._err = Outlet(1), Outlet(CHILD_ERRORS_FD)
        self._ended: Ended | None = None

    def start(self) -> None:
        """Log in at the first hosts."""
        if self._fabric:
            from hs_deploy.launchers import ssh_fabric  # noqa: F401, PLC0415 - once, not in each thread at the same time
        self._perform(self._core.expire(monotonic()))

    # --- waiting ---

    def watch(self, poller: zmq.Poller) -> dict[int, Callable[[], None]]:
        """Wait for logins and for what the hosts say, unless nobody takes what they said before."""
        handlers: dict[int, Callable[[], None]] = {self._wake_fd: self._on_wake}
        for outlet in (self._out, self._err):
            if outlet.waits:
                poller.register(outlet.fd, zmq.POLLOUT)
                handlers[outlet.fd] = outlet.flush
        poller.register(self._wake_fd, zmq.POLLIN)
        for session in self._sessions.values() if self._reads else ():
            for fd in session.fds:
                poller.register(fd, zmq.POLLIN)
                handlers[fd] = session.read
        return handlers

    def deadline(self) -> float | None:
        """When to call `step` next."""
        deadlines: list[float | None] = [self._beat_at, self._core.deadline()]
        if any(not session.fds for session in self._sessions.values()):
            deadlines.append(monotonic() + LATE_S)
        return min(at for at in deadlines if at is not None)

    def step(self, now: float) -> None:
        """Start what is due, look at every session, beat."""
        self._reap()
        for node, session in [*self._sessions.items()]:
            self._look_at(node, session, now)
        if now >= self._beat_at:
            self._beat_at = now + self._beat_s
            for node in self._up:
                self._sessions[node].tell(b"\n")
        self._perform(self._core.expire(now))
        lost = next((outlet.failure for outlet in (self._out, self._err) if outlet.failure), "")
        if lost:
            self._end_with(f"the tasks' output cannot be written: {lost}", lost=True)
        elif (reason := self._core.over()) is not None and not self._sessions and not (self._finishing and self._kept):
            self._end_with(reason)

    def _end_with(self, reason: str, *, lost: bool = False) -> None:
        if self._ended is None:
            missing = f"outputs that were on their way are lost ({'; '.join(self._lost)})" if self._lost else ""
            self._ended = Ended(1, reason, reason if lost else missing)

    @property
    def _reads(self) -> bool:
        """Whether what the hosts say is taken: not while our own reader leaves it lying here, unless he is waited for no more."""
        return self._cut or not (self._out.full or self._err.full)

    @property
    def _kept(self) -> bool:
        """Whether our own reader has not taken all."""
        return self._out.waits or self._err.waits

    def _on_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_fd, 4096)
        with contextlib.suppress(queue.Empty):
            while True:
                node, found, port = self._logins.get_nowait()
                if isinstance(found, LoginError):
                    self._perform(self._core.on_failed(node, str(found), monotonic(), final=found.final))
                else:
                    self._sessions[node], self._ports[node] = found, port

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                for session in self._sessions.values():
                    if isinstance(session, ProgramSession) and session.pid == found[0]:
                        session.on_exit(os.waitstatus_to_exitcode(found[1]))

    # --- one session ---

    def _look_at(self, node: Node, session: Session, now: float) -> None:
        if self._reads:
            session.read()
        if session.streams.moved:
            session.streams.moved, self._moved_at = False, now
        if isinstance(session, ProgramSession) and session.port is not None:
            self._ports[node] = session.port
        if receipt := session.streams.receipt():
            session.tell(receipt)
            if self._wakes and not self._out.waits:
                self._out.write(b"\n")
        if session.streams.begun and node not in self._up and (self._tunnel_to is None or self._ports.get(node)):
            self._begin(node, session, now)
        status = STATUS_MISUSE[0] if session.streams.failure else session.status
        if status is not None:
            self._end(node, session, status, now)

    def _begin(self, node: Node, session: Session, now: float) -> None:
        """Say to the worker what it reads first, or that there is nothing to begin with any more."""
        if self._finishing:
            session.release()
            return
        self._up[node] = origin = os.urandom(ORIGIN_BYTES)
        start = self._start | {"arguments": [*self._start["arguments"], *origin_arguments(origin)]}
        connection = self._connection
        if (port := self._ports.get(node)) is not None:
            connection = connection | {"endpoints": [f"tcp://127.0.0.1:{port}"]}
        session.tell(json.dumps(start).encode() + b"\n" + json.dumps({"connection": connection}).encode() + b"\n")
        if self._paused:
            session.tell(_PAUSE[True])
        self._perform(self._core.on_up(node, now))

    def _end(self, node: Node, session: Session, status: int, now: float) -> None:
        session.streams.end()
        session.close()
        del self._sessions[node]
        self._ports.pop(node, None)
        words = session.streams.failure or session.streams.words
        if node not in self._up:
            cut = status == -1 and not any(word in words for word in _FINAL_WORDS)
            reason = words or f"the login ended with status {status}"
            self._perform(self._core.on_failed(node, reason, now, final=not cut))
            return
        origin = self._up.pop(node)
        if status > 0:
            self._died.append(origin)
        if status == -1:
            reason = "the connection was lost"
        elif status == 0:
            reason = "its worker has left"
        else:
            reason = f"its worker ended with status {status}{f' ({words})' if words else ''}"
        if self._finishing and status and session.streams.worker:
            self._lost.append(f"{node.name}: {reason}")
        hopeless = status in STATUS_MISUSE and not self._core.has_reached(node, now)
        self._perform(self._core.on_ended(node, reason, now, final=status == 0 or hopeless))

    # --- what to do ---

    def _perform(self, effects: list[SshEffect]) -> None:
        for effect in effects:
            match effect:
                case Login(node=node):
                    self._log_in(node)
                case Say(text=text):
                    self._err.write(f"hs-cluster: {text}\n".encode(errors="backslashreplace"))

    def _log_in(self, node: Node) -> None:
        spool = SpoolCopy(self._spool_folder) if self._spool_folder else None
        # What ssh says before is the reason when the login fails, and no more.
        streams = Streams(
            self._out.write, self._err.write if self._fabric else partial(self._heard_by_ssh, node), spool
        )
        if not self._fabric:
            argv = command_line(node, self._args, self._command, silence_s=self._silence_s, tunnel_to=self._tunnel_to)
            self._sessions[node] = ProgramSession(argv, self._environ, streams)
            return
        threading.Thread(target=self._log_in_by_fabric, args=(node, streams), daemon=True).start()

    def _heard_by_ssh(self, node: Node, text: bytes) -> None:
        """Show what the worker says."""
        if node in self._up:
            self._err.write(text)

    def _log_in_by_fabric(self, node: Node, streams: Streams) -> None:
        """In a thread of its own."""
        from hs_deploy.launchers.ssh_fabric import log_in  # noqa: PLC0415 - imported before

        found: Session | LoginError
        port = None
        try:
            found, port = log_in(
                node, self._args, self._command, streams, silence_s=self._silence_s, tunnel_to=self._tunnel_to
            )
        except LoginError as exc:
            found = exc
        except Exception as exc:  # noqa: BLE001 - a thread that ends in silence would be waited for
            found = LoginError(f"{type(exc).__name__}: {exc}", final=True)
        self._logins.put((node, found, port))
        with contextlib.suppress(BlockingIOError):
            os.write(self._waking_fd, b"\n")

    # --- the end ---

    def died(self) -> list[bytes]:
        """Return the origins of workers whose end the host has told: a connection that was lost says nothing of them."""
        died, self._died = self._died, []
        return died

    def awaited(self, now: float) -> Awaited:
        """Name the hosts whose worker has begun to say something and has not ended."""
        if self._kept:
            self._moved_at = now  # our own reader is slow: he may be, and nothing is read meanwhile
        whom = [node.name for node, session in self._sessions.items() if session.streams.worker]
        return Awaited(self._moved_at + self._stall_s, ", ".join(whom) or ("this host" if self._kept else ""))

    def leave(self) -> None:
        """Log in nowhere any more."""
        self._core.leave()

    def stop(self) -> None:
        """Let every worker leave, one that has lost the broker, too, and wait for what they say."""
        self._finishing = True
        for node in self._up:
            self._sessions[node].tell(b"stop\n")

    def signal(self, signum: int) -> None:
        """End the sessions: by the end of their stdin, or at once."""
        self._finishing, self._cut = False, True
        for session in self._sessions.values():
            if signum == signal.SIGKILL:
                session.close()
            else:
                session.release()

    def pause(self, *, paused: bool) -> None:
        """Tell all workers, and those to come."""
        self._paused = paused
        for node in self._up:
            self._sessions[node].tell(_PAUSE[paused])

    @property
    def ended(self) -> Ended | None:
        """Why no host is left."""
        return self._ended

    def close(self, wait_ms: int) -> None:
        """Write out what waits, and cut what is left."""
        for session in self._sessions.values():
            session.close()
        self._out.flush(wait_ms)
        self._err.flush(wait_ms)


def _make(document: dict[str, Any], environ: dict[str, str]) -> SshHolder:
    return SshHolder(document, environ)


if __name__ == "__main__":
    hold("hs-ssh", _make)
