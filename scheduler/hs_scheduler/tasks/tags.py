"""Tags on task lines: found, parsed, merged, resolved into fields, and written back.

    echo a  # HYPERSHELL: n:1 kind:"two words" memory:4G
    ╰args─╯               ╰──────────── tags ──────────╯

A value is null, true, false, an int, a float, or text; text that holds blanks, or that looks like something else, stands in
quotes as a JSON string. Reserved keys are no tags of the task: they set its fields.
"""

import json
import re
from collections.abc import Iterable
from typing import NamedTuple

from hs_common import limits
from hs_common.tasks import Detail, Tag

Tags = tuple[tuple[str, Tag], ...]

RESERVED = ("group", "priority", "cores", "memory", "timeout")

TAGS_MAX = 100
"""Of one task. One more is a bad tag."""

TAG_CHARS_MAX = 1_024
"""Of one tag, key and value. A longer one is a bad tag."""

ORDER_MAX = 2**31 - 1
"""Of group and priority; both may be as much below zero."""

TIMEOUT_MAX_S = 1e9
TIMEOUT_MIN_S = 0.001

_INT_MAX = 2**63 - 1

_MARK = rb"#[ \t]*HYPERSHELL(?::|(?=[ \t])|$)"
_WHOLE_LINE = re.compile(rb"[ \t]*" + _MARK)
_AFTER_BLANK = re.compile(rb"[ \t]" + _MARK)
# A plain stretch, an escaped character, a quoted string. Unrolled, so that a megabyte behind an open quote is looked at once;
# not possessive: before Python 3.11.5 such a pattern matches what it should not.
_PIECE = re.compile(rb"""(?s:[^'"\\]+|\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*")""")
_TAG = r'([^\s:]+)(?::("(?:[^"\\]|\\.)*"(?!\S)|\S*))?'
_KEY = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_INT = r"[+-]?[0-9]+"
_FLOAT = r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?"
_SIZE = r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)(?:i?B)?"
_DURATION = r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s?)?"


class TagError(ValueError):
    """A tag without sense. Its text says which tag and why."""


class Fields(NamedTuple):
    """What tags make of a task."""

    detail: Detail | None
    group: int
    priority: int


PLAIN = Fields(None, 0, 0)


def split_line(line: bytes) -> tuple[bytes, bytes | None]:
    """Return the args of a line and the text of its tags, None where it has none.

    The marker counts when a blank is before it and it is outside quotes; everything behind it is tags.
    """
    if match := _WHOLE_LINE.match(line):
        return b"", line[match.end() :]
    marks = iter(_AFTER_BLANK.finditer(line))
    mark = next(marks, None)
    position = 0
    while mark is not None and (piece := _PIECE.match(line, position)) is not None:
        start, position = piece.span()
        while mark is not None and mark.start() < start:
            mark = next(marks, None)
        # A mark holds neither quote nor backslash, so it lies in one piece; inside quotes, or behind a backslash, it is text.
        if mark is not None and mark.start() < position and line[start : start + 1] not in (b"'", b'"', b"\\"):
            return line[:start] + line[start : mark.start()].rstrip(), line[mark.end() :]
    return line, None


def parse_tags(text: bytes) -> Tags:
    """Return the tags in the text behind a marker; reserved ones have their value in their field's unit.

    Raises:
        TagError: Which tag, and what is wrong with it.

    """
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        raise TagError(f"{text.decode(errors='backslashreplace').strip()}: is not UTF-8") from None
    found: dict[str, Tag] = {}
    position = 0
    for match in re.finditer(_TAG, decoded):
        if decoded[position : match.start()].strip():
            break
        key, value = match.groups()
        _check_tag(match.group(), key)
        found[key] = _reserved(key, value) if key in RESERVED else coerce(value or "", match.group())
        position = match.end()
    if decoded[position:].strip():
        raise TagError(f"{decoded[position:].split()[0]}: has no key before its colon")
    if len(found) > TAGS_MAX:
        raise TagError(f"{len(found)} tags, at most {TAGS_MAX} are allowed")
    return tuple(found.items())


def parse_tag(text: str) -> tuple[str, Tag]:
    """Return the one tag in an argument of a command, where blanks need no quotes.

    Raises:
        TagError: What is wrong with it.

    """
    key, colon, value = text.partition(":")
    _check_tag(text, key)
    return (key, _reserved(key, value if colon else None)) if key in RESERVED else (key, coerce(value, text))


def parse_field(key: str, text: str) -> Tag:
    """Return the value of a reserved key, in the unit of its field.

    Raises:
        ValueError: What is wrong with it; its text goes on after the value.

    """
    if key == "memory":
        return parse_size(text)
    if key == "timeout":
        return parse_duration(text)
    low, high = (1, limits.SLOTS_MAX) if key == "cores" else (-ORDER_MAX, ORDER_MAX)
    if not re.fullmatch(_INT, text) or not low <= int(text[:20]) <= high:
        raise ValueError(f"is not an integer in {low}..{high}")
    return int(text)


def merge(outer: Tags, own: Tags) -> Tags:
    """Return the tags of a task: its own win.

    Raises:
        TagError: They are too many together.

    """
    merged = tuple((dict(outer) | dict(own)).items()) if outer else own
    if len(merged) > TAGS_MAX:
        raise TagError(f"{len(merged)} tags with those that hold for all lines, at most {TAGS_MAX} are allowed")
    return merged


