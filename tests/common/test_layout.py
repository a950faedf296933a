"""The pages about the code itself agree with the code: a map that is wrong is worse than none."""

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
DECISIONS = TOP / "docs" / "decisions"
ROWS = re.findall(r"^\| `(\w+/hs_\w+)` \| (.*) \|$", (TOP / "docs" / "architecture.md").read_text(), re.MULTILINE)


def test_the_architecture_names_every_package_and_no_other() -> None:
    """So whoever looks for something finds its folder there."""
    packages = {str(file.parent.relative_to(TOP)) for file in TOP.glob("*/hs_*/__init__.py")}
    assert {package for package, _ in ROWS} == packages
    for package, holds in ROWS:
        inside = {file.parent.name for file in (TOP / package).glob("*/__init__.py")}
        assert inside <= set(re.findall(r"`(\w+)`", holds)), package


def test_the_decisions_are_numbered_without_a_hole_and_listed_in_order() -> None:
    """A number is how others refer to one, so it must be one."""
    files = sorted(path.name for path in DECISIONS.glob("0*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    titles = {name: re.match(r"# (\d+)\. (.*)", (DECISIONS / name).read_text()) for name in files}
    listed = [(title[1], title[2], name) for name, title in titles.items() if title]
    assert re.findall(r"^(\d+)\. \[(.*)\]\((.*)\)$", (DECISIONS / "README.md").read_text(), re.MULTILINE) == listed
