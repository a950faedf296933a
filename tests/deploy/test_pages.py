"""Reference and man pages: they are what the commands say, and can be read."""

import re
import subprocess
from pathlib import Path

import click
import pytest

from hs_deploy.cli import main
from hs_deploy.pages.__main__ import generated
from hs_deploy.pages.described import Option, Page, Paragraph, describe, flat
from hs_deploy.pages.man import man_pages
from hs_deploy.pages.markdown import reference

DOCS = Path(__file__).parents[2] / "docs"
FILES = generated(str(DOCS))
PAGES = {page.name: page for page in flat(describe(main))}


@click.group(epilog="\b\nExamples:\n  one two -x 'a|b'   \\ . ' ` ~ ^ -")
def one() -> None:
    """Do `something` with <angles>. And more.

    \b
    .first   line
    'second' line
    """  # noqa: D301


@one.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file")
@click.option("-x", "--num-tasks", metavar="A|B", default=7, show_default=True, help="Of  both\n kinds.")
@click.option("--not-shown", hidden=True)
def two(**_: object) -> None:
    """Do the other thing."""


@one.command(hidden=True)
def three() -> None:
    """Do what nobody knows of."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(Path(path).relative_to(DOCS)))
def test_what_is_committed_is_what_the_commands_say(path: str) -> None:
    """`make docs` writes it anew."""
    there = Path(path).read_text() if Path(path).exists() else ""
    assert there == FILES[path], (
        f"{path} is not what the commands say any more: run make docs, and commit what it writes"
    )


def test_there_is_no_page_of_a_command_that_is_no_more() -> None:
    """It would be installed."""
    assert {str(path) for path in (DOCS / "man").iterdir()} <= set(FILES), "run make docs"


def test_a_group_is_described_with_all_below_it() -> None:
    """But for what is hidden."""
    page = describe(one, ("hs",))

    (below,) = page.commands
    assert (page.name, page.summary) == ("hs", "Do `something` with <angles>")
    assert page.text == (
        Paragraph("Do `something` with <angles>. And more.", as_it_stands=False),
        Paragraph(".first   line\n'second' line", as_it_stands=True),
    )
    assert below == Page(
        words=("hs", "two"),
        typed="hs two",
        arguments="[OPTIONS] FILE",
        summary="Do the other thing",
        text=(Paragraph("Do the other thing.", as_it_stands=False),),
        options=(
            Option(names="-x, --num-tasks A|B", help="Of both kinds. [default: 7]", setting=""),
            Option(names="-h, --help", help="Show this message and exit.", setting=""),
        ),
        commands=(),
        examples=(),
    )


def test_a_program_goes_by_its_own_name_and_tells_its_settings() -> None:
    """As `hs-cluster`, which is `hs cluster` too."""
    page = describe(two, ("hs", "cluster"))

    assert (page.name, page.typed) == ("hs-cluster", "hs-cluster")
    assert page.options[0].setting == "worker.num_tasks"


def test_nothing_in_a_text_is_taken_for_markdown() -> None:
    """Bars end cells, angles begin tags."""
    text = reference(describe(one))

    assert "| `-x, --num-tasks A\\|B` | Of both kinds. [default: 7] |" in text
    assert "Do \\`something\\` with \\<angles>. And more." in text
    assert "```\n.first   line\n'second' line\n```" in text


def test_nothing_in_a_text_is_taken_for_a_macro(tmp_path: Path) -> None:
    """Dots and quotes at the start of a line, backslashes, what typesetters make curly."""
    (tmp_path / "hs.1").write_text(man_pages(describe(one))["hs.1"])

    shown = rendered(tmp_path / "hs.1")

    for line in (".first line", "'second' line", "one two -x 'a|b' \\ . ' ` ~ ^ -"):
        assert line in shown


@pytest.mark.parametrize("page", PAGES.values(), ids=lambda page: page.name)
def test_a_man_page_shows_all_there_is(page: Page) -> None:
    """And is rendered without a warning."""
    shown = rendered(DOCS / "man" / f"{page.name}.1")

    assert all(heading in shown for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"))
    for paragraph in (*page.text, *page.examples):
        assert " ".join(paragraph.text.removeprefix("Examples:").split()) in shown
    for option in page.options:
        assert f"{option.names} {option.help}" in shown


def rendered(path: Path) -> str:
    """Return a page as man shows it, blanks and lines as one blank each."""
    done = subprocess.run(
        ["man", "--warnings", "--no-hyphenation", "--no-justification", "--local-file", path],
        env={"MANWIDTH": "4000", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": "", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return " ".join(re.sub(r".\x08", "", done.stdout).split())
