"""Where `hs-cluster` and `hs` begin: Ctrl-C ends them without a word, also while the rest is still being loaded."""

import os
import signal


def cluster() -> None:
    """Run `hs-cluster`."""
    _run("cluster_main")


def main() -> None:
    """Run `hs`."""
    _run("main")


def _run(program: str) -> None:
    try:
        from hs_deploy import cli  # noqa: PLC0415 - most of what a start takes
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    getattr(cli, program)()
