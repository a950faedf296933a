"""Messages about a command's request: it goes through the broker to the scheduler, and its answers come back the same way.

The order of the fields of a class is their order on the wire: see `hs_common.messages`.
"""

from hs_common.values import dataclass

DONE = 0
"""Status of a Reply: what was asked for is done and committed; the body is the answer."""
MISUSED = 2
"""The user asked for something that cannot be; the body says what, as UTF-8."""
STOPPED = 3
"""It cannot be done; the body says why."""
AGAIN = 4
"""It may not have been heard at all (no scheduler, or one that left meanwhile; too much is under way): say it again, with the
same key, or give up; the body says why."""

STATUSES = (DONE, MISUSED, STOPPED, AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Control or submit -> broker -> scheduler: do this, or tell me that. Each gets at least one Reply."""

    session: bytes
    client: bytes
    """Of its ControlHello."""
    request: int
    """Chosen by the client; none of its requests that are under way has the same."""
    verb: str
    """What is asked for: submit, wait, status, update, search, info."""
    body: bytes
    """Opened by client and scheduler only (`hs_scheduler.serving.asking`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Scheduler -> broker -> control or submit: the answer, or a part of it. Some the broker says by itself."""

    session: bytes
    client: bytes
    request: int
    status: int
    """DONE, MISUSED, STOPPED or AGAIN."""
    more: bool
    """Another Reply to the same request follows."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientGone:
    """Broker -> scheduler: nobody waits any more for the answers that this client has not had yet."""

    session: bytes
    client: bytes
