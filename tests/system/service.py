"""The service of a machine with systemd: installed by the commands of docs/service.md, and given tasks."""

import re

from tests.faults.processes import until
from tests.system.machine import REPOSITORY, Machine

UNITS = ("hs-broker", "hs-scheduler", "hs-worker@main")
STEP_S = 60.0
PAGE = (REPOSITORY / "docs/service.md").read_text()
_AS_OWNER = "HYPERSHELL_SITE=/var/lib/hs-cluster setpriv --reuid=hs-cluster --regid=hs-cluster --clear-groups"


def commands(heading: str) -> list[str]:
    """Return the lines of the first block below a heading of the page."""
    block = re.search(rf"^## {heading}.*?^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    return block.group(1).splitlines()


def install(machine: Machine) -> None:
    """Do what the page says, but for the two commands that bring the program."""
    for unit in ("hs-broker", "hs-scheduler", "hs-worker@"):
        machine.configure(f"{unit}.service", f"StandardError=append:/var/lib/{unit}.log")
    for line in commands("Install")[2:]:
        machine.shell(line)


def await_all(machine: Machine) -> None:
    """Return when all of it runs."""
    assert until(lambda: all(machine.active(unit) for unit in UNITS), STEP_S), [machine.log(unit) for unit in UNITS]


def submit(machine: Machine, name: str, lines: list[str]) -> None:
    """Put tasks into the queue, however the scheduler is: it is away meanwhile."""
    (machine.root / f"varlib/{name}.tasks").write_text("".join(f"{line}\n" for line in lines))
    machine.run("systemctl", "stop", "hs-scheduler")
    # The folder of the tasks is where they were submitted: one that the worker may enter.
    queue = "--database /var/lib/hs-cluster/main/tasks.db"
    machine.shell(f"cd / && {_AS_OWNER} /opt/hs-cluster/bin/hs submit {queue} -f /var/lib/{name}.tasks")
    machine.run("systemctl", "start", "hs-scheduler")


def ledger(machine: Machine, name: str) -> list[str]:
    """Return the words that tasks wrote into a file of this name in their worker's folder."""
    path = machine.root / f"varlib/hs-worker/{name}"
    return path.read_text().split() if path.exists() else []
