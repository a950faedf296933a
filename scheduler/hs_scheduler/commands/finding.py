"""Where a task is: an id says when it was made, a database holds many.

named, or configured ──▶ that one · main ──▶ latest ──▶ every run, those first that began just before the id was made
each with its archives
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from hs_common import site
from hs_common.errors import RefusedError, StoppedError
from hs_common.ids import uuid_text
from hs_scheduler.commands.location import named
from hs_scheduler.commands.looking import scheduler_of
from hs_scheduler.stores import archives
from hs_scheduler.stores.engines import open_reader
from hs_scheduler.stores.locations import is_url, of_folder
from hs_scheduler.stores.locations import shown as shown_location
from hs_scheduler.stores.pages import task_of
from hs_scheduler.tasks.fields import FIELDS, shown

if TYPE_CHECKING:
    from hs_scheduler.commands.paging import Scheduler

_TIME_BYTES = 6
"""Of a UUIDv7: milliseconds since the epoch."""


def uid_of(text: str) -> bytes:
    """Return the 16 bytes of an id.

    Raises:
        RefusedError: It is none.

    """
    try:
        uid = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        uid = b""
    if len(uid) != 16:  # noqa: PLR2004 - a UUID
        raise RefusedError(f"{text!r} is no id of a task: it has 32 hexadecimal digits, as hs submit prints them")
    return uid


class Found(NamedTuple):
    """A task, and where it is."""

    database: str
    """Path of the database that is worked on, also where the task is in an archive of it."""
    values: Sequence[Any]
    """Raw, one for each of `FIELDS`."""

    def shown(self) -> dict[str, Any]:
        """Return its public fields; commands and paths are bytes."""
        return {field.name: shown(field, raw) for field, raw in zip(FIELDS, self.values, strict=True)}


def find(uid: bytes, asked: str | None) -> Found:
    """Return the task with this id; see `Finder.find`."""
    with closing(Finder(asked)) as finder:
        return finder.find(uid)


class Finder:
    """Looks for tasks, and keeps the schedulers that it had to ask.

    Args:
        asked: The only database to look at, or None.

    """

    def __init__(self, asked: str | None) -> None:
        self._asked = asked
        self._schedulers: dict[str, Scheduler] = {}

    def close(self) -> None:
        """Say goodbye to them."""
        for scheduler in self._schedulers.values():
            scheduler.close()

    def find(self, uid: bytes) -> Found:
        """Return the task with this id.

        Raises:
            StoppedError: No database has it, or the one that was named cannot be read.

        """
        return self.find_all([uid])[uid]

    def find_all(self, uids: Sequence[bytes], within: str | None = None) -> dict[bytes, Found]:
        """Return the tasks with these ids; each database is opened once for all that are there beside the first one.

        Args:
            uids: 16 bytes each.
            within: The only database to look at, or None: as the finder was told.

        Raises:
            StoppedError: No database has one of them, or the one that was named cannot be read.

        """
        asked = within or self._asked
        found: dict[bytes, Found] = {}
        for uid in uids:
            if uid in found:
                continue
            unread = ""
            for path in _databases(uid, asked):
                try:
                    values = self._look(path, [uid, *(other for other in uids if other not in found and other != uid)])
                except StoppedError as exc:
                    if asked is not None:
                        raise
                    unread = unread or f" ({exc})"
                    continue
                found |= {one: Found(path, value) for one, value in values.items()}
                if uid in found:
                    break
            else:
                where = f" in {shown_location(asked)}" if asked else ""
                raise StoppedError(f"there is no task {uuid_text(uid)}{where}{unread}")
        return found

    def _look(self, path: str, uids: Sequence[bytes]) -> dict[bytes, Sequence[Any]]:
        """Return the values of those of the tasks that a database or one of its archives has."""
        scheduler = self._schedulers.get(path) or scheduler_of(path)
        if scheduler is not None:
            self._schedulers[path] = scheduler
            found = _held(scheduler.task, uids)
            older = [] if len(found) == len(uids) else scheduler.archives()
        else:
            with open_reader(path) as reader:
                found = _held(partial(task_of, reader), uids)
                older = [] if len(found) == len(uids) else archives.paths(reader, path)
        for archive in reversed(older):
            with open_reader(archive) as reader:
                found |= _held(partial(task_of, reader), [uid for uid in uids if uid not in found])
        return found


def _held(look: Callable[[bytes], Sequence[Any] | None], uids: Iterable[bytes]) -> dict[bytes, Sequence[Any]]:
    return {uid: values for uid in uids if (values := look(uid)) is not None}


def _databases(uid: bytes, asked: str | None) -> Iterator[str]:
    """Yield the locations of databases that may hold the task, each once, the likely ones first."""
    if path := named(asked):
        yield path
        if asked:
            return
    seen = set()
    for folder in (os.path.join(site.site(), "main"), site.latest(), *_runs(uid)):
        try:
            location = of_folder(folder)
        except StoppedError:
            continue  # what we may not look into, none of our tasks was put into
        if not is_url(location):
            location = os.path.realpath(location)
        if location not in seen and (is_url(location) or os.path.exists(location)):
            seen.add(location)
            yield location


def _runs(uid: bytes) -> list[str]:
    """Return the folders of all runs: from the last one that began before the id was made back to the first, then the others.

    A run is named by its own id, and those of its tasks are younger. A clock that was set back may have mixed them.
    """
    names = sorted(os.listdir(site.runs()), reverse=True)
    made = uid[:_TIME_BYTES].hex()
    younger = [name for name in names if name.replace("-", "")[: 2 * _TIME_BYTES] > made]
    return [os.path.join(site.runs(), name) for name in (*names[len(younger) :], *reversed(younger))]
