"""`hs-cluster --restart` and `--retry-failed`: find what is left, take its settings, and run on."""

import shlex
import sys
from collections.abc import Mapping
from typing import Any

from hs_common.clock import wall
from hs_common.config import Settings
from hs_deploy import oneshot
from hs_deploy.arguments import without_password
from hs_deploy.options import Options, options, recall
from hs_deploy.runs import folders, past
from hs_deploy.runs.past import Past


def run(asked: Options, typed: Mapping[str, Any], settings: Settings) -> int:
    """Continue what is left; return the exit status: where nothing is, that of the last run.

    Raises:
        RefusedError: A recorded setting makes no sense any more.
        StoppedError: The database cannot be used.

    """
    found = past.find(asked.database, failed_too=asked.retry_failed)
    if found is None:
        return _nothing_to_do(asked)
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


def _nothing_to_do(asked: Options) -> int:
    """Say so; return 1 if a task of the last run did not succeed: who saw it killed in its last moment never had its status."""
    over = past.over(asked.database)
    told = _without_success(over) if over else ""
    if over and over.uid and (rest := folders.earlier(over.uid, over.database)):
        folders.remove_rest(rest)
    if not asked.quiet:
        sys.stderr.write(f"hs-cluster: nothing to do: nothing is left{told}\n")
    if not asked.quiet and asked.database is None:
        for database in past.older(but=None):
            command = f"hs-cluster --restart --database {_named(database)}"
            sys.stderr.write(f"hs-cluster: an older run has something left: {command}\n")
    return 1 if told else 0


def _without_success(over: Past) -> str:
    """Return what to say of tasks that did not succeed; "": all did."""
    counts = {"failed": over.failed, "cancelled": over.cancelled}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    anew = f"; to try what failed once more: hs-cluster --retry-failed --database {_named(over.database)}"
    return f", but of the last run {told}{anew if over.failed else ''}" if told else ""


def _named(database: str) -> str:
    """Return a database as it stands in a command that others may read."""
    return shlex.quote(without_password(database))
