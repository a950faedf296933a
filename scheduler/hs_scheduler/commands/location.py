"""Which database a command means: --database, else the setting, else the site's own."""

import os

from hs_common import site
from hs_common.config import load_settings
from hs_common.errors import RefusedError, StoppedError
from hs_common.logs import configure_by

NAME = "tasks.db"


def to_read(asked: str | None) -> str:
    """Return the database to look at: the one used last when none is named.

    Raises:
        StoppedError: There is none yet.

    """
    path = asked or configured() or os.path.join(site.latest(), NAME)
    if not os.path.exists(path):
        hint = "" if asked else ": hs-cluster and hs submit make one, --database names another"
        raise StoppedError(f"there is no database {path} yet{hint}")
    return path


def to_write(asked: str | None) -> tuple[str, bool]:
    """Return the database to add tasks to, and whether it is the site's standing queue."""
    path = asked or configured()
    return (path, False) if path else (os.path.join(site.main(), NAME), True)


def configured() -> str:
    """Return the database that a setting names, or ""."""
    settings = load_settings()
    configure_by(settings)
    if settings.get("database.url"):
        raise RefusedError("database.url is set, but only SQLite files are supported: use database.file")
    return str(settings.get("database.file") or "")
