"""One trial: a whole hs-cluster run of deterministic tasks, disturbed at a moment that a seed decides, then judged."""

import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from tests.faults import databases
from tests.faults.campaigns import AIMS, SLOTS, STEPS, Campaign
from tests.faults.home import Home
from tests.faults.network import FORGOTTEN_S, LONG_LEASE_S, SHORT_LEASE_S, Blow, Network, blow, strike
from tests.faults.oracle import MODULUS, Allowance, Evidence, Verdict, judge, read_ledger
from tests.faults.processes import (
    daemon,
    descendants,
    ended_within,
    environment_has,
    everyone,
    identify,
    kill,
    until,
)

TASKS = 5_000

KILLS_MAX = 3
"""In one trial. Far fewer than the restarts that hs-cluster allows."""

PAUSE_MAX_S = 2.0

BLOW_MAX_S = 30.0
"""Of a line, but for connections that are forgotten."""

RERUNS_A_LEASE = 500
"""What a worker may have had in hand when its lease ended: of tasks as short as these, more than it runs at a time."""

RUN_MAX_S = 300.0
"""A run that takes longer is stuck: undisturbed it takes some seconds."""

APPEAR_S = 60.0
"""A daemon that is not there after so long: hs-cluster failed to (re)start it."""

SLEEPERS = 200
"""Every so many tasks one sleeps, so that something is running at most moments."""

AIMED = 0.25
"""Of the trials at a step: the part that strikes at a named one."""

STRIKER = os.path.join(os.path.dirname(__file__), "steps")
"""What Python imports first is there."""

