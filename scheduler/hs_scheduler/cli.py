"""`hs-scheduler`: which way its arguments ask for.

hs-cluster starts a scheduler with options that it has checked, and everybody waits for it: those are read without click. Whatever
else there is goes through `hs_scheduler.command`, which explains itself.
"""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from hs_common.garbage import search_seldom
from hs_common.quick import Declared, read

DECLARED = Declared(
    options={
        "--connection": ("connection", str),
        "--database": ("database", str),
        "-b": ("bundlesize", int),
        "-w": ("bundlewait", float),
        "-r": ("max_retries", int),
        "-f": ("failures", str),
        "--joblog": ("joblog", str),
        "--halt": ("halt", str),
        "--report-fd": ("report_fd", int),
        "--input-fd": ("input_fd", int),
        "--spool": ("spool", str),
        "--order-file": ("order_file", str),
    },
    flags={
        "--no-db": ("no_db", True),
        "--eager": ("eager", True),
        "--once": ("once", True),
        "--forever": ("forever", True),
        "--restart": ("restart", True),
        "--initdb": ("initdb", True),
    },
)


def main() -> NoReturn:
    """Run the program."""
    search_seldom()  # what is loaded from now on stays
    given = read_quickly(sys.argv[1:])
    if given is not None:
        from hs_scheduler.program import run  # noqa: PLC0415

        run(given)
    from hs_scheduler.command import scheduler  # noqa: PLC0415 - click: 24 ms

    scheduler.main(prog_name="hs-scheduler")
    raise AssertionError("a program does not return")


def read_quickly(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the options as hs-cluster gives them, by the names of `command`, or None: then somebody else should look at them."""
    if list(arguments[:3]) != ["--connection", "-", "--report-fd"]:
        return None
    found = read(arguments, DECLARED)
    return None if found is None or len(found[1]) > 1 else _complete(*found)


def _complete(given: dict[str, Any], files: list[str]) -> dict[str, Any]:
    absent = {name: None for name, _ in DECLARED.options.values()} | {
        name: False for name, _ in DECLARED.flags.values()
    }
    return {**absent, **given, "file": files[0] if files else None}
