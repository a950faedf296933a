"""What `--restart` continues: which run, with which settings, and how much of its input is still to be read.

--database, or one that is configured ──▶ the last run in it that has something left, else what was submitted to it
neither ──▶ `latest` ──nothing left──▶ the standing queue ──nothing left──▶ nothing; older runs are only named
"""

import contextlib
import json
import os
import select
from collections.abc import Mapping
from typing import Any

from hs_common import site
from hs_common.errors import RefusedError, StoppedError
from hs_common.values import dataclass
from hs_deploy.runs import folders
from hs_scheduler.stores.engines import owner_of
from hs_scheduler.stores.locations import of_folder, real

HOLDER_S = 4.0
"""How long to wait for the daemons of an hs-cluster that was killed: they end within two seconds by themselves."""

_LOOK_MS = 50

WORKER_MS = 700
"""How much longer than a scheduler (1.5 s) a worker without its hs-cluster may live. Source: they promise two seconds."""

OLDER_MAX = 10
"""Older runs with something left that are named."""

OLDER_LOOKED_MAX = 200
"""Of the newest runs so many are looked into for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A run that has something left."""

    database: str
    """Path, or URL of a server."""
    uid: bytes
    """16 bytes; b"": tasks that were submitted, and are of no run yet."""
    settings: Mapping[str, Any]
    """As the run recorded them: names of options as `hs_deploy.cli` has them."""
    closed: bool
    """Whether its end was recorded."""
    left: int
    """Tasks that did not end."""
    failed: int
    """Tasks that failed for good."""
    cancelled: int
    file: str | None
    """Input that is still to be read: a file of the user's,"""
    spool: str | None
    """or the run's own copy of a stream."""
    unprinted: bool = False
    """Whether there are outputs of tasks that were not printed."""

    @property
    def whole(self) -> bool:
        """Whether it takes care of every task in its database."""
        return bool(self.settings.get("whole", not self.uid))


def find(database: str | None, *, failed_too: bool) -> Past | None:
    """Return what is to be continued, or None: nothing is.

    Args:
        database: Path or URL of the one that was named, or None.
        failed_too: Whether tasks that failed count as left.

    Raises:
        RefusedError: The site cannot be used.
        StoppedError: No such database, or it belongs to a scheduler that is alive.

    """
    if database is not None:
        return look(database, failed_too=failed_too)
    for folder in dict.fromkeys(map(os.path.realpath, (site.latest(), site.main()))):
        path = of_folder(folder)
        known = folders.is_server(path) or os.path.exists(path)
        past = look(path, failed_too=failed_too) if known else _unrecorded(folder, path)
        if past is not None:
            return past
    return None


def look(database: str, *, failed_too: bool) -> Past | None:
    """Return the last run in a database that has something left, or None.

    A run whose end was not recorded counts as well: its file of failures may not be written.
    """
    if not folders.is_server(database):
        database = os.path.realpath(database)
    await_holder(database)
    unrecorded = _unrecorded(os.path.realpath(site.latest()), database)
    try:
        pasts = _read(database)
    except StoppedError:
        # It was killed before there was a table.
        if unrecorded is None:
            raise
        return unrecorded
    if unrecorded is not None and all(past.uid != unrecorded.uid for past in pasts):
        return unrecorded
    return next((past for past in pasts if _unfinished(past, failed_too=failed_too)), None)


def over(database: str | None) -> Past | None:
    """Return the last run of which `find` said that nothing is left; None: there was none.

    Raises:
        StoppedError: The database cannot be read.

    """
    if database is None:
        folder = os.path.realpath(site.latest())
        database = of_folder(folder if os.path.exists(folder) else site.main())
        if not (folders.is_server(database) or os.path.exists(database)):
            return None
    return _read(database)[0]


