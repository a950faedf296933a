"""Write what is generated: `python -m hs_deploy.pages docs`. It is committed: nothing has to be run to read or install it."""

import os
import sys

from hs_deploy.cli import main as hs
from hs_deploy.pages.described import describe
from hs_deploy.pages.man import man_pages
from hs_deploy.pages.markdown import reference, settings_table

MARKS = ("<!-- generated -->\n", "<!-- end -->\n")
"""Around the table in settings.md, which people write otherwise."""


def generated(folder: str) -> dict[str, str]:
    """Return path of each file -> what is to be in it.

    Args:
        folder: That of settings.md, man and the rest.

    """
    top = describe(hs)
    settings = os.path.join(folder, "settings.md")
    with open(settings) as file:
        before, begin, rest = file.read().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    assert end, f"{settings} has no place for the table"
    pages = {os.path.join(folder, "man", name): text for name, text in man_pages(top).items()}
    return pages | {
        settings: f"{before}{begin}{settings_table()}{end}{after}",
        os.path.join(folder, "reference.md"): reference(top),
    }


def main(folder: str) -> None:
    """Write it, and remove pages of commands that are no more."""
    files = generated(folder)
    pages = os.path.join(folder, "man")
    os.makedirs(pages, exist_ok=True)
    for gone in {os.path.join(pages, name) for name in os.listdir(pages)} - set(files):
        os.unlink(gone)
    for path, text in files.items():
        with open(path, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
