"""Text of others, shown to people: a command line must not be able to steer the terminal of who looks at it."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(text: bytes | str) -> str:
    r"""Return the text with control characters, and what is no UTF-8, as `\xHH`."""
    if isinstance(text, bytes):
        text = text.decode(errors="backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
