"""Where `hs-cluster` and `hs` begin: Ctrl-C ends them without a word, also while the rest is still being loaded.

What is called by the thousand has a way past click, which takes longer to load than the work itself takes.
"""

import os
import signal
import sys
from collections.abc import Callable

from hs_common.garbage import search_seldom


def cluster() -> None:
    """Run `hs-cluster`."""
    _run(_cluster)


def main() -> None:
    """Run `hs`."""
    _run(_umbrella)


def _run(load: Callable[[], Callable[[], object]]) -> None:
    try:
        search_seldom()  # what is loaded stays
        program = load()
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    program()


def _cluster() -> Callable[[], object]:
    from hs_deploy import cli  # noqa: PLC0415 - most of what a start takes

    return cli.cluster_main


def _umbrella() -> Callable[[], object]:
    if sys.argv[1:2] == ["submit"]:
        from hs_scheduler.commands.quick_submit import read_quickly  # noqa: PLC0415 - others need not load it

        asked = read_quickly(sys.argv[2:])
        if asked is not None:
            from hs_common.ending import end_as  # noqa: PLC0415
            from hs_scheduler.commands.submission import submit_tasks  # noqa: PLC0415

            return lambda: end_as(lambda: submit_tasks(*asked), reports_defects=True)
    from hs_deploy import cli  # noqa: PLC0415 - as above

    return cli.main
