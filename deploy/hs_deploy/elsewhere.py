"""Where the workers are to be, when not here: behind a launcher, or on hosts that SSH reaches. Checked before anything starts."""

import os
from collections.abc import Mapping
from typing import Any

from hs_common.config import Settings
from hs_common.errors import RefusedError
from hs_common.programs import find_program
from hs_common.values import dataclass
from hs_deploy.launchers.nodes import Node, nodes_of, parse_nodes

FROM_SETTING = " "
"""Value of --ssh when none was given."""

ONLY_SSH = {"ssh_args": "--ssh-args", "ssh_tunnel": "--ssh-tunnel", "env": "-E"}
"""Parameters that mean nothing without --ssh."""

ONLY_HERE = ("output", "errors", "keep_order", "group_output")
"""Parameters that mean nothing behind a launcher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """One of `launcher` and `nodes` is not empty."""

    launcher: tuple[str, ...] = ()
    """Program and arguments that start the workers."""
    nodes: tuple[Node, ...] = ()
    """Hosts that get a worker each."""
    remote_exe: str | None = None
    """The worker's program there; None: as here, else what is found there."""
    ssh_args: str = ""
    """As they were typed; they have been checked."""
    ssh_client: str = "fabric"
    tunnel: bool = False
    """Whether the workers come in through the sessions."""
    sends_variables: bool = False

    def record(self) -> dict[str, Any]:
        """Return what a run records of it, by the names of `cli`."""
        import shlex  # noqa: PLC0415 - few are elsewhere

        return {
            "launcher": shlex.join(self.launcher) or None,
            "ssh": ",".join(node.name for node in self.nodes) or None,
            "ssh_args": self.ssh_args or None,
            "ssh_tunnel": self.tunnel,
            "env": self.sends_variables,
            "remote_exe": self.remote_exe,
        }


def elsewhere(typed: Mapping[str, Any], settings: Settings) -> Elsewhere | None:
    """Return where the workers are to be; None: here.

    Raises:
        RefusedError: A program or a host that makes no sense, or an option that is for another mode.

    """
    for name, option in (("ssh", "--ssh"), ("ssh_group", "--ssh-group")):
        if typed[name] == "":  # a variable that is not set: nobody who says so wants to run here
            raise RefusedError(f"{option} '': expected the names of hosts, or of a list of them")
    if typed["ssh"] or typed["ssh_group"]:
        return _by_ssh(typed, settings)
    for name, option in ONLY_SSH.items():
        if typed[name]:
            raise RefusedError(f"{option} is only for --ssh: name the hosts, as --ssh a,b")
    launcher = _launcher(typed, settings)
    if launcher:
        return Elsewhere(launcher=launcher, remote_exe=typed["remote_exe"])
    if typed["remote_exe"]:
        raise RefusedError(f"--remote-exe {typed['remote_exe']}: is only for --ssh, --mpi and --launcher")
    return None


def launcher_words(text: str, place: str) -> list[str]:
    """Return a launcher and its arguments, split as a shell would.

    Raises:
        RefusedError: That is not possible, or there is none.

    """
    import shlex  # noqa: PLC0415 - few ask for it

    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise RefusedError(f"{place} {text}: {exc}: quote it as for a shell") from exc
    if not words:
        raise RefusedError(f"{place} {text!r}: expected a program and its arguments")
    return words


def _by_ssh(typed: Mapping[str, Any], settings: Settings) -> Elsewhere:
    from hs_deploy.launchers.ssh_args import parse_ssh_args  # noqa: PLC0415 - few use it

    text = typed["ssh"]
    if text and text != FROM_SETTING:
        if typed["ssh_group"]:
            raise RefusedError(f"--ssh {text} and --ssh-group {typed['ssh_group']} exclude each other")
        if os.path.exists(text):
            raise RefusedError(f"--ssh {text}: is a file, no host: put FILE first, or --ssh=NAME")
        nodes = parse_nodes(text, "--ssh")
    else:
        origin = settings.origin("ssh.nodelist")
        place = "ssh.nodelist" if origin == "default" else f"{origin}: ssh.nodelist"
        nodes = nodes_of(settings.get("ssh.nodelist"), typed["ssh_group"], place)
    client = settings.get("ssh.client")
    args = settings.get("ssh.args") if typed["ssh_args"] is None else typed["ssh_args"]
    place = f"{settings.origin('ssh.args')}: ssh.args" if typed["ssh_args"] is None else "--ssh-args"
    parse_ssh_args(args, place, fabric=client == "fabric")
    return Elsewhere(
        nodes=nodes,
        remote_exe=typed["remote_exe"],
        ssh_args=args,
        ssh_client=client,
        tunnel=typed["ssh_tunnel"],
        sends_variables=typed["env"],
    )


def _launcher(typed: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    """Return the words of the launcher; a setting is passed over where what was typed makes no sense with it."""
    text, place = "mpirun" if typed["mpi"] else typed["launcher"], "--mpi" if typed["mpi"] else "--launcher"
    if text is None:
        if not settings.get("launcher") or any(typed[name] for name in ONLY_HERE):
            return ()
        text, place = settings.get("launcher"), f"{settings.origin('launcher')}: launcher"
    words = launcher_words(text, place)
    return (find_program(words[0], place), *words[1:])
