"""Every command that the pages show does what stands there.

A ```console block is a session: `$ ` begins a command (`> ` goes on with it), below it stands what it prints, stderr included.
A ```sh block is a list of commands without their output: none of them may be refused. The blocks of a page are run in order, in
one home (/home/me), each command by a shell of its own that knows only the exit status of the one before. What a reader does not
need to see is done by `<!-- before: COMMANDS -->`. Any other block is not run.

What differs from run to run (seconds, rates, ids, instants) is compared by its form alone; `...` is any text of a line, and any
lines where it stands by itself.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.home import Home

from hs_common.template import Template

TOP = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(TOP)): path.read_text() for path in (TOP / "README.md", *sorted(TOP.glob("docs/**/*.md")))
}
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```$|^<!-- before: (.*?) -->$", re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^\$ (.*\n(?:> .*\n)*)((?:(?!\$ ).*\n)*)", re.MULTILINE)
TEMPLATES = PAGES["docs/templates.md"]
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", TEMPLATES, re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
VARYING = [
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", "<instant>"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
        (r"\b\d[\d.,]* tasks/s", "<rate>"),
        (r"\b(\d[\d.]* s|\d+:\d\d min|\d+:\d\d:\d\d h)\b", "<seconds>"),
        (r"\b\d+% of", "<share> of"),
        (r"(?<=duration: )[\d.]+", "<seconds>"),
    )
]


@dataclass(frozen=True)
class Step:
    """A command of a page."""

    command: str
    printed: str | None
    """None: whatever it prints."""


def steps(page: str) -> list[Step]:
    """Return what is to be done, in order."""
    found = []
    for kind, text, before in BLOCK.findall(page):
        if kind == "console":
            assert text.startswith("$ "), f"a session begins with a command: {text}"
            found += [Step(command.replace("\n> ", "\n"), printed) for command, printed in STEP.findall(text)]
        else:
            found += [Step(line, None) for line in (text or before).splitlines() if line]
    return found


def by_form(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, form in VARYING:
        text = pattern.sub(form, text)
    return text.rstrip() + "\n"


def is_printed(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed."""
    lines = [
        r"(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\n"
        for line in by_form(shown).splitlines()
    ]
    return re.fullmatch("".join(lines), by_form(printed)) is not None


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "b\na\n", False),
        ("a\n", "a\nmore\n", False),
        ("", "", True),
        ("", "x\n", False),
        ("7 tasks, 0.42 s, 17 tasks/s, 2% of 4 slots\n", "7 tasks, 12.5 s, 1,024 tasks/s, 99% of 4 slots\n", True),
        ("7 tasks, 3.21 s\n", "7 tasks, 1:09 min\n", True),
        ("7 tasks, 0.42 s\n", "8 tasks, 0.42 s\n", False),
        ("from ... to b\n", "from a to b\n", True),
        ("from ... to b\n", "from a\nto b\n", False),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nb\nc\n", False),
        ("01a203bd-0000-7000-8000-00000000000f\n", "01a203bd-1111-7111-8111-11111111111f\n", True),
    ],
)
def test_a_page_shows_what_is_printed(shown: str, printed: str, same: bool) -> None:
    """But for what differs each time."""
    assert is_printed(shown, printed) == same


def test_the_examples_are_found() -> None:
    """A page that is written differently would be tested by nothing."""
    of_three = [line for line in TEMPLATES.splitlines() if line.startswith("| `") and line.count("|") == 4]
    assert len(ROWS) == len(of_three)
    assert len(ROWS) >= 25
    for page in PAGES.values():
        assert sum(bool(text) for _, text, _ in BLOCK.findall(page)) == len(
            re.findall(r"^```(?:console|sh)", page, re.MULTILINE)
        )


def anchors(text: str) -> set[str]:
    """Return what can be linked to in a page: its headings, as web sites name them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    """To a file that is there, and to a heading in it."""
    for path, anchor in LINK.findall(re.sub(r"`[^`]*`", "", (TOP / page).read_text())):
        if not path.startswith("http"):
            target = (TOP / page).parent / path if path else TOP / page
            assert target.exists(), path
            assert not anchor or anchor in anchors(target.read_text()), f"{path}#{anchor}"


def test_every_page_is_in_the_list() -> None:
    """Of README.md: else nobody finds it."""
    pages = {path for path, _ in LINK.findall(PAGES["README.md"])}
    assert pages >= {name for name in PAGES if name.startswith("docs/") and name.count("/") == 1}


def test_every_page_that_a_command_names_is_there() -> None:
    """In its help, which the reference repeats."""
    assert all((TOP / path).exists() for path in re.findall(r"docs/[\w/]+\.md", PAGES["docs/reference.md"]))


@pytest.mark.parametrize(("template", "args", "command"), ROWS)
def test_a_row_is_what_the_template_becomes(template: str, args: str, command: str) -> None:
    """In the tables."""
    assert Template(template.encode()).preview(args.encode()).decode() == command


@pytest.mark.system
@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if steps(text)])
def test_each_command_does_what_its_page_says(home: Home, page: str) -> None:
    """Whole programs, in a home of their own."""
    status = 0
    for step in steps(PAGES[page]):
        # A reader has no HYPERSHELL_SITE.
        done = home.run("bash", "-c", f"exec 2>&1; (exit {status}); {step.command}", env={"HYPERSHELL_SITE": ""})
        status, printed = done.returncode, done.stdout.decode().replace(home.folder, "/home/me")
        if step.printed is None:
            assert status in (0, 1), f"{step.command}\n{printed}"
        else:
            assert is_printed(step.printed, printed), f"{page}: $ {step.command}\n{printed}"
