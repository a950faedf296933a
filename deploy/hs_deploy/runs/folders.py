"""The folders of one run.

<site>/runs/<run-id>/   tasks.db (or a link to the database that was named; of one on a server tasks.url, its URL),
                        input (copy of a piped stdin), settings.json,
                        worker.map (what the database does not hold yet),
                        connect/<role>.json (only while others may join),
                        outputs/ (with -k and --group-output, until they are printed)
<runtime>               the socket of a local cluster, and the connection file for commands; gone with the run
"""

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from hs_common import site
from hs_common.errors import RefusedError, StoppedError
from hs_common.filesystems import network_name
from hs_common.ids import uuid_text
from hs_common.values import dataclass

DATABASE_NAME = "tasks.db"
URL_NAME = "tasks.url"
"""Instead of it, where the tasks are on a server. Private: there may be a password in it."""
SPOOL_NAME = "input"
SOCKET_NAME = "broker"
CONTROL_NAME = "control.json"
OUTPUTS_NAME = "outputs"
ORDER_NAME = "order"
"""In the folder of the outputs: in which order they are to be printed."""
PRINTED_NAME = "printed"
"""Likewise: so many bytes of the order are dealt with. Whoever prints holds a lock on it."""
SETTINGS_NAME = "settings.json"
MAP_NAME = "worker.map"
"""What the worker knows and the database does not yet."""

KEPT_MIN = 1_000
"""So many runs are kept, however old they are."""

_COMPLETE_MODE = 0o400
"""Of a spool that holds all of its stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run and its places."""

    uid: bytes
    """UUIDv7, 16 bytes."""
    folder: str | None
    """None: nothing of this run is kept (--no-db)."""
    database: str | None
    """A path, or the URL of a server; None: nothing is recorded."""
    runtime: str
    map: str = ""
    """Path of the map of the worker, or "": it is in memory only (nothing can be continued, or it is a network file system)."""

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

    @property
    def control(self) -> str:
        """Path of the connection file by which commands reach the scheduler; the broker writes it."""
        return os.path.join(self.runtime, CONTROL_NAME)


def make_run(uid: bytes, *, no_db: bool, database: str | None, keep_folder: bool, known: bool = False) -> Run:
    """Make the folders of a run.

    Args:
        uid: Of the run.
        no_db: Nothing about tasks on disk.
        database: Path or URL of a database that was named, or None: the run's own.
        keep_folder: Make the run's folder even without a database.
        known: The folder may be there already: it is used again.

    Raises:
        RefusedError: The site cannot be written.

    """
    folder = None
    if not no_db or keep_folder:
        folder = os.path.join(site.runs(), uuid_text(uid))
        try:
            if not (known and os.path.isdir(folder)):
                os.mkdir(folder, 0o700)
            own = os.path.join(folder, DATABASE_NAME)
            if database is not None and is_server(database):
                _write_privately(os.path.join(folder, URL_NAME), database + "\n")
            elif database is not None and database != own and not os.path.lexists(own):
                # So that whoever follows `latest` finds the tasks under the one name, wherever they are.
                os.symlink(database, own)
        except OSError as exc:
            raise RefusedError(f"{folder}: {exc.strerror}") from exc
    if folder is not None and not no_db:
        database = database or os.path.join(folder, DATABASE_NAME)
    mapped = folder is not None and not no_db and not network_name(folder)
    return Run(
        uid=uid,
        folder=folder,
        database=database,
        runtime=site.runtime_path(),
        map=os.path.join(folder, MAP_NAME) if folder is not None and mapped else "",
    )


def earlier(uid: bytes, database: str) -> Run | None:
    """Return a run of this site that was recorded and not ended in order, or None: nothing of it is left to look after."""
    folder = os.path.join(site.runs(), uuid_text(uid))
    if not os.path.exists(os.path.join(folder, SETTINGS_NAME)):
        return None
    return Run(uid=uid, folder=folder, database=database, runtime="", map=os.path.join(folder, MAP_NAME))


def is_server(database: str) -> bool:
    """Whether a database is on a server, and not a file."""
    return "://" in database


