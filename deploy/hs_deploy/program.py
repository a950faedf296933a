"""`hs-cluster` as a program: options and settings to a run, or to what takes the place of one."""

import os
from collections.abc import Mapping
from typing import Any

from hs_common.config import load_settings
from hs_common.logs import configure_by
from hs_deploy import oneshot
from hs_deploy.options import check_exclusions, options


def run(typed: Mapping[str, Any]) -> int | None:
    """Do what was asked for; return the exit status, or None: there is nothing to read but a terminal.

    Args:
        typed: Name of the parameter -> what was typed, as `options` takes it.

    Raises:
        RefusedError: The options make no sense; nothing was started.
        StoppedError: It cannot be done.

    """
    oneshot.keep_descriptors()
    settings = load_settings()
    check_exclusions(typed)
    asked = options(typed, settings)
    if asked.reads_stdin and typed["file"] is None and os.isatty(0):
        return None
    configure_by(settings, level=asked.level)
    if asked.dry_run:
        from hs_deploy.dry_run import dry_run  # noqa: PLC0415 - few ask for it

        return dry_run(asked)
    if asked.restart:
        from hs_deploy import restart  # noqa: PLC0415 - likewise

        return restart.run(asked, typed, settings)
    return oneshot.run(asked)
