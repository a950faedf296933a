"""Files that hold secrets: how they are written, and what is refused when they are read.

A file of ours is 0600, its own owner's, in folders that nobody else can write to. We refuse anything else, as ssh does,
rather than mend it: by then the secret may have been read or replaced.
"""

import os
import stat

from hs_common.errors import RefusedError

_FILE_BYTES_MAX = 64 * 1024
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def write_private(path: str, content: bytes, *, lasting: bool = True) -> None:
    """Write a file with mode 0600 under its final name at once, or not at all; `lasting`: it survives the loss of power.

    Raises:
        OSError: The folder cannot be written, or the disk is full, with the path; nothing is left behind.

    """
    temporary = f"{path}.{os.getpid()}.{os.urandom(6).hex()}"
    # O_EXCL and O_NOFOLLOW: nobody can have put a file or a link there before us. The umask can only take from the mode.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            if lasting:
                os.fsync(fd)
        os.rename(temporary, path)
    except BaseException as exc:
        os.unlink(temporary)
        if isinstance(exc, OSError):
            exc.filename = path  # else none: it was a descriptor that could not be written
        raise
    if lasting:
        _sync_folder(os.path.dirname(path) or ".")


def read_private(path: str) -> bytes:
    """Return the content of a file that only we can read and that only we (or root) can have written.

    Raises:
        RefusedError: No such file, or somebody else could have read, written or replaced it.

    """
    try:
        # Links are resolved first, so that the folders that are checked are those of the file itself.
        path = os.path.realpath(path, strict=True)
        # O_NONBLOCK: opening a FIFO that somebody left there must not wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
    try:
        _check_file(path, os.fstat(fd))
        _check_folders(path)
        content = os.read(fd, _FILE_BYTES_MAX + 1)  # of a regular file: all of it at once
    finally:
        os.close(fd)
    if len(content) > _FILE_BYTES_MAX:
        raise RefusedError(f"{path}: over {_FILE_BYTES_MAX} bytes, this is no file of ours")
    return content


def _check_file(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{path}: not a regular file")
    if status.st_uid != os.geteuid():
        raise RefusedError(f"{path}: belongs to user {status.st_uid}, not to you ({os.geteuid()})")
    if status.st_mode & _FOR_OTHERS:
        raise RefusedError(
            f"{path}: mode {stat.S_IMODE(status.st_mode):04o} lets others in: chmod 600 it and make new keys"
        )


def _check_folders(path: str) -> None:
    folder = os.path.dirname(path)
    while True:
        status = os.stat(folder)
        if status.st_uid not in (0, os.geteuid()):
            raise RefusedError(f"{path}: folder {folder} belongs to user {status.st_uid}")
        # Sticky, as /tmp: others can add names there, but not replace ours.
        if status.st_mode & _WRITABLE_BY_OTHERS and not status.st_mode & stat.S_ISVTX:
            raise RefusedError(
                f"{path}: folder {folder} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
            )
        if folder == "/":
            return
        folder = os.path.dirname(folder)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
