"""`hs doctor` on another host than the cluster's: each fault is made there, and the line about it says what to do."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.faults.home import Home
from tests.faults.processes import until
from tests.system.namespaces import Host, may_make

import hs_common
from hs_common.security import read_connection

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not may_make() and not os.environ.get("CI"), reason="needs root and network namespaces"),
]

AN_HOUR_LATER = """
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += 3650;
    return failed;
}
"""
"""In the place of the C library's: a host whose clock is wrong."""

FAULTS = {
    "clock": ("export LD_PRELOAD={folder}/clock.so", "clock", "-36", "time server"),
    "version": ("export PYTHONPATH={folder}/older", "same version", "0.0.1 here", "install the same version"),
    "open files": ("ulimit -n 256", "open files", "256, at most 256", "hard limit raised"),
    "shared path": ("mount -t tmpfs none {folder}/queue", "shared path", "queue/tasks.db", "run task commands on"),
    "space": ("mount -t tmpfs -o size=1m,mode=700 none {folder}/site", "space", "MiB free in the site", "make room"),
    "file of others": ("chmod 644 {copy}", "connection", "copy.json", "chmod 600"),
    "no file": ("rm {copy}", "connection", "copy.json", "copy it from the host of the broker"),
}
"""What is done there before: what it concerns, what is found, what is advised."""


class Pair(NamedTuple):
    """A cluster on this host, and another host with a copy of its connection file."""

    home: Home
    host: Host

    def examined(self, before: str = ":", *, wrong: Sequence[str] = ()) -> tuple[int, dict[str, dict[str, Any]]]:
        """Examine until just these things are wrong: on a busy machine who is well may not answer in time.

        Returns the status, and each finding by what was looked at.
        """
        found = self._examined(before)

        def as_expected() -> bool:
            nonlocal found
            if [name for name, finding in found[1].items() if not finding["ok"]] == list(wrong):
                return True
            found = self._examined(before)
            return False

        assert until(as_expected), found
        return found

    def _examined(self, before: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Run it there after a shell line."""
        folder, copy = self.home.folder, self.home.path("copy.json")
        shutil.copy(self.home.path("site/connect/main/control.json"), copy)
        before = before.format(folder=folder, copy=copy)
        line = f"hostname far; {before}; exec hs doctor --json --connection {copy}"
        done = self.home.run(*self.host.prefix, "unshare", "--mount", "--uts", "sh", "-euc", line)
        return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Give both, the cluster complete."""
    with Home() as home, closing(Host()) as host:
        compiled = ["gcc", "-shared", "-fPIC", "-x", "c", "-o", home.path("clock.so"), "-"]
        subprocess.run(compiled, input=AN_HOUR_LATER, text=True, check=True)
        older = Path(home.path("older/hs_common"))
        shutil.copytree(Path(hs_common.__file__).parent, older)
        (older / "__init__.py").write_text('__version__ = "0.0.1"\n')
        os.mkdir(home.path("queue"))
        home.start("hs-broker", "-H", host.ours)
        assert until(lambda: os.path.exists(home.path("site/connect/main/control.json")))
        home.start("hs-scheduler", "--forever", "--connection", "main", "--database", home.path("queue/tasks.db"))
        one = Pair(home, host)
        one.examined()
        yield one


@contextmanager
def closing(host: Host) -> Iterator[Host]:
    try:
        yield host
    finally:
        host.close()


def test_a_host_from_which_all_is_well_is_said_to_be(pair: Pair) -> None:
    """From the program there to the database here."""
    status, found = pair.examined()

    assert status == 0
    assert {"name", "port", "keys", "scheduler", "same version", "clock", "shared path"} <= set(found)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_there_is_found_and_mended_by_what_it_says(pair: Pair, fault: str) -> None:
    """One thing, and nothing else."""
    before, what, found_there, advice = FAULTS[fault]

    status, found = pair.examined(before, wrong=[what])

    assert status == 1
    assert found_there in found[what]["found"]
    assert advice in found[what]["fix"]


def test_a_cable_that_is_not_plugged_in_is_no_answer(pair: Pair) -> None:
    """What was sent was lost."""
    pair.host.deafen()

    status, found = pair.examined(wrong=["port", "broker"])

    pair.host.heal()
    assert status == 1
    assert "no answer in 3 s" in found["port"]["found"]
    assert "firewall" in found["port"]["fix"]


def test_a_name_that_is_not_known_there_is_no_fault_while_an_address_is(pair: Pair) -> None:
    """A broker tells all that it is called."""
    path = pair.home.path("site/connect/main/control.json")
    current = read_connection(path)
    named = replace(current, endpoints=("tcp://broker.invalid:50001", *current.endpoints))
    alone = replace(current, endpoints=("tcp://broker.invalid:50001",))
    told = {
        name: pair.home.write(f"{name}.json", json.dumps(one.to_json()).encode())
        for name, one in (("named", named), ("alone", alone))
    }

    status, found = pair.examined(f"cp {told['named']} {{copy}}")
    assert (status, found["port"]["ok"]) == (0, True)

    status, found = pair.examined(f"cp {told['alone']} {{copy}}", wrong=["name", "broker"])
    assert status == 1
    assert "--bind an address" in found["name"]["fix"]
    assert "is hs-broker running" in found["broker"]["fix"]


def test_another_program_at_the_port_is_told_from_a_broker(pair: Pair) -> None:
    """It answers, but not with the key of this cluster."""
    current = read_connection(pair.home.path("site/connect/main/control.json"))
    with socket.create_server((pair.host.ours, 0)) as other:
        endpoint = f"tcp://{pair.host.ours}:{other.getsockname()[1]}"
        told = pair.home.write("told.json", json.dumps(replace(current, endpoints=(endpoint,)).to_json()).encode())

        status, found = pair.examined(f"cp {told} {{copy}}", wrong=["keys", "broker"])

    assert (status, found["port"]["ok"]) == (1, True)
    assert "another program has that port" in found["keys"]["found"]
