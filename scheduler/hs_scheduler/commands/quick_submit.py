"""The command line of `hs submit` without click: a queue is filled by thousands of them, and each would load it."""

from collections.abc import Sequence
from typing import Any

from hs_common.quick import Declared, read
from hs_scheduler.commands.additions import LINES_AT_ONCE

DECLARED = Declared(
    options={
        "-f": ("file", str),
        "--file": ("file", str),
        "-t": ("tags", str),
        "--tag": ("tags", str),
        "--template": ("template", str),
        "-g": ("group", str),
        "--group": ("group", str),
        "--priority": ("priority", str),
        "--cores": ("cores", str),
        "--memory": ("memory", str),
        "-W": ("timeout", str),
        "--task-timeout": ("timeout", str),
        "--database": ("database", str),
        "--connection": ("connection", str),
    },
    flags={"--once": ("once", True), "--initdb": ("initdb", True)},
    several=frozenset({"tags"}),
)
"""All but those of a stream's pace, whose bounds click knows."""

_ABSENT: dict[str, Any] = {
    **{name: None for name, _ in DECLARED.options.values()},
    "tags": (),
    "once": False,
    "initdb": False,
    "bundlesize": LINES_AT_ONCE,
    "bundlewait": 0.0,
}


def read_quickly(words: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """Return the command and the options, as `submit` gets them from click; None: click is to read these words."""
    found = read(words, DECLARED)
    return None if found is None else (tuple(found[1]), _ABSENT | found[0])
