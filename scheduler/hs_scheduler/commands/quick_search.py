"""The command line of `hs task search` without click: scripts ask for a number of tasks over and over, which takes less time."""

from collections.abc import Sequence
from typing import Any

from hs_common.quick import Declared, read

STYLES = ("normal", "plain", "table", "csv", "json")


def _style(text: str) -> str:
    return STYLES[STYLES.index(text)]


def _limit(text: str) -> int:
    limit = int(text)
    if limit < 1:
        raise ValueError(text)
    return limit


DECLARED = Declared(
    options={
        "-w": ("where", str),
        "--where": ("where", str),
        "-t": ("with_tag", str),
        "--with-tag": ("with_tag", str),
        "-g": ("group", int),
        "--group": ("group", int),
        "-s": ("order_by", str),
        "--order-by": ("order_by", str),
        "-l": ("limit", _limit),
        "--limit": ("limit", _limit),
        "-f": ("style", _style),
        "--format": ("style", _style),
        "--database": ("database", str),
    },
    flags={
        "-F": ("ended", "failed"),
        "--failed": ("ended", "failed"),
        "-S": ("ended", "succeeded"),
        "--succeeded": ("ended", "succeeded"),
        "-C": ("ended", "completed"),
        "--completed": ("ended", "completed"),
        "-R": ("ended", "remaining"),
        "--remaining": ("ended", "remaining"),
        "--desc": ("desc", True),
        "-c": ("count", True),
        "--count": ("count", True),
        "--json": ("style", "json"),
        "--csv": ("style", "csv"),
        "--triage": ("triage", True),
    },
    several=frozenset({"where", "with_tag"}),
    single=frozenset({"ended", "style"}),
)
_ABSENT: dict[str, Any] = {
    **{name: None for name, _ in DECLARED.options.values()},
    **dict.fromkeys(DECLARED.several, ()),
    "ended": None,
    **dict.fromkeys(("desc", "count", "triage"), False),
}


def read_quickly(words: Sequence[str]) -> dict[str, Any] | None:
    """Return what was typed, as `search` gets it from click; None: click is to read these words."""
    found = read(words, DECLARED)
    return None if found is None else _ABSENT | found[0] | {"fields": tuple(found[1])}
