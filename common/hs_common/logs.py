"""The log: one event with keys per line, to stderr or a file. Nothing is formatted, or even imported, below the level.

A log line must never harm what it tells about: a full or closed stderr, or a host without free descriptors, loses lines (the next
one says how many), and an event that comes more than `_LINES_PER_S_MAX` times a second is counted instead (a flood of strangers
must not become a flood of lines), unless it is an error, or was asked for by level debug.

SIGUSR2 reopens a log file; `log_file` says what else happens to it.
"""

import os
import select
import signal
from typing import TYPE_CHECKING, Any

from hs_common import limits
from hs_common.clock import monotonic
from hs_common.errors import RefusedError
from hs_common.values import dataclass, field

if TYPE_CHECKING:
    from hs_common.config import Settings
    from hs_common.log_file import LogFile

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

    @property
    def tells_all(self) -> bool:
        """Whether `debug` tells anything: for who would have to gather it first."""
        return _output.level <= 10  # noqa: PLR2004 - as below

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
    file_bytes_max: int = 10 * limits.MIB,
    files_max: int = 5,
    instance: str = "",
) -> None:
    """Choose what is logged, how (console or json) and where to: a descriptor, or a file that is appended to.

    Args:
        level: The lowest that is logged.
        format: console or json.
        stream: A descriptor; not used with a file.
        file: Path, or "".
        file_bytes_max: From there on a file is set aside.
        files_max: So many that were set aside are kept.
        instance: What tells this process from others of its kind, or "".

    Raises:
        RefusedError: No such level or format, or the file cannot be opened.

    """
    if level not in LEVELS:
        raise RefusedError(f"logging.level {level!r} is none of {', '.join(LEVELS)}")
    if format not in ("console", "json"):
        raise RefusedError(f"logging.format {format!r} is neither console nor json")
    if _output.file is not None:
        _output.file.close()
        _output.file = None
    if file:
        from hs_common.log_file import LogFile  # noqa: PLC0415 - most log to stderr

        _output.file = LogFile(file, file_bytes_max, files_max)
        stream = _output.file.fd
    _output.level = LEVELS[level]
    _output.json = format == "json"
    _output.fd = stream
    _output.instance = instance
    _output.processors = []
    _catch_reopen()


def configure_by(settings: "Settings", *, level: str | None = None, stream: int = 2) -> None:
    """Configure as the settings say, and log what they are unsure of, once for a process.

    Args:
        settings: Those in force.
        level: What an option said, or None.
        stream: Where to without a file.

    Raises:
        RefusedError: The file cannot be opened, or a setting makes no sense.

    """
    configure(
        level=level or settings.get("logging.level"),
        format=settings.get("logging.format"),
        file=settings.get("logging.file"),
        file_bytes_max=settings.get("logging.file_size"),
        files_max=settings.get("logging.file_count"),
        stream=stream,
    )
    for warning in settings.warnings:
        if warning not in _output.warned:
            _output.warned.add(warning)
            get_logger("settings").warning("setting.unknown", what=warning)


def _catch_reopen() -> None:
    """Let SIGUSR2 reopen the file. Also without one, so that it ends nobody; hs-cluster starts us with it blocked."""
    if signal.getsignal(signal.SIGUSR2) != signal.SIG_IGN:
        signal.signal(signal.SIGUSR2, lambda _number, _frame: reopen())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def reopen() -> None:
    """Open the file anew. Also from a signal handler: one system call replaces the descriptor, so it cannot cut a line in two."""
    if _output.file is not None:
        _output.file.reopen()


@dataclass(slots=True)
class _Output:
    """Where lines go; one for the process."""

    level: int = LEVELS["warning"]
    json: bool = False
    fd: int = 2
    file: "LogFile | None" = None
    """Whose descriptor it is, if it is a file's."""
    warned: set[str] = field(default_factory=set)
    """About settings; as many as there are names in files and variables."""
    instance: str = ""
    dropped: int = 0
    """Lines that the stream did not take, or that could not be made."""
    processors: list[Any] = field(default_factory=list)
    """structlog's, once a line was needed."""
    seen: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Event -> start of its second, lines in it."""

    def emit(self, level: str, event: str, keys: dict[str, object]) -> None:
        # A person must act on each error, and who asks for debug asks for each line.
        suppressed = self._suppressed(event) if level in ("info", "warning") else 0
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
        try:
            processors = self.processors or self._load()
        except (OSError, ImportError):
            # Nothing can be opened at this moment, so nothing imported. The next line tries again.
            self.dropped += 1
            return
        for process in processors:
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
        if self.file is not None:
            return self.file.write(line)
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
