"""The contact with the broker: the sockets of a link in the worker's epoll, and what is done while no broker answers.

connected ──▶ the complaint is hushed, the vigil over
disconnected ──▶ the vigil begins          denied ──▶ a new socket, a little later; in the end nobody there is the right one
moved ──▶ new sockets, to where the connection file says that the broker is
"""

import select
from math import inf

import zmq

from hs_common.clock import monotonic
from hs_common.errors import StoppedError
from hs_common.logs import get_logger
from hs_common.sockets import Link
from hs_worker.complaint import Complaint
from hs_worker.vigil import Vigil

_DENIED_MAX = 10
"""Then the broker is not one that we may speak to."""
_REOPEN_S = 1.0

log = get_logger("worker")


class Contact:
    """Whether somebody answers, and when to do something about it.

    Args:
        link: To the broker.
        poller: In which its sockets are registered, whichever they are.
        vigil: Looks for the end of the cluster while nobody answers.
        patience_s: Until a worker that no broker ever answered ends.

    """

    def __init__(self, link: Link, poller: select.epoll, vigil: Vigil, patience_s: float = inf) -> None:
        self.link = link
        self._poller = poller
        self._vigil = vigil
        self._vigil.begin(monotonic())
        self._patience_s = patience_s
        self._complaint = Complaint(link.endpoints, log.warning, monotonic(), patience_s)
        self._denied = 0
        self._answered = False
        """The broker of this connection answered once: whoever denies us afterwards is somebody else in its place."""
        self._reopen_at = inf
        self.fds: tuple[int, int] = (-1, -1)
        """Of the link's sockets."""
        self._register()

    @property
    def due_at(self) -> float:
        """When to call `look` (monotonic seconds)."""
        return min(self._reopen_at, self._complaint.due_at, self._vigil.due_at)

    def look(self, now: float) -> bool:
        """Do what is due while nobody answers; return whether the cluster is over.

        Raises:
            StoppedError: Nobody has answered for too long.

        """
        if now >= self._complaint.due_at:
            self._complaint.say(now)
        over = now >= self._vigil.due_at and self._vigil.look(now)
        if over:
            log.warning("cluster.over", reason="no broker answers, and the connection file was removed")
        if now >= self._reopen_at:
            self.reopen()
        return over

    def on_connected(self) -> None:
        """Somebody answers."""
        self._denied = 0
        self._answered = True
        self._complaint.hush()
        self._vigil.end()

    def on_disconnected(self) -> None:
        """Nobody answers, from now on or still."""
        self._vigil.begin(monotonic())

    def on_denied(self) -> None:
        """Try again a little later, for a refused socket never comes back by itself.

        Raises:
            StoppedError: That is of no use.

        """
        self._reopen_at = monotonic() + _REOPEN_S
        self._denied += 1
        if self._denied < _DENIED_MAX or self._answered:
            return
        self._complaint.despair()
        raise StoppedError(
            f"the broker at {self.link.endpoint} is another one, or does not know our key: "
            "is this the connection file of its cluster?"
        )

    def on_moved(self) -> None:
        """Go where the connection file says that the broker is now."""
        self.reopen()
        if not self._answered:
            self._complaint = Complaint(self.link.endpoints, log.warning, monotonic(), self._patience_s)
        log.warning("broker.moved", endpoints=" ".join(self.link.endpoints))

    def reopen(self) -> None:
        """Start afresh with new sockets. They may be ready before anybody polls them."""
        self._reopen_at = inf
        for fd in self.fds:
            self._poller.unregister(fd)
        self.link.reopen()
        self._register()

    def _register(self) -> None:
        dealer, monitor = (socket.getsockopt(zmq.FD) for socket in self.link.sockets)
        assert isinstance(dealer, int)
        assert isinstance(monitor, int)
        self.fds = (dealer, monitor)
        for fd in self.fds:
            self._poller.register(fd, select.EPOLLIN)
