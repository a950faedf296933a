"""What a service manager is told: that we are ready, that we still turn our loop, that we are about to end.

    ready ──▶ beat, beat, beat (each `period_s`) ──▶ stopping

Without one (no NOTIFY_SOCKET) all of it does nothing, and `due_at` never comes.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

import contextlib
import os
from collections.abc import MutableMapping
from math import inf

BEATS_PER_LIMIT = 4
"""Words within the time after which the service manager takes us for hung; it wants two at least."""


class Notifier:
    """The way to a service manager.

    Args:
        address: Of its datagram socket; an abstract one begins with @. "": there is none.
        period_s: Between two words that we live, seconds; infinity: nobody waits for them.

    """

    def __init__(self, address: str = "", period_s: float = inf) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.period_s = period_s if address else inf
        self.due_at = inf
        """When the next word is due, monotonic seconds."""

    def ready(self, now: float) -> None:
        """Say that others may count on us from now on."""
        self._say("READY=1")
        self.due_at = now + self.period_s

    def beat(self, now: float) -> None:
        """Say, if it is due, that we live."""
        if now >= self.due_at:
            self._say("WATCHDOG=1")
            self.due_at = now + self.period_s

    def skip(self, now: float) -> None:
        """Say nothing, though it is due: what we answer for does not move."""
        self.due_at = now + self.period_s

    def stopping(self) -> None:
        """Say that our end is wanted, and not a fault."""
        self._say("STOPPING=1")

    def _say(self, word: str) -> None:
        if not self._address:
            return
        import socket  # noqa: PLC0415 - only a service needs it

        # Nobody listens, or does not read: that must hold up nothing.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out,
        ):
            out.sendto(word.encode(), self._address)


def of_service(environ: MutableMapping[str, str] | None = None) -> Notifier:
    """Return the way to the service manager that started this very process, and take it out of the environment."""
    environ = os.environ if environ is None else environ
    address = environ.pop("NOTIFY_SOCKET", "")
    limit_us, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or pid not in ("", str(os.getpid())):
        return Notifier(address)
    return Notifier(address, int(limit_us) / 1e6 / BEATS_PER_LIMIT)
