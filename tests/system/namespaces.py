"""Hosts of their own on this machine: network namespaces, each at the end of a cable that can be pulled."""

import os
import shutil
import subprocess
from itertools import count

_NUMBERS = count()

_NETS = 512
"""As many as there are of 256 addresses in the block."""

NOBODY = "02:00:00:00:00:01"
"""Address of a network card that does not exist."""


def may_make() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0:
        return False
    name = f"hs-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, stderr=subprocess.DEVNULL).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


class Host:
    """A namespace with one address, `address`; we are `ours` at the other end of the cable."""

    def __init__(self) -> None:
        self.name = f"hs-{os.getpid()}-{next(_NUMBERS)}"
        _ip("netns", "add", self.name)
        net = next(net for net in range(_NETS) if self._has_cable(net))
        # Of the block that nobody routes: benchmarks of networks (RFC 2544).
        self.ours, self.address = (f"198.{18 + net // 256}.{net % 256}.{end}" for end in (1, 2))
        _ip("addr", "add", f"{self.ours}/30", "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")
        _ip("-n", self.name, "link", "set", "lo", "up")

    def _has_cable(self, net: int) -> bool:
        """Lay the cable of a net, unless there is one: of another test, at the same time, or of one that was killed."""
        self._cable = f"hs-{net}"
        words = ("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        assert done.returncode == 0 or "File exists" in done.stderr, done.stderr
        return done.returncode == 0

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a command there."""
        return ("ip", "netns", "exec", self.name)

    def pull(self) -> None:
        """Pull the cable: what is sent is lost, and nobody is told."""
        _ip("-n", self.name, "link", "set", "eth0", "down")

    def mute(self) -> None:
        """Lose what it sends: it goes to a card that is not there."""
        _ip("-n", self.name, "neigh", "replace", self.ours, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")

    def deafen(self) -> None:
        """Lose what we send to it."""
        _ip("neigh", "replace", self.address, "lladdr", NOBODY, "dev", self._cable, "nud", "permanent")

    def heal(self) -> None:
        """Undo all of these."""
        _ip("-n", self.name, "link", "set", "eth0", "up")
        _ip("-n", self.name, "neigh", "flush", "nud", "permanent")
        _ip("neigh", "flush", "dev", self._cable, "nud", "permanent")

    def narrow(self, rate: str) -> None:
        """Let what it sends pass no faster than this, as `1mbit`; what does not fit waits, then is lost."""
        tc = shutil.which("tc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")  # of iproute2, like ip
        assert tc is not None
        shape = ("rate", rate, "burst", "16kb", "latency", "400ms")
        subprocess.run([*self.prefix, tc, "qdisc", "add", "dev", "eth0", "root", "tbf", *shape], check=True)

    def sever(self, port: int) -> bool:
        """Kill its connections to a port of ours, at our end; return whether there was one."""
        which = ("state", "established", "dst", self.address, "sport", "=", f":{port}")
        return bool(subprocess.run(["ss", "-HntK", *which], check=False, capture_output=True).stdout.strip())

    def ports(self) -> set[int]:
        """Return the TCP ports on which somebody there listens."""
        found = subprocess.run([*self.prefix, "ss", "-Hltn"], check=True, capture_output=True, text=True).stdout
        return {int(line.split()[3].rpartition(":")[2]) for line in found.splitlines()}

    def close(self) -> None:
        """Take it away; what still runs in it keeps it alive, unseen."""
        _ip("netns", "del", self.name)
        subprocess.run(["ip", "link", "del", self._cable], check=False, stderr=subprocess.DEVNULL)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
