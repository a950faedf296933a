"""`hs-cluster --restart` and `--retry-failed`: find what is left, take its settings, and run on."""

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from hs_common.clock import wall
from hs_common.config import Settings
from hs_deploy import oneshot
from hs_deploy.options import Options, options, recall
from hs_deploy.runs import folders, past
from hs_deploy.runs.past import Past


def run(asked: Options, typed: Mapping[str, Any], settings: Settings) -> int:
    """Continue what is left; return the exit status, 0 where nothing is.

    Raises:
        RefusedError: A recorded setting makes no sense any more.
        StoppedError: The database cannot be used.

    """
    found = past.find(asked.database, failed_too=asked.retry_failed)
    if found is None:
        _say_nothing_to_do(asked)
        return 0
    merged, differences = recall(typed, found.settings)
    merged["once"] = bool(found.settings.get("adds_missing"))
    notes = [*differences, *_cut_off(found)]
    if asked.retry_failed:
        notes.append(_try_anew(found))
    return oneshot.run(options(merged, settings), found, notes)


def _try_anew(found: Past) -> str:
    """Give each task that failed for good another attempt; return what to say."""
    from hs_scheduler.stores.engines import open_store  # noqa: PLC0415 - few ask for it
    from hs_scheduler.stores.store import NO_RUN  # noqa: PLC0415

    store = open_store(found.database, program="hs-cluster", brief=True)
    try:
        store.open_run(found.uid or NO_RUN, dict(found.settings), wall(), whole=found.whole)
        count = store.retry_failed(wall())
    finally:
        store.close()
    return f"{count} of {found.failed} failed tasks are tried once more"


def _cut_off(found: Past) -> list[str]:
    if found.spool is None or folders.is_complete(found.spool):
        return []
    return ["the input was not at its end when the run was stopped: only the lines that were there by then are run"]


def _say_nothing_to_do(asked: Options) -> None:
    if asked.quiet:
        return
    sys.stderr.write("hs-cluster: nothing to do: nothing is left\n")
    if asked.database is not None:
        return
    for database in past.older(but=None):
        command = f"hs-cluster --restart --database {shlex.quote(os.fspath(database))}"
        sys.stderr.write(f"hs-cluster: an older run has something left: {command}\n")
