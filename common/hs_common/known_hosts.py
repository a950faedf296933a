"""Which hosts are known: the user's files and the system's, as ssh reads them. Whoever logs in by fabric asks here.

fabric takes any key of a host that it does not know, and paramiko refuses a whole file for one line with a marker, knows no
pattern, and heeds no `@revoked`.
"""

import contextlib
import fnmatch
import os
from collections.abc import Iterable
from typing import Literal, Protocol, Union

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys

USER_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
SYSTEM_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
"""As ssh has them."""


class Connection(Protocol):
    """What is asked of a connection of fabric."""

    client: paramiko.SSHClient
    host: str
    port: int
    ssh_config: paramiko.SSHConfigDict
    gateway: Union["Connection", str, Literal[False], None]
    """Another one, or a command, through which it goes; False: none, whatever the configuration says."""


def enforce(connection: Connection) -> None:
    """Let a connection, and those that lead to it, take no host but those that are known."""
    at: Connection | str | Literal[False] | None = connection
    while at is not None and at is not False and not isinstance(at, str):
        _enforce(at)
        at = at.gateway


def _enforce(connection: Connection) -> None:
    client, found = connection.client, connection.ssh_config
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    port = int(connection.port)
    called = connection.host if port == paramiko.config.SSH_PORT else f"[{connection.host}]:{port}"
    alias = found.get("hostkeyalias", called)
    known = HostKeys()
    revoked = set()
    for mark, entry in _entries(found):
        if not _names(entry.hostnames, alias):
            continue
        if mark == "@revoked":
            revoked.add(entry.key.asbytes())
        elif not mark:
            known.add(called, entry.key.get_name(), entry.key)
    for key_type, key in list((known.lookup(called) or {}).items()):
        if key.asbytes() not in revoked:
            client.get_host_keys().add(called, key_type, key)


def _entries(found: paramiko.SSHConfigDict) -> Iterable[tuple[str, HostKeyEntry]]:
    """Yield all lines of all files of known hosts. A line that paramiko cannot read makes no host known, and hides no other."""
    paths = (
        found.get("userknownhostsfile", USER_HOSTS).split() + found.get("globalknownhostsfile", SYSTEM_HOSTS).split()
    )
    for path in paths:
        with contextlib.suppress(OSError), open(os.path.expanduser(path), encoding="utf-8", errors="replace") as file:
            for line in file:
                mark, _, rest = line.strip().partition(" ") if line.startswith("@") else ("", "", line.strip())
                if not rest or rest.startswith("#"):
                    continue
                with contextlib.suppress(paramiko.SSHException, ValueError):
                    entry = HostKeyEntry.from_line(rest)
                    if entry is not None and entry.key is not None:
                        yield mark, entry


def _names(patterns: list[str], host: str) -> bool:
    """Whether a line of known hosts is about this host: by its name, hashed, or by a pattern; `!` says: not this one."""
    found = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if fnmatch.fnmatchcase(host, _literal(pattern[1:])):
                return False
        elif pattern.startswith("|1|"):
            found |= HostKeys.hash_host(host, pattern) == pattern
        else:
            found |= fnmatch.fnmatchcase(host, _literal(pattern))
    return found


def _literal(pattern: str) -> str:
    """Let brackets stand for themselves: in a known host they surround a name with a port."""
    return pattern.replace("[", "[[]")
