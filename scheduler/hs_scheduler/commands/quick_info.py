"""The command line of `hs task info` without click: scripts ask for one value of one task, and of the next one."""

from collections.abc import Sequence
from typing import Any

from hs_common.quick import Declared, read

DECLARED = Declared(
    options={"-x": ("extract", str), "--extract": ("extract", str), "--database": ("database", str)},
    flags={
        "--json": ("style", "json"),
        "--yaml": ("style", "yaml"),
        "--stdout": ("stream", "outpath"),
        "--stderr": ("stream", "errpath"),
    },
    single=frozenset({"style", "stream"}),
)
_ABSENT = dict.fromkeys(("extract", "style", "stream", "database"))


def read_quickly(words: Sequence[str]) -> dict[str, Any] | None:
    """Return what was typed, as `info` gets it from click; None: click is to read these words."""
    found = read(words, DECLARED)
    if found is None or len(found[1]) != 1:
        return None
    return _ABSENT | found[0] | {"task_id": found[1][0]}
