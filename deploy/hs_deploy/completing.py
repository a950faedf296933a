"""What may stand next in a command line of ours: the commands say it themselves.

The words before are walked as click reads them (`-N8`, `-vN 8`, `--opt=value`, `--`), without its parser: a line that is not
finished is none that it would take. What an option or argument takes is told by its metavar: a new one needs nothing here.
"""

import os
from collections.abc import Callable, Iterator, Sequence

import click

from hs_common.values import dataclass, field
from hs_deploy.cli import HELP, LazyGroup

PROGRAM_PREFIX = "hs-"
"""hs-cluster is `hs cluster`, and so on."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One that may be meant."""

    kind: str
    """word; or file, which shells know themselves: `value` is empty then."""
    value: str = ""
    help: str = ""


FILES = Candidate("file")


@dataclass(slots=True)
class _Walk:
    """Where the words before have led."""

    command: click.Command
    context: click.Context
    group: click.Group | None
    """Of what may come next."""
    arguments: list[str] = field(default_factory=list)
    option: click.Option | None = None
    """That waits for its value."""
    only_arguments: bool = False
    """After --."""

    def step(self, word: str) -> None:
        """Take one word."""
        known = self._option(word) if not self.only_arguments else None
        if self.option is not None and known is None:
            # bash takes --opt=value for three words.
            self.option = self.option if word == "=" else None
        elif word == "--" and not self.only_arguments:
            self.only_arguments = True
        elif known is not None or (word.startswith("-") and word != "-" and not self.only_arguments):
            self.option = self._waiting(word)
            if not isinstance(self.command, click.Group):
                self.group = None
        elif self.group is not None and (command := self.group.get_command(self.context, word)) is not None:
            below = self.group.below(word) if isinstance(self.group, LazyGroup) else None
            self.group = command if isinstance(command, click.Group) else below
            self.command = command
            self.context = click.Context(command, parent=self.context, info_name=word, resilient_parsing=True)
        else:
            self.arguments.append(word)
            self.group = None

    def options(self) -> Iterator[tuple[str, click.Option]]:
        """Yield each name of an option with it."""
        for parameter in self.command.get_params(self.context):
            if isinstance(parameter, click.Option) and not parameter.hidden:
                for name in (*parameter.opts, *parameter.secondary_opts):
                    yield name, parameter

    def argument(self) -> click.Parameter | None:
        """Return the argument that comes next."""
        takers = [parameter for parameter in self.command.params if isinstance(parameter, click.Argument)]
        if len(self.arguments) < len(takers):
            return takers[len(self.arguments)]
        return takers[-1] if takers and takers[-1].nargs == -1 else None

    def _option(self, word: str) -> click.Option | None:
        return dict(self.options()).get(word)

    def _waiting(self, word: str) -> click.Option | None:
        """Return the option whose value is the next word."""
        if word.startswith("--"):
            option = self._option(word)
            return option if option is not None and _takes_value(option) else None
        for position, letter in enumerate(word[1:], 1):
            option = self._option(f"-{letter}")
            if option is not None and _takes_value(option):
                return option if position == len(word) - 1 else None
        return None


def candidates(top: click.Group, words: Sequence[str], incomplete: str) -> list[Candidate]:
    """Return what may stand in the place of an incomplete word.

    Args:
        top: The command `hs`.
        words: Those before it, the program first, by its path or name.
        incomplete: As far as it is typed.

    """
    walk = _Walk(top, click.Context(top, info_name="hs", resilient_parsing=True), top)
    program = os.path.basename(words[0])
    if program.startswith(PROGRAM_PREFIX):
        walk.step(program.removeprefix(PROGRAM_PREFIX))
        walk.group = None  # What else is below hs worker is not below hs-worker.
    for word in words[1:]:
        walk.step(word)
    name, equals, part = incomplete.partition("=")
    # No value begins with two dashes: it was left out, or has no need to be there.
    waiting = None if incomplete.startswith("--") else walk.option
    if waiting is not None:
        return _matching(_values(walk, waiting), incomplete.removeprefix("="))
    if walk.only_arguments or not incomplete.startswith("-"):
        return _matching(_next(walk), incomplete)
    if equals and (option := dict(walk.options()).get(name)) is not None:
        found = _matching(_values(walk, option), part)
        return [Candidate(one.kind, one.value and f"{name}={one.value}", one.help) for one in found]
    return _matching((Candidate("word", name, option.help or "") for name, option in walk.options()), incomplete)


