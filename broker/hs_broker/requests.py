"""Requests that went to the scheduler and are not answered yet: who waits for what. Their bodies are not kept.

Request ──put──▶ waits ──Reply (the last one)──▶ forgotten
                   ├──── its client left ──────▶ forgotten: the scheduler is told
                   └──── the scheduler left ───▶ forgotten: the client is told to ask again

How many there may be, and of how many bytes, is in `limits`; one more is answered AGAIN.
"""

from hs_common import limits


class Requests:
    """Bytes by request by client, and their sums."""

    def __init__(self) -> None:
        self._of: dict[bytes, dict[int, int]] = {}
        self._count = 0
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._count

    def clients(self) -> set[bytes]:
        """Return who waits."""
        return set(self._of)

    def knows(self, client: bytes, request: int) -> bool:
        """Return whether this one waits."""
        return request in self._of.get(client, ())

    def obstacle(self, client: bytes, request: int, size: int) -> str:
        """Return why a request with a body of `size` bytes cannot be passed on now, or ""."""
        own = self._of.get(client, {})
        if request in own:
            return f"request {request} is under way already"
        if len(own) >= limits.REQUESTS_OF_CLIENT_MAX:
            return f"{limits.REQUESTS_OF_CLIENT_MAX} requests of this client are under way already"
        if self._count >= limits.REQUESTS_MAX or (self._bytes and self._bytes + size > limits.REQUESTS_BYTES_MAX):
            return f"the scheduler has {self._count} requests of {self._bytes} bytes to answer already"
        return ""

    def put(self, client: bytes, request: int, size: int) -> None:
        """Note a request that is passed on."""
        self._of.setdefault(client, {})[request] = size
        self._count += 1
        self._bytes += size

    def close(self, client: bytes, request: int) -> None:
        """Forget one that is answered."""
        own = self._of[client]
        self._bytes -= own.pop(request)
        self._count -= 1
        if not own:
            del self._of[client]

    def drop(self, client: bytes) -> bool:
        """Forget all of a client; return whether there was any."""
        own = self._of.pop(client, {})
        self._count -= len(own)
        self._bytes -= sum(own.values())
        return bool(own)

    def take_all(self) -> list[tuple[bytes, int]]:
        """Forget all of everybody; return them as (client, request)."""
        found = [(client, request) for client, own in self._of.items() for request in own]
        self._of.clear()
        self._count = self._bytes = 0
        return found

    def check(self) -> None:
        """Assert that the sums are right."""
        assert all(self._of.values()), "a client without requests is not kept"
        assert self._count == sum(len(own) for own in self._of.values())
        assert self._bytes == sum(size for own in self._of.values() for size in own.values())
