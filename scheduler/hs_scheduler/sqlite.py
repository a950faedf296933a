"""The store in a SQLite file."""

from hs_common.clock import wall
from hs_scheduler.database import Database
from hs_scheduler.ownership import this_process
from hs_scheduler.sql import SqlStore


class SqliteStore(SqlStore):
    """Keeps tasks in a file that this process owns until `close`.

    Args:
        path: The database; made if it is missing.
        program: Who we are, for those who are refused meanwhile.
        brief: Whether we own it for a moment only, so that others wait.

    Raises:
        StoppedError: Owned by another process, damaged, of a newer schema, or out of reach.

    """

    def __init__(self, path: str, *, program: str = "hs-scheduler", brief: bool = False) -> None:
        super().__init__(Database(path, this_process(program, brief=brief), wall()))
