"""Pages as man pages: the macros of man(7), nothing beyond them."""

from collections.abc import Iterator
from textwrap import dedent

from hs_common import __version__
from hs_common.setting import KEYS
from hs_deploy.commands.config import shown
from hs_deploy.pages.described import Option, Page, Paragraph, flat

ENVIRONMENT = (
    ("HYPERSHELL_SITE", "The folder where databases, keys and logs are kept. [~/.hypershell]"),
    ("HYPERSHELL_SECTION_KEY", "A setting, as HYPERSHELL_WORKER_NUM_TASKS=8: see hs-config(1)."),
)
FILES = (
    ("~/.hypershell/config.toml", "Settings; also ./.hypershell/config.toml and /etc/hypershell.toml."),
    ("~/.hypershell/runs", "A folder for each run, with its database."),
    ("~/.hypershell/main/tasks.db", "The standing queue."),
)

_ESCAPES = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
)


def man_pages(top: Page) -> dict[str, str]:
    """Return name of the file -> its text."""
    pages = list(flat(top))
    texts = {f"{page.name}.1": "\n".join(_lines(page, pages)) + "\n" for page in pages}
    return texts | {"hyper-shell.1": f".so man1/{top.name}.1\n"}


def _lines(page: Page, pages: list[Page]) -> Iterator[str]:
    yield f'.TH {_escaped(page.name.upper())} 1 "" "hs\\-cluster {__version__}" "hs\\-cluster"'
    yield from (".SH NAME", f"{_escaped(page.name)} \\- {_escaped(page.summary[:1].lower() + page.summary[1:])}")
    yield from (".SH SYNOPSIS", f".B {_escaped(page.typed)}", _escaped(page.arguments))
    yield ".SH DESCRIPTION"
    for paragraph in page.text:
        yield from _text(paragraph)
    if page.commands:
        yield ".SH COMMANDS"
        for one in page.commands:
            yield from _item(" ".join(one.words), f"{one.summary}. See {one.name}(1).")
    yield ".SH OPTIONS"
    for option in page.options:
        yield from _item(option.names, _explained(option))
    if page.name == "hs-config":
        yield ".SH SETTINGS"
        for key in KEYS.values():
            yield from _item(key.name, f"{key.help}. [{shown(key.default)}]")
    if page.examples:
        yield ".SH EXAMPLES"
        for paragraph in page.examples:
            yield from _text(paragraph)
    for title, items in (("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        yield f".SH {title}"
        for name, meaning in items:
            yield from _item(name, meaning)
    yield ".SH SEE ALSO"
    # Those above it: one that is added must not change every page.
    others = [one for one in pages if one.words == page.words[: len(one.words)] and one is not page] or page.commands
    yield ",\n".join(f"\\fB{_escaped(one.name)}\\fR(1)" for one in others)


def _item(name: str, text: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{_escaped(name)}\\fR", _escaped(text))


def _text(paragraph: Paragraph) -> Iterator[str]:
    if not paragraph.as_it_stands:
        yield from (".PP", _escaped(paragraph.text))
        return
    # The section is called so already.
    lines = dedent(paragraph.text.removeprefix("Examples:\n")).splitlines()
    yield from (".PP", ".nf", *map(_escaped, lines), ".fi")


def _explained(option: Option) -> str:
    return f"{option.help} Setting: {option.setting}." if option.setting else option.help


def _escaped(text: str) -> str:
    """Return a text that means itself, also at the start of a line."""
    escaped = text.translate(_ESCAPES)
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
