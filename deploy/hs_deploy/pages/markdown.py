"""Pages as the one Markdown text of docs/reference.md, and the settings as a table."""

import re
from collections.abc import Iterable, Iterator

from hs_common.setting import KEYS, Key
from hs_deploy.commands.config import shown
from hs_deploy.pages.described import Option, Page, Paragraph, flat

HEAD = """# Reference

Every command with all its options, generated from the commands themselves (`make docs`). The same is in the man pages.
How they work together is in the [guide](guide.md). A setting that is named with an option holds where that is not typed;
[settings](settings.md) says where settings are.
"""

_SPECIAL = re.compile(r"([\\`*<|])")
_KINDS = {
    "flag": "true, false",
    "text": "text",
    "path": "a path, `~` is the home",
    "size": "bytes, or as `512K`, `10M`",
    "hosts": "text, list or table",
}


def reference(top: Page) -> str:
    """Return the reference of all commands."""
    pages = list(flat(top))
    return "\n".join([HEAD, _index(pages), *(part for page in pages for part in _section(page))])


def settings_table() -> str:
    """Return a row for each setting."""
    rows = (f"| `{key.name}` | {_default(key)} | {_values(key)} | {_meaning(key)} |\n" for key in KEYS.values())
    return "| key | default | what it may be | meaning |\n|---|---|---|---|\n" + "".join(rows)


def _section(page: Page) -> Iterator[str]:
    yield f"## {page.name}\n"
    yield f"```\n{page.typed} {page.arguments}\n```\n"
    for paragraph in page.text:
        yield _text(paragraph)
    if page.typed != " ".join(page.words):
        yield f"Also `{' '.join(page.words)}`.\n"
    if page.commands:
        yield _index(page.commands)
    yield f"| option | |\n|---|---|\n{''.join(_row(option) for option in page.options)}"
    for paragraph in page.examples:
        yield _text(paragraph)


def _index(pages: Iterable[Page]) -> str:
    rows = (f"| [`{page.typed}`](#{page.name}) | {_escaped(page.summary)} |\n" for page in pages)
    return f"| command | |\n|---|---|\n{''.join(rows)}"


def _row(option: Option) -> str:
    setting = f" Setting: `{option.setting}`" if option.setting else ""
    # Inside code a bar is the only one that a table takes for its own.
    names = option.names.replace("|", "\\|")
    return f"| `{names}` | {_escaped(option.help)}{setting} |\n"


def _text(paragraph: Paragraph) -> str:
    if not paragraph.as_it_stands:
        return f"{_escaped(paragraph.text)}\n"
    head, _, rest = paragraph.text.partition("\n")
    if head.endswith(":"):
        return f"{_escaped(head)}\n\n```\n{rest}\n```\n"
    return f"```\n{paragraph.text}\n```\n"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _default(key: Key) -> str:
    return f"`{text}`" if (text := shown(key.default)) else ""


def _values(key: Key) -> str:
    if key.choices:
        return ", ".join(key.choices)
    if key.kind in _KINDS:
        return _KINDS[key.kind]
    return f"{key.low:.10g}..{key.high:.10g}{', whole' if key.kind == 'integer' else ''}"


def _meaning(key: Key) -> str:
    return f"{key.help}; applies {key.applies}" if key.applies else key.help
