"""Which database a command means: --database, else the setting, else the site's own. A path, or the URL of a server."""

import os
from shlex import quote

from hs_common import site
from hs_common.config import load_settings
from hs_common.errors import StoppedError
from hs_common.logs import configure_by
from hs_common.setting import A_DATABASE, require_text
from hs_scheduler.stores.locations import NAME, check, is_url, of_folder, real, shown


def to_read(asked: str | None) -> str:
    """Return the database to look at: the one used last when none is named.

    Raises:
        StoppedError: There is none yet.

    """
    location = named(asked) or _without_links(of_folder(site.latest()))
    if not is_url(location) and not os.path.exists(location):
        hint = "" if asked else ": hs-cluster and hs submit make one, --database names another"
        raise StoppedError(f"there is no database {location} yet{hint}")
    return location


def to_write(asked: str | None) -> tuple[str, bool]:
    """Return the database to add tasks to, and whether it is the site's standing queue."""
    location = named(asked)
    return (location, False) if location else (os.path.join(site.main(), NAME), True)


def not_the_cluster(asked: str | None, location: str) -> str:
    """Return what to tell who names no database and changes the one used last while a cluster works on the standing queue.

    Args:
        asked: What was typed.
        location: The database that it means.

    """
    standing = of_folder(site.main())
    if named(asked) or real(standing) == real(location):
        return ""
    from hs_scheduler.stores.engines import owner_of  # noqa: PLC0415 - most name one, or have one

    owner = owner_of(standing)
    if owner is None or owner.brief:
        return ""
    return f"this is the database used last; that of the cluster which runs here: --database {quote(shown(standing))}"


def _without_links(location: str) -> str:
    """Return the file that `latest` leads to: to be named, and changed, as what it is."""
    return location if is_url(location) else os.path.realpath(location)


def named(asked: str | None) -> str:
    """Return the database that is asked for, else the one that a setting names, or "".

    Raises:
        RefusedError: An empty name was typed, as of a variable that is not set: no wish for the standing queue. Or that of
            something else than a database.

    """
    require_text("--database", asked, A_DATABASE)
    location, place = (asked, "--database") if asked else _configured()
    if location and not is_url(location):
        check(location, place)
    return location


def _configured() -> tuple[str, str]:
    """Return the database that a setting names, or "", and the name of the setting."""
    settings = load_settings()
    configure_by(settings)
    key = "database.url" if settings.get("database.url") else "database.file"
    return str(settings.get(key) or ""), key
