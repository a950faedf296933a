"""Whether one descriptor can be read, or written, without waiting.

By poll: select takes no number above 1,023, and whoever starts us may have left that many open.
"""

import select


def readable(fd: int, wait_s: float | None = None) -> bool:
    """Return whether there is something to read, or the end, or an error.

    Args:
        fd: The descriptor.
        wait_s: How long to wait for it, seconds; None: as long as it takes.

    """
    return _ready(fd, select.POLLIN, wait_s)


def writable(fd: int, wait_s: float | None = None) -> bool:
    """Return whether something can be written, or nothing any more; wait likewise."""
    return _ready(fd, select.POLLOUT, wait_s)


def _ready(fd: int, events: int, wait_s: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(None if wait_s is None else wait_s * 1000))
