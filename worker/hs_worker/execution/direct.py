"""Which command lines may run without a shell: those where nobody could tell the difference, as GNU make does it.

b"sort -u a.txt"   -> [b"sort", b"-u", b"a.txt"]
b"sort *.txt"      -> None: the shell has to expand it
b"echo hello"      -> None: a builtin
"""

import os
import re
from collections.abc import Callable, Mapping

Split = Callable[[bytes], "list[bytes] | None"]
"""command -> argv, or None where a shell has to do it."""

_SYNTAX = re.compile(rb"""[|&;<>()$`\\"'*?\[\]#~={}!%\n\0]""")
_WORDS = re.compile(rb"[^ \t]+")

# What dash, bash or ksh do themselves. More than needed costs speed; one too few would be seen.
_BUILTINS = frozenset(
    b""". : [ [[ ]] ! { } alias autoload bg bind break builtin caller case cd chdir command compgen complete compopt compound
    continue coproc declare dirs disown do done echo elif else enable enum esac eval exec exit export false fc fg fi float for
    function functions getopts global hash help hist history if in integer jobs kill let local log logout mapfile
    nameref namespace newgrp popd print printf pushd pwd read readarray readonly redirect return select set
    shift shopt source stop suspend test then time times trap true type typeset ulimit umask unalias unset until wait
    whence while""".split()
)
_ORDINARY = frozenset({"sh", "dash", "ash", "bash", "ksh", "mksh", "ksh93"})
"""Shells of which we know that they run such a line as execvp would. Not zsh: it reads ~/.zshenv first, always."""


def split_direct(command: bytes) -> list[bytes] | None:
    """Return the argv of a line without any shell syntax, else None."""
    if _SYNTAX.search(command):
        return None
    argv = _WORDS.findall(command)
    if not argv or argv[0] in _BUILTINS:
        return None
    return argv


def choose_split(shell: str, environment: Mapping[bytes, bytes]) -> Split:
    """Return `split_direct`, or a function that never allows it, for this shell in this environment."""
    name = os.path.basename(shell)
    imports_functions = any(key.startswith(b"BASH_FUNC_") for key in environment)
    # bash reads BASH_ENV before each script; it may define anything. As sh it does not.
    reads_file = name == "bash" and b"BASH_ENV" in environment
    # Without a PATH the shell has one of its own, which is not that of execvp.
    if name not in _ORDINARY or imports_functions or reads_file or b"PATH" not in environment:
        return _never
    return split_direct


def _never(_command: bytes) -> None:
    return None
