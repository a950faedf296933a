"""Which engine keeps a database: the path of a file means SQLite, a `postgresql://` URL a PostgreSQL server.

Each engine is loaded only when it is used.
"""

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from hs_common.errors import StoppedError
from hs_scheduler.stores.locations import is_url

if TYPE_CHECKING:
    from hs_scheduler.stores.ownership import Owner
    from hs_scheduler.stores.reader import Reader
    from hs_scheduler.stores.sql import SqlStore
    from hs_scheduler.tasks.dialect import Dialect


def open_now(
    location: str,
    *,
    program: str = "hs-scheduler",
    brief: bool = False,
    create: bool = False,
    awaited: bool = False,
) -> "SqlStore":
    """Open a database for writing, as its one owner, if that can be done at this moment.

    Args:
        location: Path or URL.
        program: Who we are, for those who are refused meanwhile.
        brief: Whether we own it for a moment only, so that others wait.
        create: Whether to make the tables on a server where they are missing; a SQLite file always gets them.
        awaited: Whether to wait for a server that does not answer, for it may be starting again.

    Raises:
        RefusedError: It is no location, or its driver is not installed.
        StoppedError: Owned by another, damaged, of a newer schema, or out of reach.
        StoreBusyError: Locked, or the disk is full: try again later.

    """
    if is_url(location):
        from hs_scheduler.stores.postgres_store import PostgresStore  # noqa: PLC0415

        return PostgresStore(location, program=program, brief=brief, create=create, awaited=awaited)
    from hs_scheduler.stores.sqlite import SqliteStore  # noqa: PLC0415

    return SqliteStore(location, program=program, brief=brief)


def open_store(
    location: str, *, program: str = "hs-scheduler", brief: bool = False, create: bool = False
) -> "SqlStore":
    """Open a database as `open_now`, for those who do not wait: what passes is a StoppedError too."""
    from hs_scheduler.stores.store import StoreBusyError  # noqa: PLC0415

    try:
        return open_now(location, program=program, brief=brief, create=create)
    except StoreBusyError as exc:
        raise StoppedError(str(exc)) from exc


def open_reader(location: str) -> "AbstractContextManager[Reader]":
    """Open a database only to look at it, whoever may be writing.

    Raises:
        RefusedError: As `open_store`.
        StoppedError: There is none, or it cannot be read now.

    """
    if is_url(location):
        from hs_scheduler.stores.postgres_reader import reading as reading_server  # noqa: PLC0415

        return reading_server(location)
    from hs_scheduler.stores.reader import reading  # noqa: PLC0415

    return reading(location)


def owner_of(location: str) -> "Owner | None":
    """Return the process that owns a database now, or None: nobody does.

    Raises:
        RefusedError: As `open_store`.
        StoppedError: A server is out of reach.

    """
    if is_url(location):
        from hs_scheduler.stores.postgres_reader import holder  # noqa: PLC0415

        return holder(location)
    from hs_scheduler.stores.ownership import holder_of  # noqa: PLC0415

    return holder_of(f"{os.path.realpath(location)}.lock")


def was_lost(location: str) -> bool:
    """Whether the last owner of a database, which nobody owns now, has not ended in order: another may be on its way.

    Raises:
        RefusedError: As `open_store`.
        StoppedError: A server is out of reach.

    """
    if is_url(location):
        from hs_scheduler.stores import postgres_reader  # noqa: PLC0415

        return postgres_reader.was_lost(location)
    return os.path.exists(f"{os.path.realpath(location)}.lock")


def dialect_of(location: str) -> "Dialect":
    """Return how questions are put to the engine of a location."""
    from hs_scheduler.tasks.dialect import POSTGRES, SQLITE  # noqa: PLC0415

    return POSTGRES if is_url(location) else SQLITE
