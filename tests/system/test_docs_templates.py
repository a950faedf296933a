"""Every example of docs/templates.md does what stands there."""

import re
from pathlib import Path

import pytest
from tests.faults.home import Home

from hs_common.template import Template

PAGE = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
ROWS = re.findall(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)
SESSIONS = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
PLAIN_NAME = re.compile(r"\W+")


def test_the_examples_are_found() -> None:
    """A page that is written differently would be tested by nothing."""
    of_three = [line for line in PAGE.splitlines() if line.startswith("| `") and line.count("|") == 4]
    assert len(ROWS) == len(of_three)
    assert len(ROWS) >= 25
    assert all(STEP.match(session) for session in SESSIONS)
    assert len(SESSIONS) == PAGE.count("```") // 2


@pytest.mark.parametrize(("template", "args", "command"), ROWS)
def test_a_row_is_what_the_template_becomes(template: str, args: str, command: str) -> None:
    """In the tables."""
    assert Template(template.encode()).preview(args.encode()).decode() == command


@pytest.mark.system
@pytest.mark.parametrize("session", SESSIONS, ids=lambda text: PLAIN_NAME.sub("-", text)[:40])
def test_a_session_prints_what_stands_below_each_line(home: Home, session: str) -> None:
    """Whole programs; outputs of tasks that ran at once in any order."""
    for line, printed in STEP.findall(session):
        done = home.run("sh", "-c", line)
        assert sorted(done.stdout.decode().splitlines()) == sorted(printed.splitlines()), done.stderr