def make_outputs(run: Run, *, in_order: bool) -> int:
    """Make the folder of outputs that wait to be printed; what a killed run left there waits too, if it is as `in_order` says.

    Returns:
        Descriptor of a lock: as long as it is open nobody else prints them.

    Raises:
        RefusedError: The site cannot be written.
        StoppedError: Another hs-cluster prints them.

    """
    try:
        fd = _lock_outputs(run.outputs)
        names = os.listdir(run.outputs)
        if (ORDER_NAME in names) != in_order:
            for name in names:
                if name != PRINTED_NAME:
                    os.unlink(os.path.join(run.outputs, name))
            os.ftruncate(fd, 0)
    except OSError as exc:
        raise RefusedError(f"{run.outputs}: {exc.strerror}") from exc
    return fd


def _lock_outputs(folder: str) -> int:
    import fcntl  # noqa: PLC0415 - few print

    path = os.path.join(folder, PRINTED_NAME)
    while True:
        os.makedirs(folder, 0o700, exist_ok=True)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # who printed has just removed the folder
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StoppedError(f"{folder}: another hs-cluster prints these outputs; wait until it has ended") from exc
        except OSError:
            return fd  # a file system without locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(fd)):
                return fd
        os.close(fd)


def has_outputs(uid: bytes) -> bool:
    """Whether a run of this site has left outputs that wait to be printed."""
    return os.path.isdir(os.path.join(site.runs(), uuid_text(uid), OUTPUTS_NAME))


def record(run: Run, settings: Mapping[str, Any]) -> None:
    """Write down the settings until the scheduler has recorded them, and let `latest` point to the run.

    Raises:
        RefusedError: The site cannot be written.

    """
    assert run.folder is not None, "a run without a database records nothing"
    path = os.path.join(run.folder, SETTINGS_NAME)
    try:
        _write_privately(path, json.dumps({**settings, "runtime": run.runtime}))
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
    site.set_latest(run.folder)


def forget_settings(run: Run) -> None:
    """Remove what `record` wrote: the database has it."""
    if run.folder is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(run.folder, SETTINGS_NAME))


def remove_remains(folder: str) -> None:
    """Remove the sockets of a run that was killed with everybody who would have removed them."""
    runtime = (read_settings(folder) or {}).get("runtime")
    if isinstance(runtime, str) and os.path.basename(runtime).startswith("hs-"):
        _remove(runtime)


def read_settings(folder: str) -> dict[str, Any] | None:
    """Return what `record` wrote, or None: this is no folder of a run."""
    try:
        with open(os.path.join(folder, SETTINGS_NAME), encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def mark_complete(fd: int) -> None:
    """Mark a spool as holding all of its stream; it survives the death of everybody."""
    os.fchmod(fd, _COMPLETE_MODE)


def is_complete(spool: str) -> bool:
    """Whether a spool holds all of its stream."""
    return os.stat(spool).st_mode & 0o777 == _COMPLETE_MODE


def remove_runtime(run: Run) -> None:
    """Remove the folder of sockets; the broker may have done so already."""
    _remove(run.runtime)


def _write_privately(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def remove_rest(run: Run) -> None:
    """Remove what an hs-cluster was killed over, of a run that has come to its end: what it removes last in order goes last."""
    assert run.folder is not None, "it was recorded"
    remove_remains(run.folder)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(run.spool)
    remove_map(run)
    forget_settings(run)


def remove_map(run: Run) -> None:
    """Remove the map of the worker: all that it knew is in the database."""
    if run.map:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(run.map)


def _remove(runtime: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(runtime):
            os.unlink(os.path.join(runtime, name))
        os.rmdir(runtime)


def uuid7(wall: float, random: bytes) -> bytes:
    """Return a UUIDv7. `wall`: seconds since the epoch; `random`: 10 bytes. Source: RFC 9562, section 5.7."""
    number = int(wall * 1000) << 80 | int.from_bytes(random)
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return number.to_bytes(16)


def uid_of(path: str) -> bytes:
    """Return the id of the run of `--once` with this file as input: always the same. Source: RFC 9562, version 8."""
    import hashlib  # noqa: PLC0415 - it loads OpenSSL

    number = int.from_bytes(hashlib.blake2b(os.fsencode(path), digest_size=16).digest())
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return number.to_bytes(16)