def _takes_value(option: click.Option) -> bool:
    return not (option.is_flag or option.count)


def _matching(found: Iterator[Candidate], incomplete: str) -> list[Candidate]:
    return [one for one in found if one.kind != "word" or one.value.startswith(incomplete)]


def _next(walk: _Walk) -> Iterator[Candidate]:
    """Yield what is neither an option nor its value."""
    if walk.group is not None:
        yield from _commands(walk.group, walk.context)
    if (argument := walk.argument()) is not None:
        yield from _values(walk, argument)


def _commands(group: click.Group, context: click.Context) -> Iterator[Candidate]:
    for name in group.list_commands(context):
        if context.parent is None and name in HELP:
            yield Candidate("word", name, HELP[name])  # which imports none of them
        elif (command := group.get_command(context, name)) is not None and not command.hidden:
            yield Candidate("word", name, command.get_short_help_str(200))


def _values(walk: _Walk, parameter: click.Parameter) -> Iterator[Candidate]:
    """Yield what a parameter takes."""
    metavar = parameter.metavar or (parameter.name or "").upper()
    if isinstance(parameter.type, click.Choice):
        yield from (Candidate("word", str(choice)) for choice in parameter.type.choices)
        return
    known = VALUES
    if walk.context.parent is not None and walk.context.parent.info_name == "config":
        known = VALUES | OF_CONFIG
    for part in metavar.strip("[]. -").split("|"):
        yield from known.get(part.strip("[]. "), _nothing)(walk.arguments)


def _nothing(_before: Sequence[str]) -> Iterator[Candidate]:
    yield from ()


def _files(_before: Sequence[str]) -> Iterator[Candidate]:
    yield FILES


def _fields(_before: Sequence[str]) -> Iterator[Candidate]:
    from hs_scheduler.tasks.fields import FIELDS  # noqa: PLC0415 - few ask

    yield from (Candidate("word", one.name) for one in FIELDS)


def _settings(_before: Sequence[str]) -> Iterator[Candidate]:
    from hs_common.setting import KEYS  # noqa: PLC0415 - few ask

    yield from (Candidate("word", key.name, key.help) for key in KEYS.values())


def _modes(_before: Sequence[str]) -> Iterator[Candidate]:
    from hs_common.setting import KEYS  # noqa: PLC0415 - few ask

    yield from (Candidate("word", mode) for mode in KEYS["autoscale.policy"].choices)


def _setting_values(before: Sequence[str]) -> Iterator[Candidate]:
    from hs_common.setting import KEYS  # noqa: PLC0415 - few ask

    key = KEYS.get(before[0]) if before else None
    if key is None:
        return
    words = ("true", "false") if key.kind == "flag" else key.choices
    yield from (Candidate("word", word) for word in words)
    if key.kind == "path":
        yield FILES


VALUES: dict[str, Callable[[Sequence[str]], Iterator[Candidate]]] = {
    "FILE": _files,
    "PATH": _files,
    "ARGS": _files,
    "FIELD": _fields,
    "COND": _fields,
    "MODE": _modes,
}
"""Metavar -> what it stands for, given the arguments before."""

OF_CONFIG: dict[str, Callable[[Sequence[str]], Iterator[Candidate]]] = {"KEY": _settings, "VALUE": _setting_values}
"""Likewise below `hs config`; elsewhere a KEY is that of a tag."""
