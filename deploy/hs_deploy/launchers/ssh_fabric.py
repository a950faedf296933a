"""A session of SSH by fabric, which reads `~/.ssh/config` and asks the agent, and by paramiko below it.

Their defaults are for scripts at a desk: any host key is taken, and values travel in command lines. Not here: a host must be
known (the user's files and the system's), and all that is said to a worker goes over its stdin.
"""

import contextlib
import io
import logging
import os
import socket
from typing import Literal, TypeAlias

import paramiko
from fabric import Config, Connection
from paramiko.ssh_exception import NoValidConnectionsError

from hs_common import known_hosts
from hs_common.values import replace
from hs_deploy.launchers.nodes import Node, parse_nodes
from hs_deploy.launchers.session import LoginError, Streams
from hs_deploy.launchers.ssh_args import SshArgs
from hs_deploy.launchers.tunnel import open_tunnel

CONNECT_S = 15.0
"""For a host that does not answer, where `ConnectTimeout` says nothing else."""

LOGIN_S = 30.0
"""For its banner, and for what is to be proved."""

KEEPALIVE_S = 10
READ_BYTES = 64 * 1024

USER_CONFIG, SYSTEM_CONFIG = "~/.ssh/config", "/etc/ssh/ssh_config"

# Its threads would write tracebacks to our stderr; what matters reaches us as exceptions.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


Gateway: TypeAlias = Connection | str | Literal[False]
"""What leads to a host: a connection to another one, a command, or nothing."""


