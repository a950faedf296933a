"""What a worker was started with: parsed from the command line and the settings by `cli`, used by guardian and worker."""

import os
from math import inf

from hs_common import limits
from hs_common.errors import RefusedError
from hs_common.values import dataclass
from hs_worker.host import cores_usable
from hs_worker.tasks.end import reserve_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All of it."""

    connection: str
    """`-`: from stdin, which is a lifeline then; a path of a connection file, or the name of a cluster."""
    num_tasks: int = 1
    template: str = "{}"
    shell: str = "/bin/sh"
    bundlewait_s: float = 5.0
    delay_start_s: float = 0.0
    """Negative: a random wait up to its magnitude."""
    output: str = ""
    """File for all tasks' stdout; "": inherited."""
    errors: str = ""
    errors_fd: int = 2
    """Inherited descriptor for all tasks' stderr; our own log stays on 2."""
    capture: bool = False
    """Each task's output into files of its own."""
    cores: int = 0
    """That running tasks may ask for; 0: what this process may use."""
    memory: int = 0
    """Bytes, likewise."""
    task_timeout_s: float = 0.0
    signalwait_s: float = 10.0
    walltime_s: float = 0.0
    """Until the worker must end; 0: its batch system may say."""
    until: float = 0.0
    """The same as an instant, seconds since the epoch; 0: not known."""
    ends_at: float = inf
    """When it must end, monotonic seconds."""
    margin_s: float = limits.MARGIN_S
    """Before its end, in which no task without a limit is started."""
    stop_wait_s: float = 10.0
    """As `signalwait_s`, where the worker itself must end."""
    grace_s: float | None = None
    """Of running tasks after SIGTERM; None: without limit."""
    timeout_s: float = 0.0
    """Without anything to do for so long it leaves; 0: it stays."""
    confirm: bool = True
    relay: bool = False
    spool: str = ""
    """Folder where tasks' outputs are spooled for hs-cluster to print; -: it has them from our stdout; "": they are not."""
    frames: bool = False
    """Whether our stdout is a session of SSH, and what we say there is framed."""
    silence_s: float = 0.0
    """Of the lifeline, until it counts as ended; 0: it ends by itself."""
    patience_s: float = inf
    """Without any answer of a broker for so long, from the start on, it ends with status 3."""
    reader_wait_s: float = 300.0
    """At the end, the reader of our stdout and stderr may take nothing for so long; what is left of outputs is lost then.
    Longer than who holds a session waits for us (`launchers.ssh.STALL_S`): he can say that outputs are lost, and to whom."""
    wakes: bool = False
    """Whether our stdout is a pipe to whom prints them, and wants a byte for each."""
    judged: bool = False
    """Whether nothing is started after a failure until the scheduler has judged it: --halt."""
    tells_end: bool = False
    """Whether whoever started us understands by our status that our time is over; a launcher would take it for a failure."""
    origin: bytes = b""
    """What the ids of this worker and of its successors begin with; b"": each has one of its own."""
    map: str = ""
    """File of the map that guardian and worker share; "": none, it is in their memory only."""
    null: bool = False
    """Execute nothing: for benchmarks."""

    def slots(self) -> int:
        """Return how many tasks run at once."""
        return self.num_tasks or cores_usable()

    def check(self) -> None:
        """Refuse what cannot work, before anything starts.

        Raises:
            RefusedError: Names the option, its value and what is wrong with it.

        """
        if not 0 <= self.num_tasks <= limits.SLOTS_MAX:
            raise RefusedError(f"-N {self.num_tasks} is not in 0..{limits.SLOTS_MAX}")
        if not (os.path.isabs(self.shell) and os.access(self.shell, os.X_OK) and os.path.isfile(self.shell)):
            raise RefusedError(f"--shell {self.shell}: no such program; give the absolute path of a shell")
        if self.walltime_s and self.walltime_s <= (reserve := reserve_s(self.margin_s, self.stop_wait_s)):
            raise RefusedError(
                f"--walltime {self.walltime_s:g} leaves no time: the last {reserve:g} s are for stopping what runs; "
                "give more, or lower -S or worker.margin"
            )
        if not self.template.strip():
            raise RefusedError(f"-t {self.template!r} would run nothing: give a command, as 'process {{}}'")
        if self.template != "{}":
            from hs_common.template import Template  # noqa: PLC0415 - the guardian needs none of it

            Template(os.fsencode(self.template))
        if (self.relay or self.spool) and (self.output or self.errors):
            raise RefusedError("--relay and --spool exclude -o and -e")
        for option, given in (("-o", self.output), ("-e", self.errors)):
            if self.capture and given:
                raise RefusedError(f"--capture and {option} exclude each other")
