"""A real sshd for tests: own keys, own configuration, a port of its own, on loopback or in a network namespace."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence

from tests.faults.processes import ended_within, kill, until
from tests.ports import free_port

CONFIGURATION = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
AllowTcpForwarding yes
PermitUserEnvironment no
MaxStartups 10:30:100
LogLevel VERBOSE
SetEnv HOME={home}
Subsystem sftp internal-sftp -d {serves}
"""

TRIES_MAX = 5
"""Between the choice of a port and its use another program may take it."""


class Sshd:
    """One server.

    Args:
        folder: For keys and settings; it is made.
        home: The HOME of who logs in.
        serves: Where relative paths of SFTP begin.
        address: Where it listens.
        port: There; 0: one that is free.
        prefix: Put before the command (`ip netns exec NAME`).

    """

    def __init__(
        self,
        folder: str,
        home: str,
        *,
        serves: str = "/",
        address: str = "127.0.0.1",
        port: int = 0,
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.user = pwd.getpwuid(os.getuid()).pw_name
        os.makedirs(folder, 0o700)
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
        shutil.copy(f"{folder}/user_key.pub", f"{folder}/authorized_keys")
        os.makedirs("/run/sshd", exist_ok=True)  # where it separates its privileges
        server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert server is not None, "no sshd: see .ci/tools"
        self._log = open(f"{folder}/log", "wb")  # noqa: SIM115 - as long as the server
        for _ in range(TRIES_MAX):
            self.port = port or free_port(address)
            text = CONFIGURATION.format(port=self.port, address=address, folder=folder, home=home, serves=serves)
            with open(f"{folder}/config", "w", encoding="ascii") as file:
                file.write(text)
            self.process = subprocess.Popen(
                [*prefix, server, "-D", "-e", "-f", f"{folder}/config"],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
            )
            assert until(lambda: b"Server listening" in self.log() or self.process.poll() is not None), self.log()
            if self.process.poll() is None:
                return
        raise AssertionError(self.log())

    @property
    def host(self) -> str:
        """What a user types."""
        return f"{self.user}@{self.address}:{self.port}"

    @property
    def known_host(self) -> str:
        """The line that makes it known."""
        with open(f"{self.folder}/host_key.pub", encoding="ascii") as file:
            return f"[{self.address}]:{self.port},{self.address} {file.read()}"

    @property
    def key(self) -> str:
        """Path of the user's key."""
        return f"{self.folder}/user_key"

    def log(self) -> bytes:
        """Return what it said."""
        with open(f"{self.folder}/log", "rb") as file:
            return file.read()

    def close(self) -> None:
        """End it; sessions that are open end with their connections."""
        kill(self.process.pid)
        ended_within(self.process.pid)
        self.process.wait()
        self._log.close()
