"""A line that is cut, slowed and broken, between workers and their broker, a scheduler and its database: a TCP proxy, one thread.

    worker ──connect──▶ [accepted] ──connect, unless nothing passes──▶ broker
           ──THERE──▶ chunks, each due at its time ──▶
           ◀──BACK─── chunks, each due at its time ◀──

What is lost on a line that TCP holds comes again when it heals, so nothing passes means: later. Only `break_next` and `forget`
lose anything.
"""

import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from struct import pack
from typing import Self

THERE, BACK = "there", "back"
"""From who connects, a worker, to who listens, its broker; and from the broker to the worker."""

_TURN_S = 0.02
"""Until a change of the weather is noticed."""

_CHUNK_BYTES = 16_384
_ROOM_BYTES = 262_144
"""On the way in one direction, as a window of TCP. The rest waits where it comes from."""

_CONNECT_S = 5.0
"""For a listener on this host."""

_BACKLOG = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What a line is like."""

    delay_s: float = 0.0
    """Of everything, each way."""
    bytes_per_s: float = inf
    """Of each connection, each way."""
    stopped: frozenset[str] = frozenset()
    """Directions in which nothing passes."""


CALM = Weather()


@dataclass(slots=True, eq=False)
class _Way:
    """One direction of a connection."""

    name: str
    source: socket.socket
    sink: socket.socket
    chunks: deque[tuple[float, bytes]] = field(default_factory=deque)
    """When each is due, and its bytes; b"": the source has nothing more to say."""
    size: int = 0
    free_at: float = 0.0
    """When the line has sent what it was given before."""
    ended: bool = False
    carried: int = 0
    """Bytes, since the connection was made."""

    def takes(self, weather: Weather) -> bool:
        """Return whether its source is read."""
        return not self.ended and self.size < _ROOM_BYTES and self.name not in weather.stopped

    def due_at(self, weather: Weather) -> float:
        """Return when something may leave; infinity: nothing may."""
        if not self.chunks or self.name in weather.stopped:
            return inf
        return max(self.chunks[0][0], self.free_at)


class Line:
    """Use it in a `with`.

    Args:
        listener: Where it leads to: a port of this host, or the path of a socket.

    """

    def __init__(self, listener: int | str) -> None:
        self._leads_to = listener
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._listener.setblocking(False)  # whoever knocked may have left again
        self.port: int = self._listener.getsockname()[1]
        """Where to connect to, on 127.0.0.1."""
        self.weather = CALM
        """Set it at any time."""
        self.broken = 0
        """Connections that were broken in the middle of something."""
        self._waiting: list[socket.socket] = []
        """Accepted, and not connected to the listener yet."""
        self._ways: list[tuple[_Way, _Way]] = []
        """Both directions of each connection."""
        self._forgotten: list[tuple[_Way, _Way]] = []
        self._break_at: int | None = None
        self._forget = False
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"line {self.port}")

    def __enter__(self) -> Self:
        """Begin to pass on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self._over = True
        self._thread.join()
        for there, _back in self._ways + self._forgotten:
            there.source.close()
            there.sink.close()
        for accepted in self._waiting:
            accepted.close()
        self._listener.close()

    @property
    def carried(self) -> int:
        """Bytes that passed on the connections that are there, both ways."""
        return sum(way.carried for pair in list(self._ways) for way in pair)

    def break_next(self, at: int) -> None:
        """Reset the connection that says something next, after so many bytes of it, as a firewall does that was started anew."""
        self._break_at = at

    def forget(self) -> None:
        """Let nothing pass any more on the connections that are there, and tell nobody: as a router does that lost its table."""
        self._forget = True

    def _run(self) -> None:
        while not self._over:
            self._turn(self.weather)

    def _turn(self, weather: Weather) -> None:
        if self._forget:
            self._forgotten += self._ways
            self._ways, self._forget = [], False
        if not weather.stopped:
            for accepted in self._waiting:
                self._connect(accepted)
            self._waiting = []
        now = time.monotonic()
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        readers: dict[int, _Way] = {}
        writers: dict[int, _Way] = {}
        wanted: dict[socket.socket, int] = {}
        wait_s = _TURN_S
        for way in (way for pair in self._ways for way in pair):
            if way.takes(weather):
                readers[way.source.fileno()] = way
                wanted[way.source] = wanted.get(way.source, 0) | select.POLLIN
            due_at = way.due_at(weather)
            if due_at <= now:
                writers[way.sink.fileno()] = way
                wanted[way.sink] = wanted.get(way.sink, 0) | select.POLLOUT
            wait_s = min(wait_s, max(0.001, due_at - now))
        for end, events in wanted.items():
            poller.register(end, events)
        lost: set[_Way] = set()
        for fd, event in poller.poll(wait_s * 1000):
            if fd == self._listener.fileno():
                with suppress(OSError):
                    self._waiting.append(self._listener.accept()[0])
            if (reader := readers.get(fd)) and event & ~select.POLLOUT and not self._read(reader, weather):
                lost.add(reader)
            if (writer := writers.get(fd)) and event & ~select.POLLIN and not self._write(writer):
                lost.add(writer)
        for pair in [pair for pair in self._ways if lost.intersection(pair)]:
            self._ways.remove(pair)
            _reset(pair[0].source)
            _reset(pair[0].sink)

    def _connect(self, accepted: socket.socket) -> None:
        try:
            listener = _connected(self._leads_to)
        except OSError:
            _reset(accepted)  # as its host does where nobody listens
            return
        for end in (accepted, listener):
            end.setblocking(False)
        self._ways.append((_Way(THERE, accepted, listener), _Way(BACK, listener, accepted)))

    def _read(self, way: _Way, weather: Weather) -> bool:
        """Take what its source says; return whether the connection goes on."""
        try:
            chunk = way.source.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if (at := self._break_at) is not None and len(chunk) > 1:
            self._break_at = None
            self.broken += 1
            with suppress(OSError):
                way.sink.send(chunk[: 1 + at % (len(chunk) - 1)])
            return False
        way.ended = not chunk
        way.chunks.append((time.monotonic() + weather.delay_s, chunk))
        way.size += len(chunk)
        return True

    def _write(self, way: _Way) -> bool:
        """Pass on what is due; return whether the connection goes on."""
        bytes_per_s = self.weather.bytes_per_s
        due_at, chunk = way.chunks.popleft()
        if not chunk:
            return False
        most = _CHUNK_BYTES if bytes_per_s == inf else max(1, int(bytes_per_s * _TURN_S))
        try:
            sent = way.sink.send(chunk[:most])
        except BlockingIOError:
            sent = 0
        except OSError:
            return False
        way.size -= sent
        way.carried += sent
        way.free_at = max(way.free_at, time.monotonic()) + sent / bytes_per_s
        if sent < len(chunk):
            way.chunks.appendleft((due_at, chunk[sent:]))
        return True


def _connected(where: int | str) -> socket.socket:
    if isinstance(where, int):
        return socket.create_connection(("127.0.0.1", where), timeout=_CONNECT_S)
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(_CONNECT_S)
    try:
        end.connect(where)
    except OSError:
        end.close()
        raise
    return end


def _reset(end: socket.socket) -> None:
    """Close it with a RST: what was not read is lost."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    end.close()
