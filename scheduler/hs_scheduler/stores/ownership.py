"""Who owns a database: exactly one process may have it open for writing.

On a local disk a lock file says so: `tasks.db.lock`, held by flock, with the owner's host, boot, pid and program inside, removed
at the end. The kernel drops the lock with the process, so one that was left behind means nothing. Why a file of its own: closing
any descriptor of the database file would drop SQLite's own locks.

On a network file system locks may be lost, or reach nobody but this host (Lustre mounted with localflock): and who only opens
and closes a database that another host has open removes its log. So there the lock file also says when its owner was heard last.
That is renewed every 30 s, before the next transaction at the latest, and keeps other hosts out until it is three renewals old.
Clocks of two hosts may differ by more than that: so whoever finds an owner of another host silent looks on for another renewal
first. A row in the database says the same (`owner_row`), for where the file has no lock at all, or was removed.
"""

import fcntl
import json
import os
import select
from typing import Any, NamedTuple

from hs_common import limits
from hs_common.clock import wall
from hs_common.errors import StoppedError

RENEW_S = 30.0
"""How often an owner on a network file system says that it is alive."""

STALE_S = 3 * RENEW_S
"""What was said longer ago is of nobody any more."""

WATCH_S = 1.5 * RENEW_S
"""How long an owner on another host is looked at that has been silent by our clock."""

CLOCKS_APART_MAX_S = 86_400.0
"""No two clocks differ by so much: whoever was silent for longer is not looked at."""

WAIT_S = 10.0
"""How long to wait for an owner that needs the database only for a moment (hs submit)."""

COMMAND_WAIT_S = limits.STORE_WAIT_S
"""How long a command waits for it, which has nothing else to do: a million lines take longer than `WAIT_S`."""

_TRY_S = 0.02
_LOOK_S = 0.5
_CONTENT_BYTES_MAX = 4096


class Owner(NamedTuple):
    """A process that owns a database, or wants to."""

    program: str
    brief: bool
    """It will be gone in a moment: waiting for it makes sense."""
    host: str
    boot: str
    pid: int
    uuid: str
    control: str = ""
    """Path of the connection file by which it takes requests; "": it takes none, or none yet."""
    renewed_at: int = 0
    """When it was heard last, seconds since the epoch; 0: on a local disk, where the lock says it all."""

    def lives_beside(self, host: str, boot: str, now: float) -> bool:
        """Whether it may be alive though a process of this host could lock its file. Of the future: its clock is ahead."""
        return self.is_beside(host, boot) and now - self.renewed_at < STALE_S

    def is_beside(self, host: str, boot: str) -> bool:
        """Whether it is of another host, or of another life of this one."""
        return (self.host, self.boot) != (host, boot)

    def __str__(self) -> str:
        """Return how a message names it."""
        return f"{self.program} on host {self.host}, pid {self.pid}" if self.pid else self.program


UNNAMED = Owner("another program", brief=True, host="?", boot="", pid=0, uuid="")
"""Who holds a lock file in which nothing stands: it has only just taken it, or is about to remove it, or looks at it."""


def this_process(program: str, *, brief: bool) -> Owner:
    """Return this process as an owner."""
    return Owner(program, brief, *_here(), os.getpid(), os.urandom(16).hex())


def patience_s(owner: Owner) -> float:
    """Return how long this one waits for an owner that needs the database only for a moment."""
    return COMMAND_WAIT_S if owner.brief else WAIT_S


