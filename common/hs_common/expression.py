"""Python expressions of templates: `x` is the args, the answer what Python prints.

Used in a process of a slot, in `hs submit` and by `--dry-run`: never in a daemon, for an expression may run for ever. So it
imports nothing of ours, and what few need only when it is needed.
"""

import re
from types import CodeType

Value = None | bool | int | float | str

_WORDS: dict[str, Value] = {"null": None, "None": None, "true": True, "True": True, "false": False, "False": False}
_INT = re.compile(r"[+-]?[0-9]{1,4000}")
"""More digits Python does not convert."""
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?")
_REASON_CHARS_MAX = 160


def value_of(args: bytes) -> Value:
    """Return args as an int, a float, a bool or None where they are one, else as text (what is not UTF-8 in surrogates)."""
    text = args.decode(errors="surrogateescape")
    word = text.strip()
    if word in _WORDS:
        return _WORDS[word]
    if _INT.fullmatch(word):
        return int(word)
    # What overflows to infinity stays text.
    if _FLOAT.fullmatch(word) and abs(float(word)) < float("inf"):
        return float(word)
    return text


def compiled(expression: bytes) -> CodeType:
    """Return the code of an expression.

    Raises:
        ValueError: It is none; says why.

    """
    try:
        text = expression.decode(errors="surrogateescape").strip()
        # In parentheses it may stand on several lines.
        return compile(f"({text}\n)" if "\n" in text else text, "<template>", "eval", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as exc:
        raise ValueError(getattr(exc, "msg", "") or str(exc) or type(exc).__name__) from exc


def evaluate(expression: bytes, args: bytes) -> bytes:
    """Return what Python prints of the value of an expression.

    Raises:
        ValueError: It has none; says why.

    """
    import datetime as dt  # noqa: PLC0415
    import math  # noqa: PLC0415
    import os  # noqa: PLC0415

    code = compiled(expression)
    names = {"x": value_of(args), "os": os, "path": os.path, "math": math, "dt": dt}
    try:
        return str(eval(code, names)).encode(errors="surrogateescape")  # noqa: S307 - the user's own
    except (Exception, SystemExit) as exc:
        told = " ".join(f"{type(exc).__name__}: {exc}".split())[:_REASON_CHARS_MAX]
        raise ValueError(told) from exc