def resolve(tags: Tags) -> Fields:
    """Return the fields that tags set, reserved ones apart from the others."""
    if not tags:
        return PLAIN
    reserved = {key: value for key, value in tags if key in RESERVED}
    free = tuple(item for item in tags if item[0] not in RESERVED)
    timeout, cores, memory = (reserved.get(key, 0) for key in ("timeout", "cores", "memory"))
    detail = Detail(float(timeout or 0), int(cores or 0), int(memory or 0), free, b"")
    return Fields(
        detail if detail != Detail(0.0, 0, 0, (), b"") else None,
        int(reserved.get("group") or 0),
        int(reserved.get("priority") or 0),
    )


def format_line(args: bytes, detail: Detail | None, group: int, priority: int) -> bytes:
    """Return the line, without newline, that makes such a task again."""
    if detail is None and not group and not priority:
        return args
    words = [_format_tag(key, value) for key, value in (detail.tags if detail else ())]
    fields: Iterable[tuple[str, Tag]] = [("group", group), ("priority", priority)]
    if detail:
        fields = [*fields, ("cores", detail.cores), ("memory", detail.memory), ("timeout", detail.timeout)]
    words += [f"{key}:{value}" for key, value in fields if value]
    return args + f"  # HYPERSHELL: {' '.join(words)}".encode() if words else args


def coerce(value: str, tag: str = "") -> Tag:
    """Return null, a boolean, an int or a float where the text is one, else the text; a JSON string is text as it stands.

    Raises:
        TagError: A quote that is never closed, or text that has no place in a database.

    """
    if value in _WORDS:
        return _WORDS[value]
    if value.startswith('"'):
        try:
            text = str(json.loads(value))
        except ValueError:
            raise TagError(f"{tag or value}: its quotes are no JSON string") from None
        return _sound(text, tag or value)
    if re.fullmatch(_INT, value) and abs(int(value[:20])) <= _INT_MAX and len(value) <= 20:  # noqa: PLR2004 - its digits
        return int(value)
    # What overflows to infinity stays text: neither JSON nor a shell could write it back.
    if re.fullmatch(_FLOAT, value) and abs(float(value)) < float("inf"):
        return float(value)
    return _sound(value, tag or value)


def is_tag(key: str, value: object) -> bool:
    """Whether a task may have such a tag: what a peer sent may be anything."""
    match value:
        case None | bool():
            sound = True
        case int():
            sound = abs(value) <= _INT_MAX
        case float():
            sound = abs(value) < float("inf")
        case str():
            sound = len(value) <= TAG_CHARS_MAX and "\0" not in value
        case _:
            sound = False
    return sound and len(key) <= TAG_CHARS_MAX and bool(re.fullmatch(_KEY, key)) and key not in RESERVED


def parse_size(text: str) -> int:
    """Return the bytes in `512M`, `1.5GB`, `4GiB` or a plain number of bytes; the units are powers of 1024.

    Raises:
        ValueError: Not a size, or out of bounds.

    """
    match = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError("is not a size such as 512M or 1.5G")
    number, unit = match.groups()
    factor = 1024 ** " KMGTP".index(unit.upper() or " ")
    size = int(number) * factor if number.isdigit() else int(float(number) * factor)
    if not 1 <= size <= limits.ID_MAX:
        raise ValueError(f"is not in 1..{limits.ID_MAX} bytes")
    return size


def parse_duration(text: str) -> float:
    """Return the seconds in `90`, `1.5s`, `10m` or `1d2h30m`.

    Raises:
        ValueError: Not a duration, or out of bounds.

    """
    match = re.fullmatch(_DURATION, text.strip())
    if match is None or not text.strip():
        raise ValueError("is not a duration such as 90, 10m or 1h30m")
    days, hours, minutes, seconds = match.groups("0")
    duration = int(days) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + float(seconds)
    if not TIMEOUT_MIN_S <= duration <= TIMEOUT_MAX_S:
        raise ValueError(f"is not in {TIMEOUT_MIN_S}..{TIMEOUT_MAX_S:.0f} seconds")
    return duration


_WORDS: dict[str, Tag] = {"null": None, "true": True, "false": False}


def _check_tag(tag: str, key: str) -> None:
    if not re.fullmatch(_KEY, key):
        raise TagError(f"{tag or repr(tag)}: a key has letters, digits, '_', '-' and '.' only")
    if len(tag) > TAG_CHARS_MAX:
        raise TagError(f"{tag[:40]}...: a tag has at most {TAG_CHARS_MAX} characters")


def _sound(text: str, tag: str) -> str:
    """Return the text, if it can be written down: JSON may hold half of a character, an argument bytes that are not UTF-8."""
    if "\0" in text:
        raise TagError(f"{tag}: has a NUL, which no database can search for")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = tag.encode(errors="backslashreplace").decode()
            raise TagError(f"{shown}: is not UTF-8") from None
    return text


def _reserved(key: str, value: str | None) -> Tag:
    text = value or ""
    try:
        return parse_field(key, text)
    except ValueError as exc:
        raise TagError(f"{key}:{text}: {exc}") from None


def _format_tag(key: str, value: Tag) -> str:
    if isinstance(value, str):
        plain = value == "" or (not re.search(r'[\s\x00-\x1f"]', value) and coerce(value) == value)
        return f"{key}:{value}" if plain and value else key if plain else f"{key}:{json.dumps(value)}"
    return f"{key}:{json.dumps(value)}"
