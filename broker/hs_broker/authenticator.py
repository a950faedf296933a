"""Who may speak to this broker: the ZAP handler that decides.

CURVE alone lets every stranger in; only a ZAP handler decides who somebody is, and only ZAP_ENFORCE_DOMAIN (set in `router`)
closes the door when there is none. Source: RELIABILITY section 4.4; RFC 26, RFC 27.
"""

from collections.abc import Mapping
from typing import Any

import zmq
from zmq.utils import z85

from hs_common.security import Server, require_curve

_KEY_BYTES = 32
_REQUESTS_PER_STEP_MAX = 256


class Authenticator:
    """The ZAP handler: lives in the broker's own poller, so it can neither fall open nor be away while the broker is there."""

    def __init__(self, context: zmq.Context[Any], server: Server) -> None:
        """Bind it. Before the ROUTER is bound: a peer that finds no handler is refused, and its DEALER then dies."""
        require_curve()
        self._publics = dict(server.roles)
        self._role_of = _roles_by_key(self._publics)
        self.refused = 0
        """Peers that were turned away, and messages of keys that were revoked."""
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.bind("inproc://zeromq.zap.01")

    def step(self) -> int:
        """Answer what waits, at most 256 requests; return how many were answered."""
        for answered in range(_REQUESTS_PER_STEP_MAX):
            try:
                request = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return answered
            self.socket.send_multipart(self._answer(request))
        return _REQUESTS_PER_STEP_MAX

    def role(self, key: str) -> str | None:
        """Return the role of a public key now (it is the User-Id of each message); None, and counted: it has none any more."""
        role = self._role_of.get(key)
        if role is None:
            self.refused += 1
        return role

    def reload(self, server: Server) -> tuple[str, ...]:
        """Take the keys of the roles as they are in `server`; return the roles whose key was another one until now.

        A connection outlives the key that opened it: whoever reads messages asks `role` for each.
        """
        changed = tuple(role for role, public in server.roles.items() if self._publics.get(role) != public)
        self._publics = dict(server.roles)
        self._role_of = _roles_by_key(self._publics)
        return changed

    def _answer(self, request: list[bytes]) -> list[bytes]:
        # Request: version, id, domain, address, identity, mechanism, credentials.
        # Answer: version, id, code, text, user, metadata.
        request_id = request[1] if len(request) > 1 else b""
        match request:
            case [b"1.0", _, b"hs", _, _, b"CURVE", public] if len(public) == _KEY_BYTES:
                key = z85.encode(public)
                if key.decode() in self._role_of:
                    return [b"1.0", request_id, b"200", b"", key, b""]
        self.refused += 1
        return [b"1.0", request_id, b"400", b"unknown key", b"", b""]


def _roles_by_key(publics: Mapping[str, bytes]) -> dict[str, str]:
    return {public.decode(): role for role, public in publics.items()}
