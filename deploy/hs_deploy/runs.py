"""The folders of one run.

<site>/runs/<run-id>/   tasks.db (or a link to the database that was named), input (copy of a piped stdin),
                        connect/<role>.json (only while others may join),
                        outputs/ (with -k and --group-output, until they are printed)
<runtime>               the socket of a local cluster; gone with the run
"""

import contextlib
import os
from dataclasses import dataclass

from hs_common import site
from hs_common.errors import RefusedError

DATABASE_NAME = "tasks.db"
SPOOL_NAME = "input"
SOCKET_NAME = "broker"
OUTPUTS_NAME = "outputs"
ORDER_NAME = "order"
"""In the folder of the outputs: in which order they are to be printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run and its places."""

    uid: bytes
    """UUIDv7, 16 bytes."""
    folder: str | None
    """None: nothing of this run is kept (--no-db)."""
    database: str | None
    runtime: str

    @property
    def spool(self) -> str:
        """Path of the copy of a piped input."""
        assert self.folder is not None, "a run without a database has no spool"
        return os.path.join(self.folder, SPOOL_NAME)

    @property
    def outputs(self) -> str:
        """Path of the folder of outputs that are still to be printed."""
        assert self.folder is not None, "a run that spools outputs has a folder"
        return os.path.join(self.folder, OUTPUTS_NAME)

    @property
    def endpoint(self) -> str:
        """Where the broker listens for this machine."""
        return f"ipc://{self.runtime}/{SOCKET_NAME}"


def make_run(uid: bytes, *, no_db: bool, database: str | None, keep_folder: bool) -> Run:
    """Make the folders of a run, and let `latest` point to it.

    Args:
        uid: Of the run.
        no_db: Nothing about tasks on disk.
        database: Path of a database that was named, or None: the run's own.
        keep_folder: Make the run's folder even without a database.

    Raises:
        RefusedError: The site cannot be written.

    """
    folder = None
    if not no_db or keep_folder:
        folder = os.path.join(site.runs(), uuid_text(uid))
        try:
            os.mkdir(folder, 0o700)
            if database is not None:
                # So that whoever follows `latest` finds the tasks under the one name, wherever they are.
                os.symlink(database, os.path.join(folder, DATABASE_NAME))
        except OSError as exc:
            raise RefusedError(f"{folder}: {exc.strerror}") from exc
    if folder is not None and not no_db:
        site.set_latest(folder)
        database = database or os.path.join(folder, DATABASE_NAME)
    return Run(uid=uid, folder=folder, database=database, runtime=site.runtime_path())


def remove_runtime(run: Run) -> None:
    """Remove the folder of sockets; the broker may have done so already."""
    with contextlib.suppress(OSError):
        for name in os.listdir(run.runtime):
            os.unlink(os.path.join(run.runtime, name))
        os.rmdir(run.runtime)


def uuid7(wall: float, random: bytes) -> bytes:
    """Return a UUIDv7. `wall`: seconds since the epoch; `random`: 10 bytes. Source: RFC 9562, section 5.7."""
    number = int(wall * 1000) << 80 | int.from_bytes(random)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return number.to_bytes(16)


def uuid_text(uid: bytes) -> str:
    """Return it as users see it."""
    text = uid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