def _here() -> tuple[str, str]:
    """Return host and boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        boot = ""
    return os.uname().nodename, boot


class LockFile:
    """The lock beside a database."""

    def __init__(self, path: str, fd: int, uuid: str) -> None:
        self._path = path
        self._fd = fd
        self._uuid = uuid

    @classmethod
    def take(cls, path: str, owner: Owner, *, needed: bool) -> "LockFile | None":
        """Take the lock, after waiting for a brief owner.

        Args:
            path: Of the lock file.
            owner: We; on a network file system with the present time.
            needed: Whether the lock says it all. If not, None is returned where the file system has none.

        Raises:
            StoppedError: Somebody else has it, or the folder cannot be written, or the disk is full.

        """
        tries_left = int(patience_s(owner) / _TRY_S)
        while True:
            fd = _open(path)
            try:
                holder = _who_keeps_out(fd, path, owner, says_all=needed)
            except OSError as exc:
                os.close(fd)
                if not needed:
                    return None
                raise StoppedError(f"cannot lock the database with {path}: {exc.strerror}") from exc
            if holder is None and _same_file(fd, path):
                _enter(fd, path, owner)
                return cls(path, fd, owner.uuid)
            os.close(fd)
            if holder is None:
                continue  # Its owner removed it between our open and our lock: there is a newer one, or none.
            if not holder.brief or not tries_left:
                raise StoppedError(f"database {path.removesuffix('.lock')} is owned by {holder}")
            tries_left -= 1
            select.poll().poll(_TRY_S * 1000)

    def announce(self, owner: Owner) -> None:
        """Say more of the owner. In one write of what is longer than before: a reader sees either."""
        os.pwrite(self._fd, json.dumps(owner._asdict()).encode(), 0)

    def renew(self, owner: Owner) -> None:
        """Say when the owner was heard last.

        Raises:
            StoppedError: Another host took it for dead.

        """
        if not self._is_ours():
            raise StoppedError(f"database {self._path.removesuffix('.lock')} was taken over by another scheduler")
        self.announce(owner)

    def release(self) -> None:
        """Remove the file, then drop the lock: in this order nobody can have taken it meanwhile."""
        if self._is_ours():
            os.unlink(self._path)
        os.close(self._fd)

    def _is_ours(self) -> bool:
        """Whether no other host has taken it from us, nor anybody removed it."""
        said = _read(self._fd)
        return _same_file(self._fd, self._path) and said is not None and said.uuid == self._uuid


def holder_of(path: str) -> Owner | None:
    """Return who holds the lock file now, or None: nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd) or UNNAMED
    except OSError:
        return None
    else:
        holder = _read(fd)
        return holder if holder is not None and holder.renewed_at and holder.lives_beside(*_here(), wall()) else None
    finally:
        os.close(fd)


def _open(path: str) -> int:
    """Open a lock file, or make it.

    Raises:
        StoppedError: The folder cannot be written, or the disk is full.

    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise StoppedError(f"cannot lock the database with {path}: {exc.strerror}") from exc


def _who_keeps_out(fd: int, path: str, owner: Owner, *, says_all: bool) -> Owner | None:
    """Lock the file; return who keeps us from being its owner, or None: nobody does.

    `says_all`: whether a lock reaches everybody. If not, who stands in the file may be alive though we could lock it.

    Raises:
        OSError: The file system has no locks.

    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Who only looks has it for a moment too, and the file may be of an owner that was killed.
        return (None if _is_shared(fd) else _read(fd)) or UNNAMED
    found = None if says_all else _read(fd)
    if found is None or not found.is_beside(owner.host, owner.boot):
        return None
    lives = found.lives_beside(owner.host, owner.boot, owner.renewed_at) or _renews(path, found, owner)
    return found if lives else None


def _enter(fd: int, path: str, owner: Owner) -> None:
    """Write the owner into a file that is locked; where that fails nothing is left.

    Raises:
        StoppedError: The disk is full.

    """
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(owner._asdict()).encode(), 0)
    except OSError as exc:
        os.unlink(path)
        os.close(fd)
        raise StoppedError(f"cannot lock the database with {path}: {exc.strerror}") from exc


def _renews(path: str, silent: Owner, owner: Owner) -> bool:
    """Return whether an owner that was silent for long by our clock says something while we look on."""
    from hs_common.logs import get_logger  # noqa: PLC0415 - hardly any owner is silent

    silence_s = owner.renewed_at - silent.renewed_at
    if silence_s >= CLOCKS_APART_MAX_S:
        return False
    watch_s = WAIT_S if silent.brief else WATCH_S
    log = get_logger("scheduler")
    log.warning("owner.watched", owner=str(silent), silent_s=silence_s, watch_s=watch_s, reason="clocks may differ")
    for _ in range(int(watch_s / _LOOK_S)):
        select.poll().poll(_LOOK_S * 1000)
        if (said := _said_at(path)) != silent:
            return said is not None  # else it has left
    return False


def _said_at(path: str) -> Owner | None:
    """Return whom a lock file names now. Opened anew: only then a network file system asks its server."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return _read(fd)
    finally:
        os.close(fd)


def _is_shared(fd: int) -> bool:
    """Return whether nobody has the lock for himself (any more); if so we share it until the descriptor is closed."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(fd: int) -> Owner | None:
    try:
        content: dict[str, Any] = json.loads(os.pread(fd, _CONTENT_BYTES_MAX, 0))
        return Owner(**content)
    except (OSError, ValueError, TypeError):
        return None


def _same_file(fd: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    here = os.fstat(fd)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
