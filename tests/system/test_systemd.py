"""The units, under a real systemd: installed as the page says, killed, hung, upgraded."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.processes import until
from tests.system.machine import REPOSITORY, Machine, obstacle
from tests.system.service import PAGE, STEP_S, UNITS, await_all, commands, install, ledger, submit

pytestmark = pytest.mark.system

ALICE = "/var/lib/alice"
MANAGER = """[Service]
Type=notify
User=alice
Environment=XDG_RUNTIME_DIR=/run/user-alice
ExecStartPre=+install -d -o alice -m 0700 /run/user-alice
ExecStart=/lib/systemd/systemd --user
Delegate=yes
"""
"""What the distribution's user@.service does, but for logind."""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """One on which the service was installed."""
    if reason := obstacle():
        pytest.skip(reason)
    with Machine() as one:
        install(one)
        yield one


@pytest.fixture
def service(machine: Machine) -> Machine:
    """All of it running."""
    await_all(machine)
    return machine


def numbered(name: str, count: int, seconds: float) -> list[str]:
    return [f"sleep {seconds}; echo {number} >>/var/lib/hs-worker/{name}" for number in range(count)]


@pytest.mark.parametrize("unit", ["hs-broker", "hs-scheduler"])
def test_a_unit_is_hardened(unit: str) -> None:
    """At most 3.0 of 10 on systemd's own scale."""
    if not Path("/usr/bin/systemd-analyze").exists():
        pytest.skip("systemd is not installed")
    path = REPOSITORY / f"deploy/systemd/{unit}.service"

    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-200:]


def test_tasks_run_as_a_user_who_can_read_no_secret_but_the_key_of_workers(service: Machine) -> None:
    """Nor do they see what systemd says to their worker."""
    out = "/var/lib/hs-worker/who"
    probe = f'(id -un; cat /var/lib/hs-cluster/keys/main.json; echo "told:$NOTIFY_SOCKET$WATCHDOG_USEC") >>{out}'
    submit(service, "who", [probe])

    assert until(lambda: len(ledger(service, "who")) == 2, STEP_S), service.log("hs-worker@")
    assert ledger(service, "who") == ["hs-worker", "told:"]


def test_a_broker_that_is_killed_is_back_at_once_and_nothing_runs_twice(service: Machine) -> None:
    """Workers run on meanwhile. The page says how long it is away; here that would be the time of a busy machine."""
    submit(service, "killed", numbered("killed", 60, 0.1))
    assert until(lambda: len(ledger(service, "killed")) >= 5, STEP_S), service.log("hs-scheduler")
    before = service.pid_of("hs-broker")

    service.run("kill", "-9", str(before))

    assert until(lambda: service.pid_of("hs-broker") not in (0, before) and service.active("hs-broker"), STEP_S)
    assert until(lambda: len(ledger(service, "killed")) >= 60, STEP_S)
    assert sorted(map(int, ledger(service, "killed"))) == list(range(60))


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_is_never_given_up(service: Machine, unit: str) -> None:
    """By default systemd starts one five times in ten seconds, and then never again."""
    assert service.property_of(unit, "StartLimitIntervalUSec") == "0"
    assert service.property_of(unit, "Restart") == "always"


def test_an_upgrade_loses_no_task_and_runs_none_twice(service: Machine) -> None:
    """By the commands of the page, while tasks run: running ones finish in the worker that is stopped."""
    submit(service, "upgrade", numbered("upgrade", 40, 0.2))
    assert until(lambda: len(ledger(service, "upgrade")) >= 4, STEP_S), service.log("hs-scheduler")

    for line in commands("Upgrade")[1:]:
        service.shell(line)

    assert until(lambda: len(ledger(service, "upgrade")) >= 40, STEP_S)
    assert sorted(map(int, ledger(service, "upgrade"))) == list(range(40))


