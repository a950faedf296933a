"""The row about a permanent service: `service`."""

from itertools import pairwise

from tests.bench.bench import Bench, RunError
from tests.bench.measure import Series
from tests.bench.table import Judged, at_most, figures
from tests.faults.processes import until
from tests.system.machine import Machine, obstacle
from tests.system.service import await_all, install, ledger, submit

from hs_common.clock import monotonic

TASKS, TASK_S = 200, 0.05
LEDGER = "/var/lib/hs-worker/{0}"
TASK = f'sleep {TASK_S}; read now _ </proc/uptime; echo "{{1}} $now" >>{LEDGER}'
"""Says which one it is, and when it ended: seconds since boot."""
BEFORE = 20
"""The broker is killed when so many tasks have ended."""
STEP_S = 60.0


def service(bench: Bench) -> list[Judged]:
    """Kill the broker under systemd while tasks run, once a round: until it is back, and how long no task ended."""
    if reason := obstacle():
        raise RunError(reason)
    with Machine() as machine:
        install(machine)
        rounds = [_killed(machine, f"round-{number}") for number in range(bench.rounds)]
    back = Series(name="until systemd says that it is ready", values=tuple(seconds for seconds, _ in rounds))
    pause = Series(name="longest time in which no task ended", values=tuple(seconds for _, seconds in rounds))
    return [
        Judged(
            row="service",
            what="a broker that was killed under systemd is back",
            value=back.median,
            bar=at_most(2.0, "s"),
            figures=figures([back, pause], "s"),
        )
    ]


def _killed(machine: Machine, name: str) -> tuple[float, float]:
    """Return the seconds until the broker was ready again, and the longest pause between two tasks.

    Raises:
        RunError: A task ran twice, or not at all.

    """
    await_all(machine)
    submit(machine, name, [TASK.format(name, number) for number in range(TASKS)])
    _await_words(machine, name, 2 * BEFORE)
    before = machine.pid_of("hs-broker")
    killed_at = monotonic()
    machine.run("kill", "-9", str(before))
    _await_words(machine, name, 2 * TASKS)
    ready_at = int(machine.property_of("hs-broker", "ActiveEnterTimestampMonotonic")) / 1e6
    words = ledger(machine, name)
    if sorted(map(int, words[::2])) != list(range(TASKS)) or machine.pid_of("hs-broker") == before:
        raise RunError(f"{len(words) // 2} tasks ended, of {TASKS}")
    ended = sorted(map(float, words[1::2]))
    return ready_at - killed_at, max(later - one for one, later in pairwise(ended))


def _await_words(machine: Machine, name: str, count: int) -> None:
    if not until(lambda: len(ledger(machine, name)) >= count, STEP_S):
        raise RunError(f"the tasks stand still after {len(ledger(machine, name)) // 2}")
