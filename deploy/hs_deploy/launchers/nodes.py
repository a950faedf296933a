"""Hosts as people name them: one, a comma list, patterns, each with a user and a port if need be.

cluster-a[00-04].xyz, me@b[1-9/2]:2222        ssh.nodelist = "n[1-4]" | ["n1", "n2"] | {fast = "f[1-8]", slow = [...]}
"""

from typing import NamedTuple

from hs_common.errors import RefusedError
from hs_common.setting import Value

NODES_MAX = 10_000
"""Of one cluster: as many workers as a broker takes."""

_PORT_MAX = 65_535


class Node(NamedTuple):
    """Where a worker is to be."""

    host: str
    """A name or an address, or what `~/.ssh/config` calls so."""
    user: str | None = None
    port: int | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        host = f"[{self.host}]" if self.port and ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


def parse_nodes(text: str, place: str) -> tuple[Node, ...]:
    """Return the hosts that a text names, in order, each once.

    Raises:
        RefusedError: It names none, too many, or makes no sense.

    """
    found: dict[Node, None] = {}
    for item in _split(text, place):
        user, at, rest = item.rpartition("@")
        if at and not user:
            raise RefusedError(f"{place} {item}: no user before the @")
        pattern, port = _port(rest, place)
        for host in _expand(pattern, place):
            found[Node(host, user or None, port)] = None
            if len(found) > NODES_MAX:
                raise RefusedError(f"{place} {text:.80}: over {NODES_MAX} hosts")
    if not found:
        raise RefusedError(f"{place} {text!r:.80}: names no host")
    return tuple(found)


def nodes_of(setting: Value, group: str | None, place: str) -> tuple[Node, ...]:
    """Return the hosts of `ssh.nodelist`: all of them, or those of a group of its table.

    Raises:
        RefusedError: There is no such group, or no host.

    """
    if group is None:
        lists = list(setting.values()) if isinstance(setting, dict) else [setting]
    elif not isinstance(setting, dict):
        raise RefusedError(
            f"--ssh-group {group}: {place} has no groups: write a table [ssh.nodelist] with {group} in it"
        )
    elif group not in setting:
        known = ", ".join(sorted(setting)) or "none"
        raise RefusedError(f"--ssh-group {group}: no such group in {place}: there is {known}")
    else:
        lists = [setting[group]]
    texts = [str(text) for one in lists for text in (one if isinstance(one, list) else [one])]
    if not any(text.strip() for text in texts):
        raise RefusedError(f"{place}: no hosts: name them (--ssh HOST,HOST) or set ssh.nodelist")
    return tuple(dict.fromkeys(node for text in texts for node in (parse_nodes(text, place) if text.strip() else ())))


def _split(text: str, place: str) -> list[str]:
    """Cut at the commas that are not inside brackets."""
    items, start, depth = [], 0, 0
    for at, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth not in (0, 1):
            break
        if character == "," and not depth:
            items.append(text[start:at])
            start = at + 1
    if depth:
        raise RefusedError(f"{place} {text:.80}: the brackets do not match")
    return [item for item in (part.strip() for part in (*items, text[start:])) if item]


def _port(text: str, place: str) -> tuple[str, int | None]:
    pattern, colon, digits = text.rpartition(":")
    if not colon or ":" in pattern.rpartition("]")[2]:
        return text, None  # no port, or an IPv6 address by itself
    if not digits.isdecimal() or not 0 < int(digits) <= _PORT_MAX:
        raise RefusedError(f"{place} {text}: {digits or 'nothing'} after the colon is no port")
    if pattern.startswith("[") and ":" in pattern:
        pattern = pattern.removeprefix("[").removesuffix("]")
    return pattern, int(digits)


def _expand(pattern: str, place: str) -> list[str]:
    if not pattern or pattern.startswith("-") or any(character.isspace() for character in pattern):
        raise RefusedError(f"{place} {pattern!r}: is no name of a host")
    if "[" not in pattern:
        return [pattern]
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException  # noqa: PLC0415 - few have patterns

    try:
        hosts = NodeSet(pattern, resolver=RESOLVER_NOGROUP)
        if len(hosts) > NODES_MAX:
            raise RefusedError(f"{place} {pattern:.80}: over {NODES_MAX} hosts")
        return list(hosts)
    except NodeSetException as exc:
        raise RefusedError(f"{place} {pattern:.80}: {exc}") from exc