class FabricSession:
    """A channel in which the worker runs.

    Args:
        connection: Open.
        command: For the shell of the host.
        streams: Where its output goes.

    """

    def __init__(self, connection: Connection, command: str, streams: Streams) -> None:
        self.streams = streams
        self._connection = connection
        self._channel = connection.client.get_transport().open_session(timeout=LOGIN_S)
        self._channel.exec_command(command)
        self._channel.setblocking(False)  # noqa: FBT003 - it takes no keyword
        self._outbox = b""
        self.fds: tuple[int, ...] = (self._channel.fileno(),)

    def read(self) -> None:
        """Take what has come."""
        channel = self._channel
        while channel.recv_ready():
            self.streams.out(channel.recv(READ_BYTES))
        while channel.recv_stderr_ready():
            self.streams.err(channel.recv_stderr(READ_BYTES))
        if channel.eof_received:
            self.fds = ()  # from now on it would be ready all the time

    def tell(self, line: bytes) -> None:
        """Say a line; the window of a channel holds far more."""
        self._outbox += line
        with contextlib.suppress(OSError):  # full for the moment, or cut off
            while self._outbox and (sent := self._channel.send(self._outbox)):  # 0: its stdin is closed
                self._outbox = self._outbox[sent:]

    def release(self) -> None:
        """Close its stdin."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def close(self) -> None:
        """Cut it off."""
        self._connection.client.close()

    @property
    def status(self) -> int | None:
        """Return its exit status, -1 if the session ended without one."""
        if self._channel.recv_ready() or self._channel.recv_stderr_ready():
            return None
        if self._channel.exit_status_ready() and self._channel.eof_received:
            return int(self._channel.exit_status)
        transport = self._channel.get_transport()
        return None if transport.is_active() and not self._channel.closed else -1


def log_in(
    node: Node, args: SshArgs, command: str, streams: Streams, *, silence_s: float, tunnel_to: int | None
) -> tuple[FabricSession, int | None]:
    """Return a session in which the command runs, and the port there that leads to ours, where a tunnel was asked for.

    Args:
        node: Where.
        args: As for ssh.
        command: For the shell there.
        streams: Where its output goes.
        silence_s: After so long without an answer of the host's kernel the connection is given up.
        tunnel_to: Port of this host, or None.

    Raises:
        LoginError: Says why, and whether another try makes sense.

    """
    connection = None
    try:
        connection = _connection(node, args)
        connection.open()
        transport = connection.client.get_transport()
        transport.set_keepalive(KEEPALIVE_S)
        with contextlib.suppress(OSError, AttributeError):  # through another host there is no socket
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence_s * 1000))
        port = None if tunnel_to is None else open_tunnel(transport, tunnel_to)
        return FabricSession(connection, command, streams), port
    except paramiko.BadHostKeyException as exc:
        reason, final = f"its host key is not the one that is known: {exc}", True
    except paramiko.AuthenticationException as exc:
        hint = "ssh.client = openssh may do what this login needs"
        reason, final = f"{str(exc).rstrip('.') or 'the login was refused'} ({hint})", True
    except NoValidConnectionsError as exc:
        reason, final = "; ".join(sorted({error.strerror or str(error) for error in exc.errors.values()})), False
    except (OSError, EOFError) as exc:
        reason, final = getattr(exc, "strerror", None) or str(exc) or "the connection was closed", False
    except (paramiko.SSHException, ValueError) as exc:
        text = str(exc).rstrip(".")
        unknown = "not found in known_hosts" in text
        reason, final = (f"its host key is not known: {text}; ssh-keyscan makes it known" if unknown else text), unknown
    if connection is not None:
        connection.client.close()
    raise LoginError(reason, final=final)


def _connection(node: Node, args: SshArgs) -> Connection:
    config = Config(ssh_config=_ssh_config(args))
    # As with ssh, what was typed is about the last host: taken for a jump, it would lead through itself.
    typed_nothing = Config(ssh_config=_ssh_config(replace(args, settings=())))
    connection = _to(node, config, _gateway(node, config, typed_nothing, ()))
    known_hosts.enforce(connection)
    return connection


def _gateway(node: Node, config: Config, of_jumps: Config, passed: tuple[str, ...]) -> Gateway:
    """Return what leads to a host.

    Fabric looks for it by itself, too, but takes a host that a wildcard makes its own jump for another one where it has an alias.

    Args:
        node: The host.
        config: What is known of it.
        of_jumps: What is known of those on the way.
        passed: Hosts that are reached through it.

    Raises:
        LoginError: The way leads back to one of those.

    """
    found = config.base_ssh_config.lookup(node.host)
    text = found.get("proxyjump", "none")
    jumps = parse_nodes(text, "ProxyJump") if text.lower() != "none" else ()
    if any(jump.host in (node.host, found["hostname"]) for jump in jumps):
        jumps = ()  # `Host *` is also about the host that it names
    gateway: Gateway = found.get("proxycommand") or False
    for place, jump in enumerate(jumps):
        if jump.host in passed:
            raise LoginError(f"ProxyJump leads from {node.host} back to {jump.host}", final=True)
        # Only the first is reached by the way of its own; each later one through the one before it.
        way = gateway if place else _gateway(jump, of_jumps, of_jumps, (*passed, node.host))
        gateway = _to(jump, of_jumps, way)
    return gateway


def _to(node: Node, config: Config, gateway: Gateway) -> Connection:
    """Return a connection that is not open yet."""
    found = config.base_ssh_config.lookup(node.host)
    only = found.get("identitiesonly", "no") == "yes"
    return Connection(
        node.host,
        user=node.user,
        port=node.port,
        config=config,
        gateway=gateway,
        forward_agent=False,
        connect_timeout=None if "connecttimeout" in found else int(CONNECT_S),
        connect_kwargs={
            "allow_agent": not only,
            "look_for_keys": not only,
            "banner_timeout": LOGIN_S,
            "auth_timeout": LOGIN_S,
            "compress": found.get("compression", "no") == "yes",
        },
    )


def _ssh_config(args: SshArgs) -> paramiko.SSHConfig:
    """Return what was typed, then what the files say: the first value wins."""
    config = paramiko.SSHConfig()
    config.parse(io.StringIO(args.config_text()))
    for path in (args.config,) if args.config else (USER_CONFIG, SYSTEM_CONFIG):
        with contextlib.suppress(OSError), open(os.path.expanduser(path), encoding="utf-8") as file:
            config.parse(file)
    return config