# One write(2) a line. A shell of its own each, for the line has redirections.
TEMPLATE = (
    'echo "{{}} $TASK_DISPATCH $$ start" >>{ledger}; [ $(({{}} % {sleepers})) = 7 ] && sleep 0.1; '
    'echo "{{}} $TASK_DISPATCH $$ end" >>{ledger}; exit $(({{}} % {modulus}))'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a seed decided."""

    campaign: Campaign
    seed: str
    piped: bool
    """Input from a pipe, its second half written later; otherwise a FILE."""
    no_db: bool
    bundlesize: int
    moments: tuple[float, ...]
    """Parts (0..1) of the undisturbed run's time, at which to strike."""
    feed_at: float
    """Part of it, when the second half of a piped input comes."""
    pause_s: float
    crash_at: str
    """point:n, or "" for none."""
    step: str
    """program:step, or "" for none."""
    blows: tuple[Blow, ...]
    """To the lines of the workers, one for each moment."""
    lease_s: float
    """Of workers behind lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How it went."""

    plan: Plan
    verdict: Verdict
    strikes: int
    """How often the fault really happened; a run may be over before."""
    seconds: float


def plan(campaign: Campaign, seed: str, *, shortened_s: float = RUN_MAX_S) -> Plan:
    """Return what this seed does; nothing that befalls a database or a line lasts longer than `shortened_s`."""
    dice = random.Random(seed)
    # Two pauses, one after the other, are longer than a store is waited for (`limits.STORE_WAIT_S`).
    for_long = campaign.befalls in ("lock", "pause") or (campaign.server and campaign.lines)
    once = not campaign.finishes or campaign.restarts or for_long
    strikes = 1 if once else dice.choice((1, 1, 1, KILLS_MAX))
    crash = f"{dice.choice(campaign.crash)}:{dice.randint(1, 30)}" if campaign.crash else ""
    kinds = tuple(kind for kind in campaign.lines if kind != "forget" or shortened_s >= FORGOTTEN_S)
    return Plan(
        campaign=campaign,
        seed=seed,
        piped=dice.random() < 0.5,
        no_db=campaign.no_db and dice.random() < 0.25,
        bundlesize=dice.choice((1, 1, 7, 100)),
        moments=tuple(sorted(dice.random() for _ in range(strikes))) if campaign.strikes else (),
        # What is not in the copy of a pipe when everybody dies is nobody's to continue.
        feed_at=dice.random() if not campaign.restarts else 0.0,
        pause_s=min(shortened_s, campaign.lasts_s) if campaign.lasts_s else dice.uniform(0.1, PAUSE_MAX_S),
        crash_at=crash,
        step=_step(dice) if campaign.steps else "",
        blows=tuple(blow(dice, kinds, min(shortened_s, BLOW_MAX_S)) for _ in range(strikes if kinds else 0)),
        lease_s=dice.choice((SHORT_LEASE_S, LONG_LEASE_S)),
    )


def _step(dice: random.Random) -> str:
    """Return any step of any program, or one of those that are known to be delicate."""
    if dice.random() < AIMED:
        return dice.choice(AIMS)
    program = dice.choice(list(STEPS))
    return f"{program}:{dice.randint(1, STEPS[program])}"


def perform(plan: Plan, *, undisturbed_s: float, tasks: int = TASKS) -> Trial:
    """Run it and judge it. `undisturbed_s`: what such a run takes when nothing happens."""
    tasks = min(tasks, plan.campaign.tasks_max)
    with ExitStack() as stack:
        home = stack.enter_context(Home())
        run = _Run(home, plan, tasks)
        stack.callback(run.database.close)
        for between in (run.network, run.database.line):
            if between:
                stack.enter_context(between)
        begin = time.monotonic()
        run.start()
        strikes = run.disturb(undisturbed_s)
        finishes = plan.campaign.finishes
        if strikes and plan.campaign.restarts:
            finishes = run.accepted()
            run.restart()
        ended = ended_within(run.cluster.pid, max(0.0, begin + RUN_MAX_S + undisturbed_s - time.monotonic()))
        evidence = run.evidence(ended=ended)
        campaign = plan.campaign
        reruns = campaign.reruns * max(1, strikes)
        ended_leases = run.network.leases_ended() if run.network and plan.lease_s == SHORT_LEASE_S else 0
        beside = RERUNS_A_LEASE * ended_leases
        allowance = Allowance(reruns_max=reruns + beside, overlaps_max=beside, finishes=finishes)
        verdict = judge(evidence, allowance)
        if verdict.violations:
            verdict.remarks.append(f"log: {home.read('stderr')[-800:].decode(errors='replace')}")
        return Trial(plan=plan, verdict=verdict, strikes=strikes, seconds=time.monotonic() - begin)


class _Run:
    """The run of one trial."""

    def __init__(self, home: Home, plan: Plan, tasks: int) -> None:
        self._home = home
        self._plan = plan
        self._tasks = tasks
        self._lines = [b"%d\n" % task for task in range(tasks)]
        server, lines = plan.campaign.server, bool(plan.campaign.lines)
        self.database = databases.Server(lined=lines) if server else databases.SqliteFile(home)
        self.network = Network(home, plan.lease_s) if lines and not server else None
        self._blows = iter(plan.blows)
        self._marker = home.path("crashed")
        self.cluster: subprocess.Popen[bytes]

    def start(self) -> None:
        plan, home = self._plan, self._home
        template = TEMPLATE.format(ledger=home.path("ledger"), sleepers=SLEEPERS, modulus=MODULUS)
        options = [f"-N{SLOTS}", "-b", str(plan.bundlesize), "-t", template, "-f", home.path("failed")]
        if plan.no_db:
            options.append("--no-db")
        else:
            self.database.install_audit()
            options += ["--database", self.database.location]
        if self.network:
            options += self.network.options()
        if not plan.piped:
            options.append(home.write("tasks.txt", b"".join(self._lines)))
        env = {}
        if plan.crash_at:
            env = {"HYPERSHELL_CRASH_AT": f"{plan.crash_at}:{self._marker}"}
        if plan.step:
            env = {"FAULTS_STRIKE": f"{plan.step}:{self._marker}", "PYTHONPATH": STRIKER}
        with open(home.path("stderr"), "wb") as errors:
            stdin = subprocess.PIPE if plan.piped else subprocess.DEVNULL
            self.cluster = home.start("hs-cluster", *options, stdin=stdin, stderr=errors, env=env)
        self._feed(self._lines[: self._tasks // 2])

    def disturb(self, undisturbed_s: float) -> int:
        """Do what the plan says, each thing at its moment; return how often the fault happened."""
        steps = [(moment * undisturbed_s, "strike") for moment in self._plan.moments]
        steps += [(self._plan.feed_at * undisturbed_s, "feed")] if self._plan.piped else []
        begin = time.monotonic()
        strikes = 0
        for moment, step in sorted(steps):
            # The run itself may end sooner: then there is nothing left to disturb.
            if ended_within(self.cluster.pid, begin + moment - time.monotonic()) and step == "strike":
                continue
            if step == "feed":
                self._feed(self._lines[self._tasks // 2 :])
                self._end_input()
            else:
                strikes += self._strike()
        if self._plan.crash_at or self._plan.step:
            ended_within(self.cluster.pid, RUN_MAX_S)
            strikes += os.path.exists(self._marker)
        if self._plan.step and strikes:
            self._kill_everything()  # what was forked while they were killed
        return strikes

    def restart(self) -> None:
        """Continue what was left; the same checks then hold for the second hs-cluster."""
        self.cluster.wait()
        with open(self._home.path("stderr"), "ab") as errors:
            self.cluster = self._home.start(
                "hs-cluster", "--restart", "--database", self.database.location, stderr=errors
            )

    def accepted(self) -> bool:
        """Whether --restart can find the run, and all of its input: of a pipe the copy, which goes when the run is over."""
        latest = os.path.join(self._home.site, "latest")
        spool = os.path.join(latest, "input")
        if not self._plan.piped or not os.path.exists(latest):
            return os.path.exists(latest)
        with suppress(FileNotFoundError):
            return os.stat(spool).st_mode & 0o777 == 0o400
        return bool(self._home.read("ledger"))

    def evidence(self, *, ended: bool) -> Evidence:
        """Return all that the run left."""
        home, plan = self._home, self._plan
        status = self.cluster.wait() if ended else None
        if self.network:
            self.network.over()
        leftovers = home.leftovers() if ended else []
        with_rows = not plan.no_db and ended
        return Evidence(
            tasks=self._tasks,
            ledger=read_ledger(home.read("ledger")),
            rows=databases.rows(self.database) if with_rows else None,
            applied=databases.applied(self.database) if with_rows else {},
            failures=home.read("failed").splitlines() if plan.campaign.finishes else None,
            exit_status=status,
            leftovers=leftovers,
        )

    def _feed(self, lines: list[bytes]) -> None:
        if self._plan.piped and self.cluster.stdin:
            with suppress(BrokenPipeError):
                self.cluster.stdin.write(b"".join(lines))
                self.cluster.stdin.flush()

    def _end_input(self) -> None:
        if self.cluster.stdin:
            with suppress(BrokenPipeError):
                self.cluster.stdin.close()
            self.cluster.stdin = None

    def _strike(self) -> int:
        """Do what the campaign says; return how often it happened."""
        campaign = self._plan.campaign
        if campaign.lines:
            # Before there is a connection, nothing can befall it.
            until(lambda: self._home.read("ledger") or self.cluster.poll() is not None, APPEAR_S)
        self._home.remember(self.cluster.pid)
        if self.database.line:
            return strike([self.database.line], next(self._blows), self.cluster.pid)
        if campaign.befalls:
            return self.database.befall(campaign.befalls, self._plan.pause_s, self._home)
        if campaign.restarts:
            until(lambda: self.cluster.poll() is not None or self.accepted(), APPEAR_S)
        if campaign.kill == ("cluster",):
            return int(kill(self.cluster.pid))
        if campaign.kill == ("everything",):
            return self._kill_everything()
        victims = [self._find(name) for name in campaign.kill or (campaign.pause,) if name]
        if campaign.kill:
            killed = int(sum(kill(pid) for pid in victims if pid) > 0)
            return killed and self.network.strike(next(self._blows), self.cluster.pid) if self.network else killed
        if self.network:
            return self.network.strike(next(self._blows), self.cluster.pid)
        return sum(self._pause(pid) for pid in victims if pid)

    def _kill_everything(self) -> int:
        """Kill hs-cluster and all that it started, tasks included; return 1 if it was still there."""
        victims = [self.cluster.pid, *descendants(self.cluster.pid)]
        there = self.cluster.poll() is None and kill(self.cluster.pid)
        home = f"HOME={self._home.folder}".encode()
        while victims:
            for pid in victims:
                kill(pid)
            # A task that was forked while we looked: it has nobody above it any more.
            victims = [pid for pid in everyone() if environment_has(pid, home) and identify(pid)]
        return int(there)

    def _find(self, name: str) -> int | None:
        """Return the pid of a daemon, waiting for it while it is being (re)started and the run goes on."""
        until(lambda: daemon(self.cluster.pid, name) or self.cluster.poll() is not None, APPEAR_S)
        return daemon(self.cluster.pid, name)

    def _pause(self, pid: int) -> int:
        if not kill(pid, signal.SIGSTOP):
            return 0
        ended_within(self.cluster.pid, self._plan.pause_s)
        kill(pid, signal.SIGCONT)
        return 1