@pytest.mark.parametrize("unit", UNITS)
def test_a_loop_that_stands_still_is_ended_and_begun_again(service: Machine, unit: str) -> None:
    """The worker's own loop too, through its guardian."""
    # Given a service that is watched closely
    file = re.sub(r"@.*", "@", unit) + ".service"
    service.configure(file, f"StandardError=append:/var/lib/{unit}.log", "WatchdogSec=3s")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", unit)
    beats: set[str] = set()

    def beating() -> bool:
        beats.add(service.property_of(unit, "WatchdogTimestampMonotonic"))
        return len(beats) > 3

    assert until(beating, STEP_S, poll_s=0.1), "a healthy one says that it is"

    # When its loop stops: of a worker not the guardian's
    before = service.pid_of(unit)
    victim = service.shell(f"cat /proc/{before}/task/{before}/children").split() if "worker" in unit else []
    service.run("kill", f"-{int(signal.SIGSTOP)}", *(victim or [str(before)]))

    # Then another takes its place
    assert until(lambda: service.pid_of(unit) not in (0, before) and service.active(unit), STEP_S, poll_s=0.1)
    # And whatever comes next is not watched so closely: a busy machine may stand still for as long.
    service.configure(file, f"StandardError=append:/var/lib/{unit}.log")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", unit)


def as_alice(machine: Machine, line: str) -> str:
    """Run a shell line in the home of a user who has logged in."""
    account = ("setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "env", "-i")
    names = (f"HOME={ALICE}", "XDG_RUNTIME_DIR=/run/user-alice", f"PATH={ALICE}/.local/bin:/usr/bin:/bin")
    return machine.run(*account, *names, "sh", "-euc", f"cd; {line}")


def test_a_user_has_a_service_too(machine: Machine) -> None:
    """By the commands of the page, under the systemd of that user: daemons that are killed come again, nothing runs twice."""
    # Given an account, whose systemd is what a login would start, and what the first two commands bring
    (machine.root / "etc/systemd/system/manager.service").write_text(MANAGER)
    machine.shell(f"useradd -m -d {ALICE} alice; systemctl daemon-reload; systemctl start manager")
    as_alice(machine, "mkdir -p .local/share; ln -s /opt/hs-cluster .local/share")

    # When all but the last are executed, which is logind's
    for line in commands("For yourself")[2:-1]:
        as_alice(machine, line)

    # Then there is a standing queue
    as_alice(
        machine,
        'for number in 1 2 3 4 5; do hs submit -- "echo $number >>ran; until [ -e go ]; do sleep 0.1; done"; done',
    )
    assert until((machine.root / "varlib/alice/ran").exists, STEP_S)

    # And its broker and its scheduler come again
    for unit in ("hs-broker", "hs-scheduler"):
        as_alice(machine, f"systemctl --user kill --signal=KILL {unit}")
    again = "systemctl --user is-active hs-broker hs-scheduler && hs status || true"
    assert until(lambda: "workers  1 on 1 host" in as_alice(machine, again), STEP_S, poll_s=0.1)
    as_alice(machine, "touch go; hs task wait $(hs task search id -f plain)")
    assert sorted((machine.root / "varlib/alice/ran").read_text().split()) == ["1", "2", "3", "4", "5"]
    as_alice(machine, "systemctl --user stop hs-worker@main hs-scheduler hs-broker")
    limits = as_alice(machine, "systemctl --user show -P StartLimitIntervalUSec hs-broker hs-scheduler hs-worker@main")
    assert set(limits.split()) == {"0"}
    assert as_alice(machine, "systemctl --user --state=failed --plain --no-legend list-units") == ""


def test_the_page_names_what_there_is() -> None:
    """Every unit file that is shipped is in it."""
    shipped = {os.path.splitext(path.name)[0].rstrip("@") for path in (REPOSITORY / "deploy/systemd").glob("*.service")}

    assert all(unit in PAGE for unit in shipped)
    assert shipped == {"hs-broker", "hs-scheduler", "hs-worker"}
