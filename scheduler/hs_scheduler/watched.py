"""A place in a poller that one descriptor takes after another."""

import zmq


class Watched:
    """At most one descriptor that is polled for reading."""

    def __init__(self, poller: zmq.Poller) -> None:
        self._poller = poller
        self.fd: int | None = None

    def watch(self, fd: int | None) -> None:
        """Poll this one from now on in place of the one before; None: nothing."""
        if fd == self.fd:
            return
        if self.fd is not None:
            self._poller.unregister(self.fd)
        if fd is not None:
            self._poller.register(fd, zmq.POLLIN)
        self.fd = fd
