"""A real sshd for a test: one process for each connection, on a port that the kernel chose."""

import os
import pwd
import socket
import subprocess
import threading
from pathlib import Path


class SshServer:
    """Serves SFTP to who has the key that it made; `home` is a HOME whose SSH settings call it `far`.

    Args:
        folder: For keys and settings.
        serves: Where relative paths begin.

    """

    def __init__(self, folder: Path, serves: Path) -> None:
        self.home = folder / "home"
        self._served: list[subprocess.Popen[bytes]] = []
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        for path in (folder / "host_key", ssh / "id_ed25519"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self._config = folder / "sshd_config"
        self._config.write_text(
            f"HostKey {folder}/host_key\nAuthorizedKeysFile {ssh}/id_ed25519.pub\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nSubsystem sftp internal-sftp -d {serves}\n"
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        user = pwd.getpwuid(os.geteuid()).pw_name
        (ssh / "config").write_text(
            f"Host far\n HostName 127.0.0.1\n Port {port}\n User {user}\n IdentityFile {ssh}/id_ed25519\n"
        )
        self._known = f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def make_known(self) -> None:
        """Tell clients its key, among lines that they cannot use."""
        (self.home / ".ssh" / "known_hosts").write_text(f"@cert-authority *.example.org x\n# a comment\n{self._known}")

    def stop(self) -> None:
        """End it and every process that it started."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for process in self._served:
            process.terminate()
            process.wait()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._served.append(
                    subprocess.Popen(
                        ["/usr/sbin/sshd", "-i", "-f", self._config],
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=subprocess.DEVNULL,
                    )
                )
