"""What the core is told, and what it asks its shell to do. Values only."""

from typing import NamedTuple

from hs_common.messages import Message
from hs_common.values import dataclass


class Heard(NamedTuple):
    """Event: a message of a peer."""

    peer: bytes
    """Routing id of its connection. Never logged, never sent to anybody else."""
    role: str
    """Of its key, as ZAP found it."""
    message: Message


class Malformed(NamedTuple):
    """Event: a frame that is no message."""

    peer: bytes
    role: str
    reason: str
    other_version: bool
    """It is of another version of the protocol."""


class PeerUnreachable(NamedTuple):
    """Event: a message for this peer could not be sent (it left, or its pipe is full) and is gone."""

    peer: bytes


class RoleRevoked(NamedTuple):
    """Event: this role has another key now. Everybody who is here in it came with the old one."""

    role: str


Event = Heard | Malformed | PeerUnreachable | RoleRevoked


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send a message to a peer."""

    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class WorkerAttached:
    """Effect: tell the operator that a worker is here (again)."""

    worker: bytes
    host: str
    bundles: int


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """Effect: tell the operator that a worker is gone; the scheduler is told in a Lost."""

    worker: bytes
    reason: str
    bundles: int


@dataclass(frozen=True, slots=True)
class WorkerStalled:
    """Effect: tell the operator that a worker is here, but makes nothing of what it was given. Once, until it says otherwise."""

    worker: bytes
    host: str
    bundles: int


@dataclass(frozen=True, slots=True)
class SchedulerAttached:
    """Effect: tell the operator that a scheduler is here (again)."""

    epoch: int
    host: str


@dataclass(frozen=True, slots=True)
class SchedulerLost:
    """Effect: tell the operator that there is no scheduler any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """Effect: tell the operator that somebody left in order."""

    role: str
    reason: str
    bundles: int
    """Of a worker: that it still had; of the scheduler: that waited."""


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """Effect: tell the operator, at most once a minute for each peer, what a peer did wrong."""

    role: str
    reason: str
    times: int
    """Since this was last said."""


@dataclass(frozen=True, slots=True)
class PeerBanned:
    """Effect: tell the operator that a connection is not listened to any more."""

    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeyRevoked:
    """Effect: tell the operator how many connections a revoked key has ended."""

    role: str
    peers: int


Effect = (
    Send
    | WorkerAttached
    | WorkerLost
    | WorkerStalled
    | SchedulerAttached
    | SchedulerLost
    | PeerLeft
    | PeerRefused
    | PeerBanned
    | KeyRevoked
)
