"""The store on a PostgreSQL server."""

from hs_scheduler.stores.ownership import this_process
from hs_scheduler.stores.postgres import PostgresDatabase
from hs_scheduler.stores.sql import SqlStore


class PostgresStore(SqlStore):
    """Keeps tasks in a database on a server, which this process owns until `close`.

    Args:
        url: The database.
        program: Who we are, for those who are refused meanwhile.
        brief: Whether we own it for a moment only, so that others wait.
        create: Whether to make the tables where they are missing.
        awaited: Whether to wait for a server that does not answer.

    Raises:
        RefusedError: The URL makes no sense.
        StoppedError: Owned by another, without tables, of a newer schema, or out of reach.

    """

    def __init__(
        self,
        url: str,
        *,
        program: str = "hs-scheduler",
        brief: bool = False,
        create: bool = False,
        awaited: bool = False,
    ) -> None:
        super().__init__(PostgresDatabase(url, this_process(program, brief=brief), create=create, awaited=awaited))
