"""A machine booted with systemd, on one that was not: namespaces, a private /etc, /opt and /var/lib, and a real systemd."""

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Self

from tests.faults.processes import until

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX = "/opt/hs-cluster"
STEP_S = 180.0
"""To boot, and to switch off."""
PROGRAMS = {
    "hs-broker": "hs_broker.cli",
    "hs-scheduler": "hs_scheduler.cli",
    "hs-worker": "hs_worker.cli",
    "hs": "hs_deploy.cli",
}
PARTS = ("common", "broker", "scheduler", "worker", "deploy")
TARGETS = ("sysinit", "basic", "network", "multi-user", "shutdown")
_PREFIX = "hs-machine-"
_PROGRAM = """#!{python}
import sys
sys.path[:0] = {paths!r}
from {module} import main
main()
"""


def obstacle() -> str:
    """Return why there can be no such machine here; "": there can."""
    if os.geteuid() != 0:
        return "only root can make one"
    if not os.path.exists("/lib/systemd/systemd"):
        return "systemd is not installed"
    return "" if _cgroup_mount() else "there is no cgroup2 mount"


class Machine:
    """Use it in a `with`: at the end nothing of it is left, also when it did not boot, or who made it was killed."""

    def __init__(self) -> None:
        _sweep()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.root.chmod(0o755)
        shutil.copytree("/etc", self.root / "etc", symlinks=True, ignore=shutil.ignore_patterns("system"))
        for name in ("opt", "varlib"):
            (self.root / name).mkdir(mode=0o755)
        units = self.root / "etc/systemd/system"
        units.mkdir(parents=True, exist_ok=True)
        # The only ones that there are: those of the distribution would do to this host what they do at boot.
        for target in TARGETS:
            (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        self._install()
        self._cgroup = Path(_cgroup_mount()) / self.root.name
        self._cgroup.mkdir()
        base = sys.base_prefix
        bound: tuple[str, str] = (base, f"{PREFIX}/python") if base.startswith(("/root", "/home")) else ("", "")
        # Its own words only confuse, and its console is ours.
        self._unshare = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", REPOSITORY / "tests/system/systemd.sh", self.root, self._cgroup, *bound],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._pid = 0

    def __enter__(self) -> Self:
        """Boot."""
        if not until(self._has_booted, STEP_S):
            self._close()
            raise AssertionError("systemd did not come up")
        return self

    def __exit__(self, *_exc: object) -> None:
        """Switch off."""
        self._close()

    def _close(self) -> None:
        self._unshare.kill()  # and with it, by --kill-child, PID 1 and all that it has
        self._unshare.wait()
        # What it has is not gone at once, and a group with a process in it cannot be removed.
        assert until(lambda: _removed(self._cgroup), STEP_S, poll_s=0.05), f"{self._cgroup} is still in use"
        shutil.rmtree(self.root, ignore_errors=True)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command there as root, in /; return what it printed."""
        inside: tuple[str, ...] = (
            "nsenter",
            f"--target={self._pid}",
            "-m",
            "-p",
            "-u",
            "-i",
            "-n",
            "-C",
            "--wd=/",
            *command,
        )
        as_root = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}  # ours may be that of any user
        done = subprocess.run(
            inside, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, env=as_root
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout

    def shell(self, line: str) -> str:
        """Run a shell line there."""
        return self.run("sh", "-euc", line)

    def pid_of(self, unit: str) -> int:
        """Return the pid of a unit's main process as it is seen from there; 0: none."""
        return int(self.property_of(unit, "MainPID"))

    def property_of(self, unit: str, name: str) -> str:
        """Return what systemd says of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    def active(self, unit: str) -> bool:
        """Whether a unit says that it is ready."""
        return self.run("systemctl", "is-active", unit, check=False).strip() == "active"

    def configure(self, unit: str, *lines: str) -> None:
        """Add lines to the section Service of a unit."""
        folder = self.root / f"etc/systemd/system/{unit}.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))

    def log(self, unit: str) -> str:
        """Return what a unit wrote to stderr, where `configure` sent it to /var/lib/<unit>.log."""
        with contextlib.suppress(FileNotFoundError):
            return (self.root / f"varlib/{unit}.log").read_text()
        return ""

    def _install(self) -> None:
        """Do what pip would: the programs, what they need, and the files to copy."""
        python = f"{PREFIX}/python/bin/python{sysconfig.get_python_version()}"
        if not sys.base_prefix.startswith(("/root", "/home")):
            python = os.path.realpath(sys.executable)
        opt = self.root / "opt/hs-cluster"
        (opt / "bin").mkdir(parents=True)
        shutil.copytree(
            sysconfig.get_path("purelib"), opt / "lib", symlinks=True, ignore=shutil.ignore_patterns("mypy*", "ruff*")
        )
        for part in PARTS:
            shutil.copytree(REPOSITORY / part / f"hs_{part}", opt / f"src/hs_{part}")
        shutil.copytree(REPOSITORY / "deploy/systemd", opt / "share/hs-cluster/systemd")
        for program, module in PROGRAMS.items():
            path = opt / "bin" / program
            path.write_text(_PROGRAM.format(python=python, paths=[f"{PREFIX}/src", f"{PREFIX}/lib"], module=module))
            path.chmod(0o755)

    def _has_booted(self) -> bool:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
            self._pid = int(children[0]) if children else 0
        return bool(self._pid) and "running" in self.run("systemctl", "is-system-running", check=False)


def _removed(cgroup: Path) -> bool:
    """Remove a control group with those in it; whether it is gone."""
    for folder, *_names in os.walk(cgroup, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not cgroup.exists()


def _sweep() -> None:
    """Remove the control groups of machines whose test was killed: those that have no folder any more."""
    for cgroup in Path(_cgroup_mount()).glob(f"{_PREFIX}*"):
        if not Path(tempfile.gettempdir(), cgroup.name).exists():
            _removed(cgroup)


def _cgroup_mount() -> str:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return place
    return ""
