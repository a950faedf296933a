"""Files that the user names, opened before anything starts: where the tasks come from, and where results go."""

import os
import stat
from collections.abc import Mapping

from hs_common.errors import RefusedError

WRITTEN_BY_SCHEDULER = ("-f", "--joblog")
DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc/self/fd/")
"""Paths that lead each process somewhere else, the scheduler into nothing; a shell makes one of `>(command)`."""


def regular_file(path: str) -> str | None:
    """Return where the input can be read by offset, and again after a restart; None: it is a stream.

    Links are followed: `/dev/stdin` is another file in another process.

    Raises:
        RefusedError: There is no such file, it is a folder or a socket, or it may not be read.

    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as exc:
        raise RefusedError(f"{path}: {exc.strerror}{_command_hint(path)}") from exc
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
    if stat.S_ISDIR(mode):
        raise RefusedError(f"{path}: is a folder, expected a file with one task per line")
    if stat.S_ISSOCK(mode):
        raise RefusedError(f"{path}: is a socket, expected a file with one task per line")
    if not os.access(path, os.R_OK):
        raise RefusedError(f"{path}: you may not read it")
    real = os.path.realpath(path)
    return real if stat.S_ISREG(mode) and os.path.exists(real) else None


def open_stream(path: str) -> int:
    """Open an input that is no regular file; of a FIFO this waits until somebody writes to it.

    Raises:
        RefusedError: It cannot be opened, as a terminal that is not there.

    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc


def open_output(path: str, option: str, source: os.stat_result | None) -> int:
    """Open a file to append to, made if it is missing, not emptied yet.

    Args:
        path: Of the file.
        option: That named it.
        source: What the input is, a file or whatever stdin leads to; None: there is no input.

    Raises:
        RefusedError: It cannot be written, or it is the input itself or a database, or the scheduler could not write there.

    """
    if option in WRITTEN_BY_SCHEDULER and (os.path.abspath(path).startswith(DESCRIPTORS) or _is_fifo(path)):
        raise RefusedError(f"{option}: {path} is a pipe or a descriptor: name a file")
    try:
        # Not blocking: a FIFO without a reader is an error here, not a wait. Afterwards the descriptor is a plain one.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as exc:
        raise RefusedError(f"{option}: cannot write {path}: {exc.strerror}") from exc
    if source is not None and stat.S_ISREG(source.st_mode) and os.path.samestat(os.fstat(fd), source):
        os.close(fd)
        raise RefusedError(f"{option}: {path} is the input: choose another file")
    if _holds_database(path):
        os.close(fd)
        raise RefusedError(f"{option}: {path} is a database: choose another file")
    os.set_blocking(fd, True)
    return fd


def check_apart(opened: Mapping[str, int]) -> None:
    """Refuse that one file is named twice, as option -> descriptor; the tasks' two streams may share one.

    Raises:
        RefusedError: One would be written over the other.

    """
    found: dict[tuple[int, int], str] = {}
    for option, fd in opened.items():
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            continue
        other = found.setdefault((status.st_dev, status.st_ino), option)
        if other != option and option in WRITTEN_BY_SCHEDULER:
            raise RefusedError(f"{other} and {option} name the same file: choose another for one of them")


def check_failures(path: str, source: os.stat_result) -> None:
    """Refuse to empty what was meant for the input: -f reads in `hs submit`, and here it writes.

    Args:
        path: That -f named.
        source: What stdin leads to. Under nohup, and in a service, it is the null device: nobody gives any task.

    Raises:
        RefusedError: There are no tasks, and something is in that file.

    """
    nothing = stat.S_ISCHR(source.st_mode) and source.st_rdev == os.stat(os.devnull).st_rdev
    if nothing and os.path.isfile(path) and os.path.getsize(path):
        raise RefusedError(f"-f: {path} would be emptied, and there is no input: if it is the input, leave out -f")


def check_database(database: str, named: Mapping[str, str | None]) -> None:
    """Refuse a database in a file that is named for something else, too, as option -> path; it may not be there yet.

    Raises:
        RefusedError: One would be written over the other.

    """
    for option, path in named.items():
        if path is not None and os.path.realpath(path) == os.path.realpath(database):
            raise RefusedError(f"{option} and --database name the same file: choose another for one of them")


def _holds_database(path: str) -> bool:
    """Whether a file that would be emptied has all that was recorded of some run in it."""
    if not os.path.isfile(path) or not os.path.getsize(path):
        return False
    from hs_scheduler.stores.locations import is_database  # noqa: PLC0415 - most outputs are new

    try:
        with open(path, "rb", buffering=0) as file:
            return is_database(file.fileno())
    except OSError:
        return False  # it can be written and not be read


def _is_fifo(path: str) -> bool:
    """Whether whoever opens it waits for a reader: the one who was there may be gone when the results are written."""
    return os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode)


def _command_hint(path: str) -> str:
    """Return what to say to who gave a command where a FILE is expected, as to xargs or GNU parallel; "" to others."""
    from shutil import which  # noqa: PLC0415 - of misuse alone

    words = path.split()
    return ": a command for each line is given by -t" if words and ("{}" in path or which(words[0])) else ""
