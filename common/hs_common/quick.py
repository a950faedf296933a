"""Command lines that need no parser: a click that is loaded only to find out that all is well costs more than most commands do.

    words ──read──▶ parameters, as click would give them
              └───▶ None: a mistake, an abbreviation, --help. Click reads it all again, and explains itself

What is accepted here means the same there; tests compare them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Declared(NamedTuple):
    """What may stand on a command line, besides what only click understands."""

    options: Mapping[str, tuple[str, Callable[[str], Any]]]
    """Its name as it is typed, as `-N` -> the parameter, and what makes its value of a text (ValueError: click's to explain)."""
    flags: Mapping[str, tuple[str, Any]]
    """Likewise -> the parameter, and the value that stands for it."""
    several: frozenset[str] = frozenset()
    """Parameters that may be given more than once: their values are a tuple."""
    single: frozenset[str] = frozenset()
    """Parameters of several options that exclude each other: a second one is click's to explain."""


def read(words: Sequence[str], declared: Declared) -> tuple[dict[str, Any], list[str]] | None:
    """Return the parameters that are given, and the words that belong to no option; None: click is to read this."""
    found: dict[str, Any] = {}
    rest: list[str] = []
    ahead = iter(words)
    for word in ahead:
        if word == "--":
            rest += ahead
        elif len(word) < 2 or word[0] != "-":  # noqa: PLR2004 - "-" is stdin
            rest.append(word)
        elif word in declared.flags:
            name, value = declared.flags[word]
            if name in found and name in declared.single:
                return None
            found[name] = value
        else:
            option, text = _split(word)
            if option not in declared.options:
                return None
            name, kind = declared.options[option]
            if name in found and name in declared.single:
                return None
            try:
                value = kind(next(ahead) if text is None else text)
            except (ValueError, StopIteration):
                return None
            found[name] = (*found.get(name, ()), value) if name in declared.several else value
    return found, rest


def _split(word: str) -> tuple[str, str | None]:
    """Return the option of a word, and its value where that stands in the same one: `--name=value`, `-Nvalue`."""
    if word.startswith("--"):
        option, equals, text = word.partition("=")
        return option, text if equals else None
    return word[:2], word[2:] or None
