"""What the commands say of themselves, as values.

A page is a command of `hs`, however deep; what is also a program of its own (`hs-cluster`) goes by that name. Nothing here knows
a single command: what a group lists has a page.
"""

from collections.abc import Iterator
from inspect import cleandoc

import click

from hs_common.config import KEYS
from hs_common.values import dataclass
from hs_deploy.cli import LazyGroup

PROGRAMS = ("hs-cluster", "hs-broker", "hs-scheduler", "hs-worker")
"""Commands of `hs` that are programs as well."""

TELLS_SETTINGS = "hs-cluster"
"""The command whose options are told their settings: that one whose last part is the name of the option. The daemons' own help
tells them."""

OTHER_SETTINGS = {"database": "database.file"}
"""Name of a parameter -> its setting, where they are called differently."""

_OF_ONE_NAME = ("worker.", "scheduler.", "broker.", "autoscale.", "launcher")
_BY_LAST_PART = {key.rpartition(".")[2]: key for key in KEYS if key.startswith(_OF_ONE_NAME)} | OTHER_SETTINGS
_AS_IT_STANDS = "\b\n"  # click's mark
_SUMMARY_CHARS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Of a text."""

    text: str
    as_it_stands: bool
    """Its lines are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """Of a command."""

    names: str
    """As `-N, --num-tasks NUM`."""
    help: str
    setting: str
    """That holds where it is not typed; "": none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All about a command."""

    words: tuple[str, ...]
    """Where it is: ("hs", "task", "search")."""
    typed: str
    """How it is called: `hs task search`, `hs-cluster`."""
    arguments: str
    """What follows: `[OPTIONS] [FIELD]...`."""
    summary: str
    """A sentence, without its full stop."""
    text: tuple[Paragraph, ...]
    options: tuple[Option, ...]
    commands: tuple["Page", ...]
    """Of a group."""
    examples: tuple[Paragraph, ...]

    @property
    def name(self) -> str:
        """Of the page: hs-task-search."""
        return "-".join(self.words)


def describe(command: click.Command, words: tuple[str, ...] = ("hs",), below: click.Group | None = None) -> Page:
    """Return the page of a command, those of its own commands in it.

    Args:
        command: What is described.
        words: Where it is.
        below: What else is there, if it is no group.

    """
    name = "-".join(words)
    typed = name if name in PROGRAMS else " ".join(words)
    context = click.Context(command, info_name=typed, **command.context_settings)
    return Page(
        words=words,
        typed=typed,
        arguments=" ".join(command.collect_usage_pieces(context)).rstrip(),
        summary=command.get_short_help_str(_SUMMARY_CHARS_MAX).rstrip("."),
        text=_paragraphs(command.help),
        options=tuple(
            Option(names=record[0], help=" ".join(record[1].split()), setting=_setting(name, option))
            for option in command.get_params(context)
            if isinstance(option, click.Option) and (record := option.get_help_record(context))
        ),
        commands=tuple(_described(command if isinstance(command, click.Group) else below, words)),
        examples=_paragraphs(command.epilog),
    )


def flat(page: Page) -> Iterator[Page]:
    """Yield a page and all below it."""
    yield page
    for one in page.commands:
        yield from flat(one)


def _described(group: click.Group | None, words: tuple[str, ...]) -> Iterator[Page]:
    """Yield the pages of what is in a group."""
    if group is None:
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield describe(command, (*words, name), group.below(name) if isinstance(group, LazyGroup) else None)


def _setting(page: str, parameter: click.Parameter) -> str:
    return _BY_LAST_PART.get(parameter.name or "", "") if page == TELLS_SETTINGS else ""


def _paragraphs(text: str | None) -> tuple[Paragraph, ...]:
    parts = cleandoc((text or "").partition("\f")[0]).split("\n\n")
    return tuple(
        Paragraph(part.removeprefix(_AS_IT_STANDS), as_it_stands=True)
        if part.startswith(_AS_IT_STANDS)
        else Paragraph(" ".join(part.split()), as_it_stands=False)
        for part in parts
        if part.strip()
    )
