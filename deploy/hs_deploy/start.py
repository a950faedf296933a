"""Where `hs-cluster` and `hs` begin: Ctrl-C ends them without a word, also while the rest is still being loaded.

What is called by the thousand has a way past click, which takes longer to load than the work itself takes.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

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
    return _one_run(sys.argv[1:], "cluster_main") or _by_click("cluster_main")


def _umbrella() -> Callable[[], object]:
    match sys.argv[1:]:
        case ["submit", *words]:
            quick = _submit(words)
        case ["task", "search", *words]:
            quick = _search(words)
        case ["task", "info", *words]:
            quick = _info(words)
        case ["cluster", *words]:
            quick = _one_run(words, "main")
        case _:
            quick = None
    return quick or _by_click("main")


def _one_run(words: Sequence[str], by_click: str) -> Callable[[], object] | None:
    """Return the way past click, if these words may go it. `by_click`: the way of all others."""
    from hs_deploy.quick_cluster import read_quickly  # noqa: PLC0415 - others need not load it

    typed = read_quickly(words)
    if typed is None:
        return None
    from hs_deploy.program import run  # noqa: PLC0415

    def cluster() -> int | None:
        status = run(typed)
        if status is None:  # how it is used is for click to show
            _by_click(by_click)()
        return status

    return _ending(cluster)


def _submit(words: Sequence[str]) -> Callable[[], object] | None:
    from hs_scheduler.commands.quick_submit import read_quickly  # noqa: PLC0415

    asked = read_quickly(words)
    if asked is None:
        return None
    from hs_scheduler.commands.submission import submit_tasks  # noqa: PLC0415

    return _ending(lambda: submit_tasks(*asked))


def _search(words: Sequence[str]) -> Callable[[], object] | None:
    from hs_scheduler.commands.quick_search import read_quickly  # noqa: PLC0415

    asked = read_quickly(words)
    if asked is None:
        return None
    from hs_scheduler.commands.searching import search_tasks  # noqa: PLC0415

    return _ending(lambda: search_tasks(asked))


def _info(words: Sequence[str]) -> Callable[[], object] | None:
    from hs_scheduler.commands.quick_info import read_quickly  # noqa: PLC0415

    asked = read_quickly(words)
    if asked is None:
        return None
    from hs_scheduler.commands.showing import show_task  # noqa: PLC0415

    return _ending(lambda: show_task(asked))


def _ending(command: Callable[[], object]) -> Callable[[], object]:
    from hs_common.ending import end_as  # noqa: PLC0415

    return lambda: end_as(command, reports_defects=True)


def _by_click(program: str) -> Callable[[], object]:
    from hs_deploy import cli  # noqa: PLC0415 - half of what a start takes

    way: Callable[[], object] = getattr(cli, program)
    return way
