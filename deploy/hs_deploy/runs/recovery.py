"""What had finished when everybody was killed, and was not in the database yet: the map of the worker still knows.

    <run>/worker.map ──outcomes──▶ database        before anything is started, or after all has ended; then the file is gone

Only what ran to its end counts. What was running, or had been handed back, is the scheduler's to start again.
"""

import os
from collections.abc import Mapping
from typing import Any

from hs_common.clock import wall
from hs_common.errors import WireError
from hs_common.outcomes import join_outcomes, unpack_outcomes
from hs_common.tasks import OutcomeKind
from hs_deploy.runs import folders, past
from hs_deploy.runs.folders import Run, remove_map
from hs_scheduler.stores.engines import open_store
from hs_scheduler.stores.store import Retry
from hs_worker.settings import AREA_BYTES
from hs_worker.shared_map import left_in

_ENDED = (OutcomeKind.FINISHED, OutcomeKind.REJECTED)


def take_up_before(database: str, retry: Retry) -> int:
    """Record what earlier clusters of this database left that were killed, and remove their sockets; return how many tasks ended.

    Raises:
        StoppedError: The database cannot be used, or belongs to a scheduler that is alive.

    """
    # Also where the end is recorded: by a scheduler that outlived its hs-cluster, and a worker that had died before.
    killed = [run for uid in past.last(database) if (run := folders.earlier(uid, database)) is not None]
    if not killed:
        return 0
    past.await_holder(database)
    ended = 0
    for run in killed:
        assert run.folder is not None, "it was found there"
        ended += take_up(run, {"whole": True}, retry)
        folders.remove_remains(run.folder)
        folders.forget_settings(run)
    return ended


def take_up(run: Run, settings: Mapping[str, Any] | None, retry: Retry) -> int:
    """Record what the last worker of this run left; return how many tasks that ended.

    Args:
        run: With a database.
        settings: As the run records them, where it is to go on; None: it is over.
        retry: What becomes of those that failed.

    Raises:
        StoppedError: The database cannot be used.

    """
    assert run.database is not None, "only a recorded run is continued"
    left = left_in(run.map, AREA_BYTES) if run.map else None
    if left is None:
        return 0
    worker, packed = left
    try:
        outcomes = [outcome for outcome in unpack_outcomes(join_outcomes(packed)) if outcome.kind in _ENDED]
    except WireError:
        outcomes = []  # of another version of ours: those tasks run again
    ended = 0
    if outcomes:
        store = open_store(run.database, program="hs-cluster", brief=True)
        try:
            if settings is not None:
                store.open_run(run.uid, dict(settings), wall(), whole=bool(settings.get("whole")))
            with store.transaction():
                # By the fence of any outcome: what is recorded already, or was dispatched again since, stays as it is.
                ended = len(store.record(worker, os.uname().nodename, outcomes, retry, wall()))
        finally:
            store.close()
    remove_map(run)
    return ended
