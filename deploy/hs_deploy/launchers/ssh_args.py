"""`--ssh-args`: arguments as for ssh, turned into lines as `ssh_config` has them. What cannot be honoured is refused by name."""

import os
import shlex

from hs_common.errors import RefusedError
from hs_common.values import dataclass

_LETTERS = {"i": "IdentityFile", "p": "Port", "l": "User", "J": "ProxyJump"}
"""Option of ssh -> what it is in a configuration file."""

HONOURED = (
    "BatchMode",
    "Compression",
    "ConnectTimeout",
    "GlobalKnownHostsFile",
    "HostKeyAlias",
    "HostName",
    "IdentitiesOnly",
    "IdentityFile",
    "Port",
    "ProxyCommand",
    "ProxyJump",
    "ServerAliveInterval",
    "StrictHostKeyChecking",
    "User",
    "UserKnownHostsFile",
)
"""Settings that `ssh.client = fabric` takes."""

_ONLY_YES = ("BatchMode", "StrictHostKeyChecking")
"""Nobody is there to ask, and a host that is not known is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshArgs:
    """What was asked for."""

    words: tuple[str, ...] = ()
    """As they were typed, for the ssh program."""
    settings: tuple[tuple[str, str], ...] = ()
    """Name and value, the first of a name wins; `IdentityFile` adds up."""
    config: str | None = None
    """Of -F: read this file alone."""

    def config_text(self) -> str:
        """Return the settings as the beginning of an `ssh_config`."""
        return "".join(f"{line}\n" for line in ("Host *", *(f"    {name} {value}" for name, value in self.settings)))


def parse_ssh_args(text: str, place: str, *, fabric: bool) -> SshArgs:
    """Return what a text asks for.

    Args:
        text: Words, quoted as for a shell.
        place: Where it was written, for messages.
        fabric: Whether it is for fabric; the ssh program knows all that there is.

    Raises:
        RefusedError: An argument that cannot be honoured; it is named.

    """
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise RefusedError(f"{place} {text}: {exc}: quote it as for a shell") from exc
    settings: list[tuple[str, str]] = []
    config = None
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or len(word) < 2:  # noqa: PLR2004 - a dash and a letter
            raise RefusedError(f"{place} {word}: is no option of ssh; hosts are for --ssh")
        letter = word[1]
        if letter not in (*_LETTERS, "F", "o"):
            if fabric:
                raise RefusedError(
                    f"{place} {word}: cannot be honoured: use -i -p -l -J -F -o, or ssh.client = openssh"
                )
            continue
        value = word[2:] or next(rest, "")
        if not value:
            raise RefusedError(f"{place} -{letter}: expected a value after it")
        if letter == "F":
            config = os.path.abspath(os.path.expanduser(value))
            if config != os.devnull and not os.path.isfile(config):
                raise RefusedError(f"{place} -F {value}: no such file")
        else:
            settings.append(_setting(value, place, fabric=fabric) if letter == "o" else (_LETTERS[letter], value))
    return SshArgs(words=tuple(words), settings=tuple(settings), config=config)


def _setting(text: str, place: str, *, fabric: bool) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        name, _, value = text.partition(" ")
    name, value = name.strip(), value.strip()
    if not name or not value:
        raise RefusedError(f"{place} -o {text}: expected Key=Value")
    if not fabric:
        return name, value
    known = {honoured.lower(): honoured for honoured in HONOURED}.get(name.lower())
    if known is None:
        raise RefusedError(f"{place} -o {name}: cannot be honoured: leave it out, or set ssh.client = openssh")
    if known in _ONLY_YES and value.lower() not in ("yes", "true"):
        raise RefusedError(f"{place} -o {name}={value}: only yes can be honoured; ssh-keyscan makes a host known")
    return known, value
