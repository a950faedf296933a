"""Peers without a key, on the TCP port of a real running cluster: the run goes on and nothing of theirs is accepted."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.faults import strangers
from tests.faults.home import Home
from tests.faults.processes import kill
from tests.faults.siege import Siege

pytestmark = pytest.mark.system


@pytest.fixture
def home() -> Iterator[Home]:
    with Home() as one:
        yield one


@pytest.mark.parametrize(
    "attack",
    [
        strangers.random_bytes,
        strangers.other_protocols,
        strangers.silence,
        strangers.slowloris,
        strangers.without_security,
        strangers.with_a_password,
        strangers.wrong_server_key,
        strangers.coming_and_going,
    ],
)
def test_the_run_goes_on_while_strangers_attack(home: Home, attack: Callable[[int], None]) -> None:
    """Whoever has no key costs a bounded amount of memory and descriptors, and gets nothing."""
    siege = Siege(home)
    attack(siege.port)
    siege.assert_unharmed()


def test_a_key_that_nobody_gave_is_turned_away(home: Home) -> None:
    """The broker's public key is no secret: knowing it must not be enough."""
    siege = Siege(home)
    strangers.unknown_keys(siege.port, siege.cluster.connection("worker").server_public)
    siege.assert_unharmed()


def test_a_squatter_on_the_port_of_a_dead_broker_gets_nothing(home: Home) -> None:
    """Workers and schedulers authenticate the broker: only its secret key answers for its public one."""
    siege = Siege(home)
    siege.cluster.kill_broker()
    with strangers.squatter(siege.port) as squatter:
        # A worker that knows this address only.
        lured = siege.cluster.start_worker("-N1", endpoints=(f"tcp://127.0.0.1:{siege.port}",))
        assert squatter.poll(3000) == 0, "it was sent something"
        kill(lured.pid)
    siege.cluster.restart_broker()
    siege.assert_unharmed()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_host_reaches_nothing(home: Home) -> None:
    """Socket, database, and the environment of the daemons are closed to other uids."""
    siege = Siege(home)
    os.chmod(home.folder, 0o755)
    probe = f"cat {siege.database}; ls {home.path('run', 'hs')}; ls {home.site}; cat {siege.cluster.ipc}; " + "; ".join(
        f"cat /proc/{pid}/environ" for pid in (siege.cluster.broker.pid, siege.worker.pid)
    )
    seen = subprocess.run(
        ["sh", "-c", probe], user=65534, group=65534, extra_groups=[], capture_output=True, check=False
    )
    assert seen.stdout == b""
    assert seen.stderr.count(b"denied") >= 4, seen.stderr
    siege.assert_unharmed()


def test_the_broker_still_answers_after_its_descriptors_ran_out(home: Home) -> None:
    """E3: idle TCP connections may take every descriptor; established peers do not notice, and the broker recovers."""
    siege = Siege(home)
    subprocess.run(["prlimit", f"--pid={siege.cluster.broker.pid}", "--nofile=64:64"], check=True)
    strangers.silence(siege.port, connections=200)
    siege.assert_unharmed()
