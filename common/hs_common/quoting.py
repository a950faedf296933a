"""Args inside a shell's command: as one word, or by a variable that holds them; and a command of several lines in one."""

import re

VARIABLE = b"__hs_args"
"""Holds the args in a command of `with_args`."""

_SAFE = re.compile(rb"[A-Za-z0-9@%+=:,./_-]+")
_NEXT = re.compile(rb"""\\.|\$\{[^{}]*\}|\$@|\$\(|[@'"`()]""", re.DOTALL)
_NEXT_IN_SINGLE = re.compile(rb"""\\@|[@']""")
_PLAIN = b"("
"""As in a command substitution: unquoted, up to its closing parenthesis."""

_ESCAPED = ((b"\\", rb"\\"), (b"\n", rb"\n"), (b"\r", rb"\r"), (b"'", rb"\0047"), (b'"', rb"\0042"))
"""For printf %b. No quote is left: who looks for tags does not follow those of a shell into a command in quotes."""


def quote(args: bytes) -> bytes:
    """Return args as one word for a shell."""
    if _SAFE.fullmatch(args):
        return args
    return b"'" + args.replace(b"'", b"'\"'\"'") + b"'"


def on_one_line(command: bytes) -> bytes:
    """Return a command that does the same and can stand on a line of its own, among those of others."""
    if b"\n" not in command and not command.endswith(b"\r"):
        return command
    for character, escaped in _ESCAPED:
        command = command.replace(character, escaped)
    return b"""eval "$(printf %b '""" + command + b"""')\""""


def with_args(command: bytes, args: bytes) -> bytes:
    r"""Return a command in which each `@` is the args as one word; `\@` is an at sign, `$@` and `${...}` are the shell's.

    The args are assigned to a variable and each `@` refers to it, inside quotes too. So whatever is in the args, none of it is
    ever read as shell syntax, not even where the nesting of quotes is misjudged here (here-documents, `case` patterns).
    """
    parts: list[bytes] = []
    quotes: list[bytes] = [b""]
    end = 0
    used = False
    while found := (_NEXT_IN_SINGLE if quotes[-1] == b"'" else _NEXT).search(command, end):
        token = found.group()
        parts.append(command[end : found.start()])
        if token == b"@":
            used = True
            parts.append(_REFERENCE[quotes[-1]])
        elif token == b"\\@":
            parts.append(b"@")
        else:
            parts.append(token)
            _note(token, quotes)
        end = found.end()
    assignment = VARIABLE + b"=" + quote(args) + b"; " if used else b""
    return assignment + b"".join(parts) + command[end:]


_REFERENCE = {
    b"": b'"${%s}"' % VARIABLE,
    _PLAIN: b'"${%s}"' % VARIABLE,
    b"`": b'"${%s}"' % VARIABLE,
    b'"': b"${%s}" % VARIABLE,
    b"'": b"'\"${%s}\"'" % VARIABLE,
}
"""What the args are to the shell, by the quotes around."""


def _note(token: bytes, quotes: list[bytes]) -> None:
    """Take note of what opens or closes quotes; `quotes`: the open ones, the innermost last."""
    inner = quotes[-1]
    if token == b"`" and token in quotes:
        while quotes.pop() != token:  # whatever was opened inside is over too
            pass
    elif (token in (b"'", b'"') and inner == token) or (token == b")" and inner == _PLAIN):
        quotes.pop()
    elif token == b"$(" or (token == b"(" and inner != b'"'):
        quotes.append(_PLAIN)
    elif token in (b'"', b"`") or (token == b"'" and inner != b'"'):
        quotes.append(token)
