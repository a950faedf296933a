"""`hs-broker`: which way its arguments ask for.

A broker of a local cluster is started with exactly `--connection -`, a thousand times a day, and everybody waits for it: that
way needs no command line parser. Every other way goes through `hs_broker.command`.
"""

import sys
from typing import NoReturn

from hs_common.garbage import search_seldom


def main() -> NoReturn:
    """Run the program."""
    search_seldom()  # what is loaded from now on stays
    from hs_broker.program import leave, run, serve_lifeline  # noqa: PLC0415

    if sys.argv[1:] == ["--connection", "-"]:
        run(serve_lifeline)
    from hs_broker.command import broker  # noqa: PLC0415 - click: 24 ms

    broker.main(prog_name="hs-broker")
    leave(0)
