"""Failures put together by what they have in common: exit status, host, and the last line on stderr without what varies. No IO.

Error: /data/a17: No space left (12 of 40)  ─┐
Error: /data/b3: No space left (7 of 40)    ─┴─▶ Error: /data/*: No space left (* of *)     2 tasks, one of them as a sample
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from hs_scheduler.tasks.fields import Field

GROUPS_MAX = 10_000
"""Kinds of failures that are told apart; what is beyond them is counted together."""

LINE_CHARS_MAX = 200
"""Of a line that is compared."""

OTHERS = "(other kinds of failures)"

FIELDS = (
    Field("count", "integer", ""),
    Field("exit_status", "integer", ""),
    Field("reason", "text", ""),
    Field("worker_host", "text", ""),
    Field("last_line", "text", ""),
    Field("sample_id", "uuid", ""),
    Field("sample_args", "bytes", ""),
)
"""What is shown of a kind; `last_line` is None where nothing was captured, or where it is not here."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
# A word (no blanks, quotes or brackets) with a digit in it: a number, a time, an address, an id, a temporary file.
_VARYING = re.compile(r"[^\s'\"`()\[\]{}<>,;:=/]*\d[^\s'\"`()\[\]{}<>,;:=/]*")
_REPEATED = re.compile(r"\*(?:[:.,/-]\*)+")


class Failure(NamedTuple):
    """A task that failed."""

    uid: bytes
    args: bytes
    exit_status: int | None
    reason: str | None
    host: str | None
    last_line: bytes | None
    """Of its stderr; None: not known."""


class Triage:
    """Counts failures by kind."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[Any, ...], list[Any]] = {}
        """(exit status, reason, host, line) -> [count, id and args of the first one]."""

    def add(self, failure: Failure) -> None:
        """Count one."""
        line = None if failure.last_line is None else normal(failure.last_line)
        reason = None if failure.reason is None else normal(failure.reason.encode())
        kind: tuple[Any, ...] = (failure.exit_status, reason, failure.host, line)
        if kind not in self._kinds and len(self._kinds) >= GROUPS_MAX:
            kind = (None, OTHERS, None, None)
        known = self._kinds.setdefault(kind, [0, failure.uid, failure.args])
        known[0] += 1

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the values of `FIELDS` for each kind, the most frequent one first."""
        for kind, (count, uid, args) in sorted(self._kinds.items(), key=lambda item: -item[1][0]):
            yield (count, *kind, uid, args)


def normal(line: bytes) -> str:
    """Return a line without what differs from task to task."""
    text = _ESCAPES.sub("", line.decode(errors="surrogateescape"))[: 4 * LINE_CHARS_MAX]
    text = _REPEATED.sub("*", _VARYING.sub("*", " ".join(text.split())))
    # Shown as \xHH only now: its digits are no digits of the line.
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")[:LINE_CHARS_MAX]


def last_line(end: bytes) -> bytes:
    """Return the last line that is not blank of the end of a file, b"" if there is none."""
    lines = end.replace(b"\r", b"\n").split(b"\n")
    return next((line for line in reversed(lines) if line.strip()), b"")
