"""The list of campaigns: what is done to a run, and what it may cost. Source: RELIABILITY 8.2 A, B and 8.1 (crash points)."""

from dataclasses import dataclass

from tests.faults.network import KINDS

SLOTS = 4

DAEMONS = ("broker", "scheduler", "guardian")
"""What hs-cluster starts; the worker is the guardian's."""

CRASH_POINTS = (
    "broker.hello",
    "broker.submit",
    "broker.assign",
    "broker.result",
    "broker.committed",
    "scheduler.before_commit",
    "scheduler.after_commit",
    "scheduler.before_send",
    "scheduler.after_send",
    "worker.received",
    "worker.before_spawn",
    "worker.after_spawn",
    "worker.before_result",
    "worker.after_result",
    "worker.after_committed",
)
"""Named in the daemons' own code, each followed there by what it must not break."""


STEPS = {"hs-cluster": 26, "hs-broker": 8, "hs-scheduler": 50, "hs-worker": 3}
"""Of each program, in a run of `STEPS_TASKS` tasks; a step that a run does not come to strikes nobody."""

STEPS_TASKS = 40
"""Few, so that most of a run is its start and its end."""

AIMS = (
    "hs-cluster:settings.json",  # there is a folder
    "hs-cluster:.latest",  # the run is written down, but nobody finds it
    "hs-cluster:os.posix_spawn",  # it is found
    "hs-scheduler:os.rename",  # everything is committed but the end, and the failures are not there
    'hs-scheduler:{"end"',  # the end is committed, and nobody has heard of it
    "hs-scheduler:os.remove",  # hs-cluster has
    "hs-cluster:worker.map",  # all others are gone
    "hs-cluster: retried, ",  # nothing is left but the summary
)
"""Steps of starts and ends, as program:part of its name, which random moments hardly ever meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One way to disturb a run."""

    name: str
    about: str
    kill: tuple[str, ...] = ()
    """Killed together at a random moment, some trials several times."""
    pause: str = ""
    """Stopped by SIGSTOP at a random moment, and continued."""
    crash: tuple[str, ...] = ()
    """Points, one of which kills the first incarnation of its daemon."""
    steps: bool = False
    """Whether a program of ours takes everybody with it before a step that it takes; see `steps.sitecustomize`."""
    tasks_max: int = 1_000_000
    """More would only be more of the same."""
    reruns: int = 0
    """Tasks that may start again for each death: only where a worker or its guardian died (P3)."""
    finishes: bool = True
    """Whether the run must complete by itself."""
    restarts: bool = False
    """Whether `hs-cluster --restart` is to complete it: it was killed, or everybody was."""
    server: bool = False
    """Whether the tasks are on a PostgreSQL server, and not in a file."""
    befalls: str = ""
    """What happens to the database at a random moment; see `databases`."""
    lasts_s: float = 0.0
    """How long; 0: as the seed decides."""
    lines: tuple[str, ...] = ()
    """What befalls the lines of two workers that are elsewhere, at a random moment; see `network`. What is to be killed is
    killed at the same moment. With a server: the line to that."""
    no_db: bool = False
    """Whether some trials run without a database: where the scheduler lives, its memory is the store."""

    @property
    def strikes(self) -> bool:
        """Whether something is done at random moments."""
        return bool(self.kill or self.pause or self.befalls or self.lines)


LOCKED_S = 30.0

PAUSED_S = 40.0
"""Of a server: the session is given up meanwhile (`postgres_link.REPLY_S`)."""

CAMPAIGNS = (
    Campaign(name="none", about="nothing happens: the judge and the run agree", no_db=True),
    Campaign(name="broker", about="kill -9 of the broker", kill=("broker",), no_db=True),
    Campaign(name="scheduler", about="kill -9 of the scheduler", kill=("scheduler",)),
    Campaign(name="both", about="kill -9 of broker and scheduler at once", kill=("broker", "scheduler")),
    Campaign(
        name="worker", about="kill -9 of the worker, not its guardian", kill=("worker",), reruns=SLOTS, no_db=True
    ),
    Campaign(name="guardian", about="kill -9 of the guardian", kill=("guardian",), reruns=SLOTS, no_db=True),
    Campaign(name="daemons", about="kill -9 of all daemons at once", kill=(*DAEMONS, "worker"), reruns=SLOTS),
    Campaign(name="cluster", about="kill -9 of hs-cluster itself", kill=("cluster",), finishes=False, no_db=True),
    Campaign(
        name="cluster-restart",
        about="kill -9 of hs-cluster itself; --restart comes while the others still end",
        kill=("cluster",),
        reruns=SLOTS,
        restarts=True,
    ),
    Campaign(
        name="restart",
        about="kill -9 of every process; --restart completes it",
        kill=("everything",),
        reruns=SLOTS,
        restarts=True,
    ),
    Campaign(
        name="steps",
        about="the same before a step of one of them, in starts and ends above all",
        steps=True,
        tasks_max=STEPS_TASKS,
        reruns=SLOTS,
        restarts=True,
    ),
    Campaign(
        name="crash-broker",
        about="the broker dies at a named point",
        crash=tuple(point for point in CRASH_POINTS if point.startswith("broker.")),
    ),
    Campaign(
        name="crash-scheduler",
        about="the scheduler dies at a named point",
        crash=tuple(point for point in CRASH_POINTS if point.startswith("scheduler.")),
    ),
    Campaign(
        name="crash-worker",
        about="the worker dies at a named point",
        crash=tuple(point for point in CRASH_POINTS if point.startswith("worker.")),
        reruns=SLOTS,
    ),
    Campaign(
        name="pause-worker", about="SIGSTOP of the worker, shorter than its lease (B1)", pause="worker", no_db=True
    ),
    Campaign(
        name="pause-broker", about="SIGSTOP of the broker, shorter than any lease (B2)", pause="broker", no_db=True
    ),
    Campaign(name="pause-scheduler", about="SIGSTOP of the scheduler", pause="scheduler"),
    Campaign(name="network", about="lines to the workers are cut, slow, broken or dead (C)", lines=KINDS),
    Campaign(name="network-broker", about="kill -9 of the broker while they are", kill=("broker",), lines=KINDS),
    Campaign(name="network-scheduler", about="kill -9 of the scheduler then", kill=("scheduler",), lines=KINDS),
    Campaign(name="sqlite-lock", about="the file is locked by another program", befalls="lock", lasts_s=LOCKED_S),
    Campaign(name="postgres", about="PostgreSQL stopped at once, and started (D2)", server=True, befalls="crash"),
    Campaign(
        name="postgres-terminate",
        about="the scheduler's session ended each second (D3)",
        server=True,
        befalls="terminate",
        lasts_s=5.0,
    ),
    Campaign(
        name="postgres-lock", about="its table is locked by another", server=True, befalls="lock", lasts_s=LOCKED_S
    ),
    Campaign(
        name="postgres-pause",
        about="SIGSTOP of all its processes, longer than any answer is waited for",
        server=True,
        befalls="pause",
        lasts_s=PAUSED_S,
    ),
    Campaign(name="postgres-line", about="the line to it is cut, slow, broken or dead", server=True, lines=KINDS),
    Campaign(name="postgres-second", about="a second scheduler (D6)", server=True, befalls="second"),
    Campaign(
        name="postgres-scheduler", about="kill -9 of the scheduler, on PostgreSQL", server=True, kill=("scheduler",)
    ),
    Campaign(
        name="postgres-crash-scheduler",
        about="the scheduler dies at a named point, on PostgreSQL",
        server=True,
        crash=tuple(point for point in CRASH_POINTS if point.startswith("scheduler.")),
    ),
)
