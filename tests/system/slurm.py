"""A Slurm of one node, of our own: munge, controller and node daemon, all that they keep in one folder, ports that are free."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.faults.processes import until
from tests.ports import free_ports

START_S = 120.0
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
_CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/controller/pid
SlurmdPidFile={folder}/node/pid
SlurmctldLogFile={folder}/controller/log
SlurmdLogFile={folder}/node/log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,requeue_setup_env_fail
ReturnToService=2
KillWait=30
MessageTimeout=60
TCPTimeout=30
BatchStartTimeout=60
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:60
"""


def obstacle() -> str:
    """Return why there can be none here; "": there can."""
    if os.geteuid() != 0:
        return "only root can run one"
    missing = [
        program for program in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(program, path=PATH)
    ]
    return f"{missing[0]} is not installed" if missing else ""


class Slurm:
    """Use it in a `with`: at the end its daemons and its jobs are gone."""

    def __init__(self) -> None:
        # Not under pytest's tmp_path: the path of munge's socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="hs-slurm-"))
        for name in ("munge", "controller", "node"):
            (self.folder / name).mkdir(mode=0o700)
        self.conf = self.folder / "slurm.conf"
        host = socket.gethostname().partition(".")[0]
        controller_port, node_port = free_ports(2)
        text = _CONF.format(
            host=host, folder=self.folder, controller_port=controller_port, node_port=node_port, cores=os.cpu_count()
        )
        self.conf.write_text(text)
        self.env = {"SLURM_CONF": str(self.conf), "PATH": PATH}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start it; it takes jobs then."""
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        named = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{option}={munge}/{name}" for option, name in named.items()]
        try:
            self._start("munged", "--foreground", "--force", *files)
            assert until((munge / "socket").exists, START_S)
            self.start_controller()
            self._start("slurmd", "-D", "-f", str(self.conf))
            assert until(lambda: self.run("sinfo", "-h", "-t", "idle,mix,alloc") != "", START_S), self.log()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        """End it: jobs first, so that none of their processes is left."""
        with contextlib.suppress(AssertionError):
            self.run("scancel", "--full", "--user=root")
            until(lambda: self.run("squeue", "-h") == "", START_S)
        self._close()

    def _close(self) -> None:
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_controller(self) -> None:
        """Start the controller, with the state that it left."""
        self._start("slurmctld", "-D", "-f", str(self.conf))

    def end_controller(self) -> None:
        """End the controller; jobs run on."""
        self._end("slurmctld")

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands; return what it printed."""
        done = subprocess.run(
            command,
            env=os.environ | self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}{self.log()}"
        return done.stdout.strip()

    def log(self) -> str:
        """Return the end of what its daemons said."""
        texts = [path.read_text(errors="replace")[-1000:] for path in self.folder.glob("*/log")]
        return "\n".join(texts)

    def _start(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=PATH)
        assert program is not None
        self._daemons[name] = subprocess.Popen(
            [program, *arguments],
            env=os.environ | self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def _end(self, name: str) -> None:
        if (process := self._daemons.pop(name, None)) is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
