"""Removal of finished runs: of those that are older than 30 days, but the newest thousand are always kept.

Never removed: a run with tasks that did not end or that failed, one of which a row names captured output, one whose database
is elsewhere or in use, and `latest`. It happens after a run has ended, and looks at a few folders at a time.
"""

import contextlib
import os
import random
import shutil

from hs_common import site
from hs_common.errors import StoppedError
from hs_deploy.runs.folders import DATABASE_NAME, KEPT_MIN

KEPT_S = 30 * 86_400.0
LOOKED_MAX = 20
"""Runs that are looked into each time; which, is left to chance, for those that have to stay would always come first."""


_DOOMED = "."
"""What the name of a folder that is being removed begins with."""


def prune(now: float, dice: random.Random) -> list[str]:
    """Remove some runs and return their folders; now: wall clock, seconds since the epoch."""
    folder = site.runs()
    names = os.listdir(folder)
    if len(names) <= KEPT_MIN:
        return []
    for name in [name for name in names if name.startswith(_DOOMED)]:
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)  # whoever began it was killed
        names.remove(name)
    found: list[tuple[float, str]] = []
    for name in names:
        path = os.path.join(folder, name)
        with contextlib.suppress(OSError):  # removed by another hs-cluster at this moment, or no database in it
            found.append((os.lstat(os.path.join(path, DATABASE_NAME)).st_mtime, path))
    found.sort()
    old = [path for changed_at, path in found[: max(0, len(names) - KEPT_MIN)] if changed_at < now - KEPT_S]
    removed = []
    for path in dice.sample(old, min(LOOKED_MAX, len(old))):
        if path != os.path.realpath(site.latest()) and _may_go(os.path.join(path, DATABASE_NAME)):
            doomed = os.path.join(folder, _DOOMED + os.path.basename(path))
            with contextlib.suppress(OSError):  # another hs-cluster was first
                os.rename(path, doomed)
                removed.append(path)
                shutil.rmtree(doomed, ignore_errors=True)
    return removed


def _may_go(database: str) -> bool:
    from hs_scheduler.stores.ownership import holder_of  # noqa: PLC0415 - hardly any end of a run gets here
    from hs_scheduler.stores.reader import reading  # noqa: PLC0415
    from hs_scheduler.tasks.state import FAILED  # noqa: PLC0415

    if os.path.islink(database) or holder_of(f"{database}.lock") is not None:
        return False
    try:
        with reading(database) as connection:
            query = f"""SELECT EXISTS (SELECT 1 FROM task WHERE state < 3 OR outpath IS NOT NULL OR errpath IS NOT NULL
                OR ({FAILED} AND next IS NULL)) OR EXISTS (SELECT 1 FROM run WHERE end_time IS NULL)
                OR EXISTS (SELECT 1 FROM meta WHERE name = 'archives')"""  # noqa: S608
            return not connection.execute(query).fetchone()[0]
    except StoppedError:
        return False