def _read(database: str) -> list[Past]:
    """Return all runs in a database, the last one first; behind them what was submitted and is of no run."""
    from hs_scheduler.stores.engines import open_reader  # noqa: PLC0415 - only who continues needs a database here
    from hs_scheduler.tasks.state import ASIDE, FAILED, OUT, State  # noqa: PLC0415

    with open_reader(database) as reader:
        recorded = reader.execute("SELECT run, uid, settings, end_time FROM run ORDER BY run DESC").fetchall()
        inputs = {
            run: (offset, ended)
            for run, offset, ended in reader.execute('SELECT run, "offset", ended <> 0 OR "offset" >= size FROM input')
        }
        counts = {
            run: (int(left), int(failed), int(cancelled))
            for run, left, failed, cancelled in reader.execute(
                # One index each: there may be millions that have succeeded.
                f"""SELECT run, sum(to_do), sum(failed), sum(cancelled) FROM (
                SELECT run, 1 AS to_do, 0 AS failed, 0 AS cancelled FROM task WHERE state = 0
                UNION ALL SELECT run, 1, 0, 0 FROM task WHERE {OUT}
                UNION ALL SELECT run, 1, 0, 0 FROM task WHERE {ASIDE} AND state = {State.ON_HOLD:d}
                UNION ALL SELECT run, 0, 0, 1 FROM task WHERE {ASIDE} AND state = {State.CANCELLED:d}
                UNION ALL SELECT run, 0, 1, 0 FROM task WHERE {FAILED} AND next IS NULL) AS rest GROUP BY run"""  # noqa: S608
            )
        }
    strangers = counts.get(None, (0, 0, 0))
    pasts = []
    for run, uid, text, end_time in recorded:
        settings = json.loads(text)
        own, more = counts.get(run, (0, 0, 0)), strangers if settings.get("whole") else (0, 0, 0)
        offset, ended = inputs.get(run, (0, False))
        file, spool = _rest(settings, offset, ended=bool(ended))
        pasts.append(
            Past(
                database=database,
                uid=uid,
                settings=settings,
                closed=end_time is not None,
                left=own[0] + more[0],
                failed=own[1] + more[1],
                cancelled=own[2] + more[2],
                file=file,
                spool=spool,
                unprinted=folders.has_outputs(uid),
            )
        )
    left, failed, cancelled = strangers
    submitted = Past(
        database=database,
        uid=b"",
        settings={},
        closed=True,
        left=left,
        failed=failed,
        cancelled=cancelled,
        file=None,
        spool=None,
    )
    return [*pasts, submitted]


def last(database: str) -> list[bytes]:
    """Return the ids of the last runs in a database; none where it cannot be read now."""
    from hs_scheduler.stores.engines import open_reader  # noqa: PLC0415 - as above

    with contextlib.suppress(StoppedError), open_reader(database) as reader:
        query = f"SELECT uid FROM run ORDER BY run DESC LIMIT {OLDER_MAX}"  # noqa: S608
        return [bytes(uid) for (uid,) in reader.execute(query)]
    return []


def older(but: str | None) -> list[str]:
    """Return the databases of runs that have something left, the newest first; `but`: not this one."""
    found: list[str] = []
    for name in sorted(os.listdir(site.runs()), reverse=True)[:OLDER_LOOKED_MAX]:
        try:
            path = of_folder(os.path.join(site.runs(), name))
            if not folders.is_server(path):
                path = os.path.realpath(path)
            if path == but or path in found or not (folders.is_server(path) or os.path.exists(path)):
                continue
            past = look(path, failed_too=False)
        except (StoppedError, RefusedError):
            continue  # somebody works on it, or it is none that we can read: not ours to continue
        if past is not None:
            found.append(path)
            if len(found) == OLDER_MAX:
                break
    return found


def whole_bytes(spool: str) -> int:
    """Return up to where the copy of a stream may be read: to its end where all of it was copied, else the last newline.

    Half a line is no task: `rm -rf /data/old` may have been cut to `rm -rf /data`.
    """
    size = os.path.getsize(spool)
    if folders.is_complete(spool):
        return size
    with open(spool, "rb") as file:
        at = size
        while at:
            start = max(0, at - 65536)
            file.seek(start)
            newline = file.read(at - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            at = start
    return 0


def _unfinished(past: Past, *, failed_too: bool) -> bool:
    left = past.left or past.file or past.spool or past.unprinted or (failed_too and past.failed)
    return bool(left or not past.closed)


def _rest(settings: Mapping[str, Any], offset: int, *, ended: bool) -> tuple[str | None, str | None]:
    """Return the input that is not read to its end: (file, None), (None, spool) or (None, None)."""
    spool = settings.get("spool")
    if spool is not None:
        # For a stream the database never knows the end: the copy says how much there is.
        left = os.path.exists(spool) and (not folders.is_complete(spool) or whole_bytes(spool) > offset)
        return None, spool if left else None
    return (None if ended else settings.get("input")), None


def _unrecorded(folder: str, database: str) -> Past | None:
    """Return the run of a folder if it is to be kept in this database; its scheduler may have died before it recorded it."""
    settings = folders.read_settings(folder)
    if settings is None or real(settings["database"]) != real(database):
        return None
    file, spool = _rest(settings, 0, ended=False)
    return Past(
        database=database if folders.is_server(database) else settings["database"],
        uid=bytes.fromhex(os.path.basename(folder).replace("-", "")),
        settings=settings,
        closed=False,
        left=0,
        failed=0,
        cancelled=0,
        file=file,
        spool=spool,
    )


def await_holder(database: str) -> None:
    """Wait for the end of a scheduler that lost its hs-cluster.

    Raises:
        StoppedError: It does not end: it has its own hs-cluster.

    """
    waited = False
    for _ in range(int(HOLDER_S * 1000 / _LOOK_MS)):
        if owner_of(database) is None:
            if waited:
                # It was the scheduler of an hs-cluster that was killed; the worker may take a moment longer to end its tasks.
                select.poll().poll(WORKER_MS)
            return
        waited = True
        select.poll().poll(_LOOK_MS)
    if (holder := owner_of(database)) is not None:
        raise StoppedError(f"database {real(database)} is owned by {holder}: it is being worked on")
