"""The log: one event with keys per line, to stderr or a file. Nothing is formatted, or even imported, below the level.

A log line must never harm what it tells about: a full or closed stderr loses lines (the next one says how many), and an event
that comes more than `_LINES_PER_S_MAX` times a second is counted instead (a flood of strangers must not become a flood of lines).
"""

import os
import select
from dataclasses import dataclass, field
from typing import Any

from hs_common.clock import monotonic
from hs_common.errors import RefusedError

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_LINES_PER_S_MAX = 20
"""Of one event."""
_EVENTS_MAX = 1000
"""Different events that are counted; events are constants, so this is never reached."""
_WRITE_BYTES = 4096
"""A pipe that polls as writable takes so many at once (PIPE_BUF)."""


class Logger:
    """`log.warning("worker.lost", worker=worker, bundles=3)`. Values of type bytes are shown as hexadecimal."""

    __slots__ = ("_bound",)

    def __init__(self, bound: dict[str, object]) -> None:
        self._bound = bound

    def bind(self, **keys: object) -> "Logger":
        """Return a logger that adds these keys to every line."""
        return Logger({**self._bound, **keys})

    def debug(self, event: str, **keys: object) -> None:
        """Tell about one message."""
        if _output.level <= 10:  # noqa: PLR2004 - LEVELS["debug"], looked up for each message otherwise
            _output.emit("debug", event, {**self._bound, **keys})

    def info(self, event: str, **keys: object) -> None:
        """Tell what an operator would tell a colleague."""
        if _output.level <= 20:  # noqa: PLR2004
            _output.emit("info", event, {**self._bound, **keys})

    def warning(self, event: str, **keys: object) -> None:
        """Tell that we coped."""
        if _output.level <= 30:  # noqa: PLR2004
            _output.emit("warning", event, {**self._bound, **keys})

    def error(self, event: str, **keys: object) -> None:
        """Tell what a person must act on."""
        _output.emit("error", event, {**self._bound, **keys})

    def exception(self, event: str, **keys: object) -> None:
        """Tell of the exception that is being handled, with its traceback. For the top of a daemon, once."""
        _output.emit("error", event, {**self._bound, **keys, "exc_info": True})


def get_logger(daemon: str) -> Logger:
    """Return the logger of a daemon."""
    return Logger({"daemon": daemon})


def configure(
    *,
    level: str = "warning",
    format: str = "console",  # noqa: A002 - what the option is called
    stream: int = 2,
    file: str = "",
    instance: str = "",
) -> None:
    """Choose what is logged, how (console or json) and where to: a descriptor, or a file that is appended to.

    Raises:
        RefusedError: No such level or format, or the file cannot be opened.

    """
    if level not in LEVELS:
        raise RefusedError(f"logging.level {level!r} is none of {', '.join(LEVELS)}")
    if format not in ("console", "json"):
        raise RefusedError(f"logging.format {format!r} is neither console nor json")
    if file:
        try:
            stream = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise RefusedError(f"logging.file {file}: {exc.strerror}") from exc
    _output.level = LEVELS[level]
    _output.json = format == "json"
    _output.fd = stream
    _output.instance = instance
    _output.processors = []


@dataclass(slots=True)
class _Output:
    """Where lines go; one for the process."""

    level: int = LEVELS["warning"]
    json: bool = False
    fd: int = 2
    instance: str = ""
    dropped: int = 0
    """Lines that the stream did not take."""
    processors: list[Any] = field(default_factory=list)
    """structlog's, once a line was needed."""
    seen: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Event -> start of its second, lines in it."""

    def emit(self, level: str, event: str, keys: dict[str, object]) -> None:
        suppressed = self._suppressed(event) if level != "error" else 0
        if suppressed < 0:
            return
        line: Any = {key: value.hex() if isinstance(value, bytes) else value for key, value in keys.items()}
        line |= {"event": event, "level": level}
        if self.instance:
            line["instance"] = self.instance
        if suppressed:
            line["suppressed"] = suppressed
        if self.dropped:
            line["dropped"] = self.dropped
        for process in self.processors or self._load():
            line = process(None, level, line)
        if self._write(line.encode("utf-8", "backslashreplace") + b"\n"):
            self.dropped = 0
        else:
            self.dropped += 1

    def _suppressed(self, event: str) -> int:
        """Return how many lines of this event were held back before this one; -1: this one is, too."""
        now = monotonic()
        since, count = self.seen.get(event, (now, 0))
        if now - since >= 1:
            self.seen[event] = (now, 1)
            return max(0, count - _LINES_PER_S_MAX)
        if len(self.seen) < _EVENTS_MAX:
            self.seen[event] = (since, count + 1)
        return 0 if count < _LINES_PER_S_MAX else -1

    def _load(self) -> list[Any]:
        import structlog  # noqa: PLC0415 - 85 ms, and most daemons never log a line

        shared: list[Any] = [structlog.processors.TimeStamper(fmt="iso", utc=True)]
        if self.json:
            shared += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        else:
            colors = os.isatty(self.fd)
            plain = structlog.dev.plain_traceback
            shared += [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
        self.processors = shared
        return shared

    def _write(self, line: bytes) -> bool:
        """Write without ever waiting; the descriptor may be shared, so its flags are not ours to change."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        try:
            for start in range(0, len(line), _WRITE_BYTES):
                if not poll.poll(0):
                    return False
                os.write(self.fd, line[start : start + _WRITE_BYTES])
        except OSError:
            return False
        return True


_output = _Output()
