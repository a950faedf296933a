"""The store in a SQLite file."""

from collections.abc import Iterator

from hs_common.clock import wall
from hs_common.crash import crash_point
from hs_common.errors import RefusedError
from hs_common.tasks import Detail
from hs_scheduler.stores.database import Database
from hs_scheduler.stores.ownership import this_process
from hs_scheduler.stores.sql import SqlStore
from hs_scheduler.stores.statements import SUBMITTED, detail_of


class SqliteStore(SqlStore):
    """Keeps tasks in a file that this process owns until `close`.

    Args:
        path: The database; made if it is missing.
        program: Who we are, for those who are refused meanwhile.
        brief: Whether we own it for a moment only, so that others wait.

    Raises:
        RefusedError: It is an archive of another database.
        StoppedError: Owned by another process, damaged, of a newer schema, or out of reach.

    """

    def __init__(self, path: str, *, program: str = "hs-scheduler", brief: bool = False) -> None:
        self._database = Database(path, this_process(program, brief=brief), wall())
        with self._database.translated():
            archive = self._database.connection.execute("SELECT 1 FROM meta WHERE name = 'archive'").fetchone()
        if archive:
            self._database.close()
            raise RefusedError(f"{path} is an archive: its tasks are over, and it is only read")
        super().__init__(self._database)

    def submitted(self) -> Iterator[tuple[bytes, Detail | None, int, int]]:
        """Yield what was submitted, also what is in archives: `--once` must not add it again."""
        from hs_scheduler.stores.reader import reading  # noqa: PLC0415 - few databases have archives

        for archive in self.archives():
            with reading(archive) as reader:
                for args, *detail, group, priority in reader.stream(SUBMITTED):
                    yield args, detail_of(*detail), group, priority
        yield from super().submitted()

    def clear(self) -> None:
        """Remove every task and run, and the archives."""
        from hs_scheduler.stores import archives  # noqa: PLC0415

        with self._database.translated():
            archives.remove_forgotten(self._database.connection, self._database.path)
        super().clear()
        crash_point("truncate.cleared")
        with self._database.translated():
            archives.remove_forgotten(self._database.connection, self._database.path)

    def vacuum(self) -> None:
        """Give the space of removed rows back to the file system."""
        with self._database.translated():
            self._database.connection.execute("VACUUM")
        self._database.checkpoint()

    def rotate(self) -> tuple[int, str]:
        """Move what is over into a new archive; return how many rows, and its path."""
        from hs_scheduler.stores import archives  # noqa: PLC0415

        with self._database.translated():
            return archives.rotate(self._database.connection, self._database.path, wall())

    def archives(self) -> list[str]:
        """Return the paths of its archives, the oldest first."""
        from hs_scheduler.stores import archives  # noqa: PLC0415
        from hs_scheduler.stores.reader import SqliteReader  # noqa: PLC0415

        return archives.paths(SqliteReader(self._database.connection), self._database.path)
