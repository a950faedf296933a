"""Templates: how the args of a task become its command line. Compiled once; expanding is one call per task.

    {}  the args as they are      {q}  the args quoted for the shell as one word

Blanks inside the braces are ignored; `${...}` is never ours; `{{X}}` is a literal `{X}` where `{X}` would be ours; every other
brace stays as it is.
"""

import re
from collections.abc import Callable

from hs_common import limits

Expand = Callable[[bytes], bytes]
"""args -> command."""

COMMAND_BYTES_MAX = 2 * limits.MIB
"""Of an expanded command line; a longer one is REJECTED."""

_TEMPLATES_MAX = 64
"""Compiled ones that are kept: beyond the worker's own they come with tasks."""

_OURS = rb"[ \t]*(q?)[ \t]*"
_GROUP = re.compile(
    rb"\$\{(?:[^{}]*|\{[^{}]*\})\}"  # the shell's own: kept
    rb"|\{(\{" + _OURS + rb"\})\}"  # {{}}: the inner one, literally
    rb"|\{" + _OURS + rb"\}"
)
_SAFE = re.compile(rb"[A-Za-z0-9@%+=:,./_-]+")


class Templates:
    """The worker's own template, and those that tasks bring along.

    Args:
        own: For tasks that bring none.

    """

    def __init__(self, own: bytes) -> None:
        self.own = compile_template(own)
        self._compiled: dict[bytes, Expand] = {}

    def expand(self, template: bytes, args: bytes) -> bytes:
        """Return the command line of a task that brings this template; b"": our own."""
        if not template:
            return self.own(args)
        if template not in self._compiled:
            if len(self._compiled) >= _TEMPLATES_MAX:
                self._compiled.clear()
            self._compiled[template] = compile_template(template)
        return self._compiled[template](args)


def never_runs(command: bytes) -> str:
    """Return why a command line can never run, or ""."""
    if b"\0" in command:
        return "NUL"
    if len(command) > COMMAND_BYTES_MAX:
        return "too long"
    return ""


def compile_template(template: bytes) -> Expand:
    """Return the function that expands this template."""
    parts: list[bytes | Expand] = []
    end = 0
    for match in _GROUP.finditer(template):
        literal, _, name = match.groups()
        parts.append(template[end : match.start()])
        if literal is not None:
            parts.append(literal)
        elif name is None:
            parts.append(match.group())
        else:
            parts.append(quote if name else _whole)
        end = match.end()
    parts.append(template[end:])
    return _join(parts)


def quote(args: bytes) -> bytes:
    """Return args as one word for a shell."""
    if _SAFE.fullmatch(args):
        return args
    return b"'" + args.replace(b"'", b"'\"'\"'") + b"'"


def _whole(args: bytes) -> bytes:
    return args


def _join(parts: list[bytes | Expand]) -> Expand:
    merged: list[bytes | Expand] = []
    for part in parts:
        if isinstance(part, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += part
        elif part != b"" or not merged:
            merged.append(part)
    if merged in ([b"", _whole], [_whole]):
        return _whole  # the default template
    if all(isinstance(part, bytes) for part in merged):
        constant = b"".join(part for part in merged if isinstance(part, bytes))
        return lambda _: constant
    return lambda args: b"".join([part if isinstance(part, bytes) else part(args) for part in merged])
