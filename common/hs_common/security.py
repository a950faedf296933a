"""Who may speak to a broker: keys, and the files and documents that bring them.

    Server      what a broker is given: its own key pair and the public key of each role
    Connection  what any other daemon is given: where the broker is, its public key, and the key pair of one role

Whether a key may come in is for the broker to decide: `hs_broker.authenticator`. Source: RELIABILITY section 4.4; RFC 26.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import zmq
from zmq.utils import z85

from hs_common import limits
from hs_common.errors import RefusedError, StoppedError
from hs_common.private_files import read_private
from hs_common.values import dataclass, field

ROLES = ("worker", "submit", "scheduler", "control")
"""One key pair each: what a key may say is decided by its role."""

_ENDPOINTS_MAX = 64
"""Of one broker: every address of a host with many networks, and more than we would ever try."""
_KEY_CHARS = 40
_CLUSTER_BYTES = 16
_LIBZMQ_MIN = (4, 3, 4)
"""Older ones have holes before authentication (CVE-2019-13132, CVE-2020-15166)."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, both halves as 40 characters of Z85."""

    public: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no pair."""
        _check_key(self.public)
        _check_key(self.secret)
        if zmq.curve_public(self.secret) != self.public:
            raise RefusedError("public and secret key do not belong together")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """All that a peer needs to speak to one broker in one role."""

    endpoints: tuple[str, ...]
    """As ZeroMQ writes them: ipc:///path, tcp://host:port. All lead to the same broker."""
    server_public: bytes
    cluster: bytes
    """16 bytes: which cluster this is."""
    role: str
    keys: KeyPair
    host: str
    """Where the broker runs, for people."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object. It holds a secret: only for a private file or a pipe."""
        return {
            "endpoints": list(self.endpoints),
            "server_public": self.server_public.decode(),
            "cluster": self.cluster.hex(),
            "role": self.role,
            "keys": _keys_to_json(self.keys),
            "host": self.host,
        }

    @classmethod
    def from_json(cls, document: object) -> "Connection":
        """Return the connection in a JSON object.

        Raises:
            RefusedError: A field is missing, unknown or out of bounds.

        """
        fields = _object(document, {"endpoints", "server_public", "cluster", "role", "keys", "host"}, "connection")
        if fields["role"] not in ROLES:
            raise RefusedError(f"connection: role {fields['role']!r:.40} is none of {', '.join(ROLES)}")
        server_public = _text(fields["server_public"], "server_public").encode()
        _check_key(server_public)
        return cls(
            endpoints=_endpoints(fields["endpoints"]),
            server_public=server_public,
            cluster=_cluster(fields["cluster"]),
            role=fields["role"],
            keys=_keys_from_json(fields["keys"]),
            host=_text(fields["host"], "host"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """All that a broker needs to be the broker of one cluster."""

    endpoints: tuple[str, ...]
    """Where to listen."""
    cluster: bytes
    keys: KeyPair
    roles: Mapping[str, bytes]
    """Role -> its public key."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object. It holds a secret: only for a private file or a pipe."""
        return {
            "endpoints": list(self.endpoints),
            "cluster": self.cluster.hex(),
            "keys": _keys_to_json(self.keys),
            "roles": {role: public.decode() for role, public in self.roles.items()},
        }

    @classmethod
    def from_json(cls, document: object) -> "Server":
        """Return the server in a JSON object.

        Raises:
            RefusedError: A field is missing, unknown or out of bounds.

        """
        fields = _object(document, {"endpoints", "cluster", "keys", "roles"}, "server")
        publics = _object(fields["roles"], set(ROLES), "server roles")
        roles = {role: _text(publics[role], role).encode() for role in ROLES}
        for public in roles.values():
            _check_key(public)
        return cls(
            endpoints=_endpoints(fields["endpoints"]),
            cluster=_cluster(fields["cluster"]),
            keys=_keys_from_json(fields["keys"]),
            roles=roles,
        )


def require_curve() -> None:
    """Refuse to go on without encryption.

    Raises:
        StoppedError: This libzmq has no CURVE, or is too old to face strangers.

    """
    if not zmq.has("curve"):
        raise StoppedError(f"libzmq {zmq.zmq_version()} was built without CURVE: install pyzmq from its own wheels")
    if zmq.zmq_version_info() < _LIBZMQ_MIN:
        raise StoppedError(f"libzmq {zmq.zmq_version()} is too old, 4.3.4 is the first safe one: upgrade pyzmq")


def make_key_pair() -> KeyPair:
    """Return a fresh key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public, secret)


def make_cluster(endpoints: tuple[str, ...], host: str) -> tuple[Server, dict[str, Connection]]:
    """Return the broker's side and a connection for each role of a cluster that did not exist before."""
    cluster = os.urandom(_CLUSTER_BYTES)
    keys = make_key_pair()
    of_role = {role: make_key_pair() for role in ROLES}
    server = Server(
        endpoints=endpoints,
        cluster=cluster,
        keys=keys,
        roles={role: pair.public for role, pair in of_role.items()},
    )
    connections = {
        role: Connection(
            endpoints=endpoints, server_public=keys.public, cluster=cluster, role=role, keys=pair, host=host
        )
        for role, pair in of_role.items()
    }
    return server, connections


def read_connection(path: str) -> Connection:
    """Return the connection in a file.

    Raises:
        RefusedError: No such file, no connection in it, or others can read or replace it.

    """
    try:
        return Connection.from_json(json.loads(read_private(path)))
    except (ValueError, RecursionError) as exc:
        raise RefusedError(f"{path}: not JSON: {exc}") from exc


def _keys_to_json(keys: KeyPair) -> dict[str, str]:
    return {"public": keys.public.decode(), "secret": keys.secret.decode()}


def _keys_from_json(document: object) -> KeyPair:
    fields = _object(document, {"public", "secret"}, "keys")
    return KeyPair(_text(fields["public"], "public").encode(), _text(fields["secret"], "secret").encode())


def _check_key(key: bytes) -> None:
    # The key itself never stands in the message: it may be the secret one.
    if len(key) != _KEY_CHARS or not set(key) <= set(z85.Z85CHARS):
        raise RefusedError(f"a key is not {_KEY_CHARS} characters of Z85")


def _object(document: object, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(document, dict) or set(document) != names:
        raise RefusedError(f"{what}: not an object with exactly {', '.join(sorted(names))}")
    return document


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > limits.NAME_BYTES_MAX:
        raise RefusedError(f"{what}: not a text of at most {limits.NAME_BYTES_MAX} characters")
    return value


def _cluster(value: object) -> bytes:
    try:
        cluster = bytes.fromhex(_text(value, "cluster"))
    except ValueError as exc:
        raise RefusedError("cluster: not hexadecimal") from exc
    if len(cluster) != _CLUSTER_BYTES:
        raise RefusedError(f"cluster: not {_CLUSTER_BYTES} bytes")
    return cluster


def _endpoints(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _ENDPOINTS_MAX:
        raise RefusedError(f"endpoints: not a list of 1..{_ENDPOINTS_MAX}")
    endpoints = tuple(_text(item, "endpoint") for item in value)
    for endpoint in endpoints:
        # An abstract ipc name (ipc://@...) has no permissions at all.
        if not endpoint.startswith(("tcp://", "ipc:///")):
            raise RefusedError(f"endpoint {endpoint:.80}: neither tcp://HOST:PORT nor ipc:///PATH")
    return endpoints
