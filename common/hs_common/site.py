"""Where things are kept.

<site>                    ~/.hypershell, or HYPERSHELL_SITE
  runs/<run-id>/tasks.db  one folder for each one-shot
  main/tasks.db           the standing queue
  latest                  link to the folder of the database used last
  connect/<name>/<role>.json, keys/   of standing clusters
<runtime>                 sockets of a local cluster: private, on a local disk, with a short path
"""

import os
import stat

from hs_common.errors import RefusedError, StoppedError
from hs_common.filesystems import network_name

_SOCKET_PATH_BYTES_MAX = 107
"""Of sockaddr_un, without its NUL."""
_SOCKET_NAME_BYTES_MAX = 16
"""Of a socket inside the runtime folder, its slash included."""


def site() -> str:
    """Return the site folder; it is made (0700) if it is missing.

    Raises:
        RefusedError: It cannot be made, or others can write to it, or what is made in it would be of no use.

    """
    os.umask(mask := os.umask(0))
    if mask & stat.S_IRWXU:
        raise RefusedError(
            f"umask {mask:04o}: not even you could use what is made: umask 0077 keeps it from all others"
        )
    path = os.path.abspath(os.environ.get("HYPERSHELL_SITE") or os.path.expanduser("~/.hypershell"))
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError as exc:
        raise RefusedError(f"site {path}: {exc.strerror}: set HYPERSHELL_SITE to a folder of your own") from exc
    if not stat.S_ISDIR(status.st_mode):
        raise RefusedError(f"site {path}: not a folder")
    if status.st_uid != os.geteuid():
        raise RefusedError(f"site {path}: belongs to user {status.st_uid}, not to you: set HYPERSHELL_SITE")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedError(f"site {path}: others can write to it: chmod go-w it")
    return path


def runs() -> str:
    """Return the folder of the one-shot runs, made if it is missing."""
    return _folder("runs")


def main() -> str:
    """Return the folder of the standing queue, made if it is missing."""
    return _folder("main")


def latest() -> str:
    """Return the path of the link to the folder of the database used last; it may not be there yet."""
    return os.path.join(site(), "latest")


def set_latest(folder: str) -> None:
    """Let `latest` point to this folder, in one step.

    Raises:
        RefusedError: The site cannot be written, or a copy of it that followed links has a folder there.

    """
    temporary = os.path.join(site(), f".latest.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        os.symlink(os.path.abspath(folder), temporary)
        os.replace(temporary, latest())
    except IsADirectoryError as exc:
        os.unlink(temporary)
        raise RefusedError(
            f"{latest()} is a folder, and was a link to one: remove it, or give it another name"
        ) from exc
    except OSError as exc:
        raise RefusedError(f"{latest()}: {exc.strerror}") from exc


def connection_path(name: str, role: str) -> str:
    """Return the path of a standing cluster's connection file for a role; its folder is made if it is missing.

    Raises:
        RefusedError: The name would lead out of the site.

    """
    return os.path.join(_folder("connect", _cluster_name(name)), f"{role}.json")


def connection_file(named: str, role: str) -> str:
    """Return the path of the connection file that was named: by a path, or by the name of a cluster of this site.

    Raises:
        RefusedError: The name would lead out of the site.

    """
    if "/" in named or os.path.isfile(named):
        return named
    # Nothing is made: who mistypes a name has no such cluster.
    return os.path.join(site(), "connect", _cluster_name(named), f"{role}.json")


def unknown_cluster(name: str, role: str) -> str:
    """Return what to tell who named a cluster that has no connection file for a role."""
    parent = _folder("connect")
    known = sorted(other for other in os.listdir(parent) if os.path.exists(os.path.join(parent, other, f"{role}.json")))
    return f"there is no cluster {name}; known: {', '.join(known) or 'none, hs-broker --name NAME makes one'}"


def runtime_path() -> str:
    """Return where the sockets of one local cluster can be: a name that nobody has yet.

    The folder is made by who listens in it (`make_runtime`), who also removes it when it is left alone: so whoever chose the name
    may be killed at any moment and leaves nothing.

    Raises:
        RefusedError: No place for it: the reason of each that was tried.

    """
    reasons = []
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108
        if not parent:
            continue
        path = os.path.join(os.path.abspath(parent), f"hs-{os.urandom(6).hex()}")
        try:
            if len(os.fsencode(path)) + _SOCKET_NAME_BYTES_MAX > _SOCKET_PATH_BYTES_MAX:
                reasons.append(f"{parent}: path too long for a socket")
            elif network := network_name(parent):
                reasons.append(f"{parent}: on {network}")
            else:
                status = os.stat(parent)
                if not (stat.S_ISDIR(status.st_mode) and os.access(parent, os.W_OK | os.X_OK)):
                    reasons.append(f"{parent}: not a folder that you can write to")
                elif _is_full(parent):
                    reasons.append(f"{parent}: the disk is full")
                else:
                    return path
        except OSError as exc:
            reasons.append(f"{parent}: {exc.strerror}")
    raise RefusedError(f"no place for sockets: {'; '.join(reasons)}: set TMPDIR")


def _is_full(folder: str) -> bool:
    """Whether its disk has no block left. One without a limit (ramfs, tmpfs with size=0) says of all counts that they are 0."""
    disk = os.statvfs(folder)
    return bool(disk.f_blocks) and not disk.f_bavail


def make_runtime(path: str) -> None:
    """Make the folder for the sockets (0700), or take the one that an earlier incarnation of us made.

    Raises:
        StoppedError: It cannot be made, or it is there and not ours alone.

    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise StoppedError(f"{path}: is there already, and not ours alone") from None
    except OSError as exc:
        raise StoppedError(f"{path}: {exc.strerror}") from exc


def _cluster_name(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise RefusedError(f"{name!r} is no name of a cluster")
    return name


def _folder(*names: str) -> str:
    path = os.path.join(site(), *names)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
    return path
