"""Locations of databases: the path of a file, or a `postgresql://` URL. What is shown of one never has a password."""

import os
import re

from hs_common.errors import RefusedError, StoppedError

NAME = "tasks.db"
"""Of the database in a folder of the site."""

URL_NAME = "tasks.url"
"""Of the text that stands there instead, where the tasks are on a server: private, for there may be a password in it."""

APPLICATION_ID = 0x68736373
"""`hscs` in the header of the file: a SQLite file of another program is not taken for one of ours."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 72
_HAS_WAL = 2
"""Of a file that has a write-ahead log, as ours have from the start. Source: sqlite.org/fileformat2.html, offset 18."""

SCHEMES = ("postgresql://", "postgres://")


def is_url(location: str) -> bool:
    """Whether it names a database on a server.

    Raises:
        RefusedError: It is a URL, but of none that we know.

    """
    if location.startswith(SCHEMES):
        return True
    if "://" in location:
        # Not its whole text: there may be a password in it.
        raise RefusedError(f"database {location.partition('://')[0]}://...: is neither a path nor a postgresql:// URL")
    return False


def check(path: str, place: str) -> None:
    """Check that a path which was named may be a task database, or become one.

    Args:
        path: Of a file.
        place: Where it was named: an option, or a setting.

    Raises:
        RefusedError: It is a folder, or a file of another kind; or a setting for URLs names it.

    """
    if place.endswith("database.url"):
        # Not its text: there may be a password in it. No file is made of a URL that is misspelt.
        raise RefusedError(f"{place}: is no postgresql:// URL: a file is named by database.file")
    if os.path.isdir(path):
        raise RefusedError(f"{place} {path}: is a folder, expected the path of a SQLite file")
    if not os.path.isfile(path):
        return
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError:
        return  # why it cannot be read is for whoever has to open it
    # A young database may have its number in the log still.
    ours = int.from_bytes(head[68:]) == APPLICATION_ID or head[18:19] == bytes([_HAS_WAL])
    if head and not (head.startswith(_MAGIC) and ours):
        raise RefusedError(f"{place} {path}: is a file of another kind, no task database")


def is_database(fd: int) -> bool:
    """Whether an open regular file is a database of SQLite, ours or anybody's; one that was just made is empty still."""
    return os.pread(fd, len(_MAGIC), 0) == _MAGIC


def shown(location: str) -> str:
    """Return a location as messages name it, and as the next command may be given it: without any password."""
    if "://" not in location:
        return location
    # Up to the last @: a password that was not encoded may have one in it.
    location = re.sub(r"(://[^:@/?]*):[^?]*@", r"\1@", location)
    return re.sub(r"(?<=[?&])(?:ssl)?password=[^&]*&?", "", location).rstrip("?&")


def of_folder(folder: str) -> str:
    """Return the location of a folder's database: its own file, or what was named instead.

    Raises:
        StoppedError: Nobody lets us look.

    """
    try:
        with open(os.path.join(folder, URL_NAME), encoding="utf-8") as file:
            return file.read().strip()
    except FileNotFoundError:
        return os.path.join(folder, NAME)
    except OSError as exc:
        raise StoppedError(f"{folder}: {exc.strerror}") from exc


def real(location: str) -> str:
    """Return what two locations of the same database have in common, whoever asks from whichever folder."""
    return shown(location) if is_url(location) else os.path.realpath(location)
