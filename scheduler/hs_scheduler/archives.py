"""Archives: what ended long ago, moved out of a database into numbered files beside it (`hs initdb --rotate`).

    tasks.db      what is worked on; `meta` says how many archives there are
    tasks.1.db    the oldest; every archive is a database of the same schema
    tasks.2.db

The number in `meta` is what counts: it is committed together with the removal of the rows, so a file beyond it is what a rotation
left that was interrupted, and nobody looks at it.
"""

import os

from hs_scheduler.reader import Reader


def path_of(database: str, number: int) -> str:
    """Return the path of an archive, the first one is 1."""
    stem, extension = os.path.splitext(database)
    return f"{stem}.{number}{extension}"


def count_of(reader: Reader) -> int:
    """Return how many archives belong to this database."""
    (count,) = reader.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name = 'archives'").fetchone()
    return int(count)


def paths(reader: Reader, database: str) -> list[str]:
    """Return the paths of the archives of this database, the oldest first."""
    real = os.path.realpath(database)
    return [path_of(real, number) for number in range(1, count_of(reader) + 1)]
