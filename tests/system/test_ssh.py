"""Workers over SSH, against a real sshd. What all ways have in common is in `test_elsewhere`."""

import json
import os
import re
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.faults.home import Home
from tests.faults.processes import daemon, kill, resident_bytes, state, until
from tests.system.conftest import Hosts
from tests.system.namespaces import may_make

from hs_common.limits import MIB
from hs_deploy.launchers.nodes import parse_nodes
from hs_deploy.launchers.session import Streams
from hs_deploy.launchers.ssh_args import parse_ssh_args
from hs_deploy.launchers.ssh_fabric import log_in

pytestmark = pytest.mark.system

CLIENTS = ["fabric", "openssh"]

FOR_TWO = b"touch a; until [ -e b ]; do sleep 0.1; done\ntouch b; until [ -e a ]; do sleep 0.1; done\n"
"""Tasks that wait for each other: they need two workers of one slot."""


UNREAD_BYTES = 1_000_000
"""Of a task: more than pipes hold, and less than would make it wait."""


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, home: Home) -> str:
    """Let each of the two log in."""
    name: str = request.param
    home.env["HYPERSHELL_SSH_CLIENT"] = name
    return name


def run_on(
    home: Home, hosts: Hosts, *options: str, stdin: bytes = b"echo ran\n"
) -> "subprocess.CompletedProcess[bytes]":
    return home.run("hs-cluster", *hosts.options, *options, stdin=stdin)


def test_an_unknown_host_is_refused(home: Home, hosts: Hosts, client: str) -> None:
    """Nobody asks, so nobody may say yes."""
    home.write(".ssh/known_hosts", b"")

    done = run_on(home, hosts)

    assert (done.returncode, done.stdout) == (3, b"")
    assert re.search(rb"host key is not known|Host key verification failed", done.stderr)
    assert b"no host is left" in done.stderr
    assert home.leftovers() == []


def test_a_host_with_another_key_than_the_known_one_is_refused(home: Home, hosts: Hosts, client: str) -> None:
    """It may be somebody else."""
    first, second = hosts.servers
    _, key = second.known_host.split(" ", maxsplit=1)
    home.write(".ssh/known_hosts", f"[{first.address}]:{first.port} {key}".encode())

    done = run_on(home, hosts, stdin=b"touch ran\n")

    assert done.returncode == 3
    assert not os.path.exists(home.path("ran"))


def test_a_host_that_fails_is_named_and_the_run_goes_on(home: Home, hosts: Hosts, client: str) -> None:
    """Here nobody listens any more."""
    hosts.servers[1].close()

    done = run_on(home, hosts, "-N2", stdin=b"echo ran\n" * 20)

    assert (done.returncode, done.stdout) == (0, b"ran\n" * 20), done.stderr
    assert re.search(rf"{hosts.servers[1].host}: .*Connection refused".encode(), done.stderr)


def test_a_login_that_is_refused_says_so(home: Home, hosts: Hosts, client: str) -> None:
    """And which client may do what fabric cannot."""
    for server in hosts.servers:
        Path(server.folder, "authorized_keys").write_text("")

    done = run_on(home, hosts)

    assert done.returncode == 3
    assert re.search(rb"Permission denied|Authentication failed.*ssh.client = openssh", done.stderr, re.IGNORECASE), (
        done.stderr
    )


def test_lines_of_known_hosts_that_mean_nothing_to_us_hide_no_host(home: Home, hosts: Hosts, client: str) -> None:
    """An authority, a comment, a pattern, garbage."""
    known = "".join(server.known_host for server in hosts.servers)
    pattern = re.sub(r"\[127[^]]*\]", "[127.0.0.?]", known)
    home.write(".ssh/known_hosts", f"@cert-authority *.example.org ssh-ed25519 AAAA\n# x\nnonsense\n{pattern}".encode())

    done = run_on(home, hosts)

    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr


def test_a_key_that_was_revoked_is_refused(home: Home, hosts: Hosts, client: str) -> None:
    """Whatever else the file says of it."""
    known = "".join(server.known_host for server in hosts.servers)
    revoked = "".join(f"@revoked * {server.known_host.split(' ', 1)[1]}" for server in hosts.servers)
    home.write(".ssh/known_hosts", (revoked + known).encode())

    assert run_on(home, hosts).returncode == 3


def test_the_configuration_of_the_user_applies(home: Home, hosts: Hosts) -> None:
    """Names that only it knows, with address, port, user and key."""
    for number, server in enumerate(hosts.servers, 1):
        with open(home.path(".ssh/config"), "a", encoding="ascii") as file:
            file.write(f"Host n{number}\n HostName 127.0.0.1\n Port {server.port}\n User {server.user}\n")
            file.write(f" IdentityFile {server.key}\n IdentitiesOnly yes\n")

    done = home.run("hs-cluster", "--ssh", "n[1-2]", stdin=FOR_TWO)

    assert done.returncode == 0, done.stderr


def test_hosts_may_stand_in_the_settings(home: Home, hosts: Hosts) -> None:
    """As a table of lists, and --ssh-group names one."""
    first, second = hosts.servers
    args = hosts.options[3]
    os.makedirs(home.path(".hypershell"))
    nodes = f"{{ one = '{first.host}', two = ['{second.host}'] }}"
    home.write(".hypershell/config.toml", f"[ssh]\nargs = '{args}'\nnodelist = {nodes}\n".encode())

    grouped = home.run("hs-cluster", "--ssh-group", "two", stdin=b"echo $SSH_CONNECTION\n")
    every = home.run("hs-cluster", "--ssh", stdin=FOR_TWO)

    assert grouped.stdout.split()[3] == str(second.port).encode(), grouped.stderr
    assert every.returncode == 0, every.stderr


def test_variables_arrive_as_they_are_and_secrets_stay(home: Home, hosts: Hosts, client: str) -> None:
    """Blanks, quotes, newlines, bytes that are no text."""
    odd = "a  b 'c' \"d\"\n$HOME `x` \\ \udcff"
    env = {"HYPERSHELL_WORKER_TEMPLATE": odd, "HYPERSHELL_DATABASE_URL": "", "HYPERSHELL_SITE": home.site}

    done = home.run(
        "hs-cluster", *hosts.options, "-E", "-t", "{}", env=env,
        stdin=b'printf %s "$HYPERSHELL_WORKER_TEMPLATE"; echo; env | grep -c ^HYPERSHELL_DATABASE\n',
    )  # fmt: skip

    assert done.stdout == os.fsencode(odd) + b"\n0\n", done.stderr


def test_without_e_no_variable_is_sent(home: Home, hosts: Hosts, client: str) -> None:
    """A host has settings of its own."""
    done = run_on(home, hosts, stdin=b"echo ${HYPERSHELL_SITE-none} ${HYPERSHELL_SETTINGS-none}\n")

    assert done.stdout == b"none none\n", done.stderr


def test_a_session_that_is_cut_takes_its_worker_along_and_is_opened_again(
    home: Home, hosts: Hosts, client: str
) -> None:
    """What ran there runs again."""
    home.write("tasks", b"[ -e mark ] && exec touch ended; touch mark; echo $$ >> started; exec sleep 300\n")
    # Waited for only where the worker was killed before it could hand back, and longer than a busy machine keeps one silent.
    home.env["HYPERSHELL_WORKER_LEASE"] = "20"
    cluster = home.start("hs-cluster", *hosts.options, "tasks", stderr=subprocess.PIPE)
    assert until(lambda: home.read("started").count(b"\n") == 1)
    task = int(home.read("started"))
    home.remember(cluster.pid)

    for session in sessions_of(hosts):
        kill(session)

    assert until(lambda: not os.path.exists(f"/proc/{task}")), "it outlived its session"
    assert cluster.wait(120) == 0
    assert os.path.exists(home.path("ended"))
    assert cluster.stderr is not None
    assert b"trying again" in cluster.stderr.read()


def sessions_of(hosts: Hosts) -> list[int]:
    """Return the processes of sshd that serve somebody."""
    found = []
    for server in hosts.servers:
        with open(f"/proc/{server.process.pid}/task/{server.process.pid}/children", encoding="ascii") as file:
            found += [int(pid) for pid in file.read().split()]
    return found


def test_ctrl_z_reaches_the_tasks_of_all_hosts(home: Home, hosts: Hosts, client: str) -> None:
    """They stand still; then all of it goes on."""
    # Given a task on each host
    home.write("tasks", b"echo $$ >> pids; exec sleep 300\n" * 2 + b"true\n")
    cluster = home.start("hs-cluster", *hosts.options, "tasks", stderr=subprocess.PIPE)
    assert until(lambda: home.read("pids").count(b"\n") == 2, 60)
    pids = list(map(int, home.read("pids").split()))

    # When hs-cluster is stopped
    cluster.send_signal(signal.SIGTSTP)
    assert until(lambda: list(map(state, [*pids, cluster.pid])) == ["T"] * 3)
    assert not until(lambda: list(map(state, pids)) != ["T"] * 2, 2)

    # Then it goes on as if nothing had been
    cluster.send_signal(signal.SIGCONT)
    assert until(lambda: list(map(state, pids)) == ["S"] * 2)
    for pid in pids:
        kill(pid)
    _, said = cluster.communicate(timeout=60)
    assert cluster.returncode == 1, said
    assert b"3 tasks, 2 failed" in said
    assert home.leftovers() == []


def test_lines_of_outputs_stay_whole(home: Home, hosts: Hosts, client: str) -> None:
    """Of two hosts and four slots at once, on both streams."""
    task = b"for i in 1 2 3 4 5 6 7 8 9; do printf a; printf 'aaa\\n'; printf b >&2; printf 'bbb\\n' >&2; done\n"

    done = run_on(home, hosts, "-N2", "-q", stdin=task * 20)

    assert done.stdout == b"aaaa\n" * 180
    assert done.stderr == b"bbbb\n" * 180


def test_outputs_that_do_not_come_at_the_end_of_a_run_are_lost_and_it_says_so(
    home: Home, hosts: Hosts, client: str
) -> None:
    """The task itself stops what carries them: no connection breaks, and nothing moves. Nobody waits longer than the lease."""
    home.env["HYPERSHELL_WORKER_LEASE"] = "6"
    task = b"echo begun; until [ -e sessions ]; do sleep 0.1; done; kill -STOP $(cat sessions); echo ended\n"
    home.write("tasks", task)
    with open(home.path("out"), "wb") as out, open(home.path("said"), "wb") as said:
        cluster = home.start("hs-cluster", *hosts.options, "tasks", stdout=out, stderr=said)
    assert until(lambda: home.read("out") == b"begun\n", 60), home.read("said")
    sessions = sessions_of(hosts)
    home.write("pids", " ".join(map(str, sessions)).encode())
    os.rename(home.path("pids"), home.path("sessions"))

    try:
        assert cluster.wait(60) == 3, home.read("said")
    finally:
        for session in sessions:
            kill(session, signal.SIGCONT)

    assert re.search(rb"^hs-cluster: outputs that were on their way from .* are lost", home.read("said"), re.MULTILINE)
    assert home.read("out") == b"begun\n"
    assert home.leftovers() == []


def test_nothing_is_read_ahead_of_a_reader_who_stopped(home: Home, hosts: Hosts) -> None:
    """The tasks wait for him, as at a pipe; here is kept a bounded part of what they say, however long that takes."""
    # Given a task that has more to say than anybody keeps, and a reader who has seen the beginning
    cluster = home.start("hs-cluster", *hosts.options, home.write("tasks", b"yes\n"), stdout=subprocess.PIPE)
    assert cluster.stdout is not None
    assert cluster.stdout.read(2) == b"y\n"
    holder = daemon(cluster.pid, "ssh")
    assert holder is not None
    before = resident_bytes(holder)

    # When it has reason to look after its sessions again and again
    for _ in range(200):
        os.kill(holder, signal.SIGCONT)
        assert until(lambda: state(holder) == "S", 60)

    # Then
    assert resident_bytes(holder) - before < 20 * MIB
    cluster.stdout.close()
    assert cluster.wait(60) == 3
    assert home.leftovers() == []


def ended_but_unread(home: Home, hosts: Hosts) -> "subprocess.Popen[bytes]":
    """Return a run whose tasks have ended, and whose reader has not begun to read."""
    home.write("tasks", b"1\n2\n")
    task = f"yes {{}} | head -c {UNREAD_BYTES}; touch ended.{{}}"
    command = ("hs-cluster", *hosts.options, "-N1", "-t", task, "tasks")
    cluster = home.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert until(lambda: all(os.path.exists(home.path(f"ended.{number}")) for number in (1, 2)), 60)
    assert until(lambda: daemon(cluster.pid, "scheduler") is None)
    return cluster


def test_a_reader_may_take_his_time_at_the_end_of_a_run(home: Home, hosts: Hosts, client: str) -> None:
    """As with a local one, whose tasks would wait."""
    cluster = ended_but_unread(home, hosts)

    assert not until(lambda: cluster.poll() is not None, 2)
    out, said = cluster.communicate(timeout=60)

    assert cluster.returncode == 0, said
    assert Counter(out.splitlines()) == {b"1": UNREAD_BYTES // 2, b"2": UNREAD_BYTES // 2}
    assert home.leftovers() == []


def test_two_interrupts_give_up_what_nobody_reads(home: Home, hosts: Hosts) -> None:
    """The first one only says that there is something."""
    cluster = ended_but_unread(home, hosts)
    assert cluster.stderr is not None

    cluster.send_signal(signal.SIGINT)
    assert b"once more gives them up" in cluster.stderr.readline()
    cluster.send_signal(signal.SIGINT)

    assert cluster.wait(60) == 130
    assert b"giving up" in cluster.stderr.readline()
    assert home.leftovers() == []


def test_who_is_to_end_is_told_nothing_more(hosts: Hosts) -> None:
    """A word to a session whose stdin is closed goes nowhere, and waits for nothing: beats go on until it has ended."""
    node = parse_nodes(hosts.servers[0].host, "--ssh")[0]
    args = parse_ssh_args(hosts.options[3], "--ssh-args", fabric=True)
    streams = Streams(lambda _: None, lambda _: None)
    session, _ = log_in(node, args, "exec sleep 300", streams, silence_s=300.0, tunnel_to=None)

    session.release()
    session.tell(b"\n")

    assert session.status is None
    session.close()


def test_outputs_come_in_the_order_of_the_input(home: Home, hosts: Hosts, client: str) -> None:
    """The slowest first, failures retried, silent ones between, a large one; both streams; and nothing is left of it."""
    lines = [b"until [ -e last ]; do sleep 0.05; done; echo 0; echo e0 >&2"]
    lines += [b"[ $TASK_ATTEMPT = 2 ] && echo %d || { echo failed; false; }" % row for row in range(1, 20)]
    lines += [b"true", b"head -c 3000000 /dev/zero | tr '\\0' x", b"echo; touch last"]

    done = run_on(home, hosts, "-q", "-k", "-N2", "-r1", stdin=b"\n".join(lines) + b"\n")

    assert (done.returncode, done.stderr) == (0, b"e0\n")
    assert done.stdout == b"".join(b"%d\n" % row for row in range(20)) + b"x" * 3_000_000 + b"\n"
    assert [names for _, names, _ in os.walk(home.folder) if "outputs" in names] == []
    assert home.leftovers() == []


def test_whole_outputs_are_not_mixed(home: Home, hosts: Hosts, client: str) -> None:
    """Larger than any buffer, and written a little at a time."""
    line = b"for i in 1 2 3; do head -c 200000 /dev/zero | tr '\\0' %d; done; echo\n"

    done = run_on(home, hosts, "-q", "--group-output", "-N2", stdin=b"".join(line % row for row in range(1, 7)))

    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == [b"%d" % row * 600_000 for row in range(1, 7)]


@pytest.mark.parametrize("victim", ["worker", "guardian", "session"])
def test_ordered_outputs_survive_who_was_to_send_them(home: Home, hosts: Hosts, client: str, victim: str) -> None:
    """What was running is printed once, as it ran last, though it had said something before."""
    find = {
        "worker": "pid=$PPID",
        "guardian": "pid=$(ps -o ppid= $PPID)",
        "session": "pid=$PPID; until ps -o comm= $pid | grep -q ^sshd; do pid=$(ps -o ppid= $pid); done",
    }
    doomed = f"mkdir mark && {{ echo lost; {find[victim]}; kill -9 $pid; sleep 300; }}; echo 2\n".encode()
    lines = b"echo 1\n" + doomed + b"".join(b"echo %d\n" % row for row in range(3, 40))

    done = run_on(home, hosts, "-q", "-k", "-N2", stdin=lines)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [b"%d" % row for row in range(1, 40)]


def test_a_reader_that_has_enough_ends_the_run(home: Home, hosts: Hosts, client: str) -> None:
    """As `| head` does with a local one."""
    read_end, write_end = os.pipe()
    cluster = home.start("hs-cluster", *hosts.options, stdin=subprocess.PIPE, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    os.close(read_end)
    _, said = cluster.communicate(b"seq 100000\n" * 20, timeout=60)

    assert cluster.returncode == 3
    assert b"cannot be written: Broken pipe" in said


def test_no_key_is_in_the_log_of_the_host(home: Home, hosts: Hosts, client: str) -> None:
    """Nor is anything of the worker's but the path of its program."""
    home.write("tasks", b"until [ -e go ]; do sleep 0.05; done\n")
    cluster = home.start("hs-cluster", *hosts.options, "-t", "echo secret-template; {}", "tasks")
    assert until(lambda: list(Path(home.site, "runs").glob("*/connect/worker.json")))
    (path,) = Path(home.site, "runs").glob("*/connect/worker.json")
    secret = json.loads(path.read_text())["keys"]["secret"].encode()
    assert until(lambda: all(b"Starting session" in server.log() for server in hosts.servers))
    home.write("go", b"")

    assert cluster.wait(60) == 0
    assert not any(secret in server.log() or b"secret-template" in server.log() for server in hosts.servers)


def test_the_program_of_the_hosts_can_be_named(home: Home, hosts: Hosts) -> None:
    """What is not there is that host's reason."""
    done = run_on(home, hosts, "--remote-exe", "/no/such/worker")

    assert done.returncode == 3
    assert b"/no/such/worker" in done.stderr
    assert b"not found" in done.stderr


def test_a_tunnel_needs_no_way_back(home: Home, hosts: Hosts, client: str) -> None:
    """The broker listens on loopback alone, and the workers come in through their sessions."""
    home.write("tasks", b"until [ -e go ]; do sleep 0.05; done; echo ran\n" * 2)
    cluster = home.start("hs-cluster", *hosts.options, "--ssh-tunnel", "tasks", stdout=subprocess.PIPE)
    assert until(lambda: list(Path(home.site, "runs").glob("*/connect/worker.json")))
    (path,) = Path(home.site, "runs").glob("*/connect/worker.json")
    endpoints = json.loads(path.read_text())["endpoints"]
    home.write("go", b"")
    out, _ = cluster.communicate(timeout=60)

    assert (cluster.returncode, out) == (0, b"ran\n" * 2)
    assert all(endpoint.startswith("tcp://127.0.0.1:") for endpoint in endpoints)


def test_more_hosts_than_logins_at_once(home: Home, hosts: Hosts, client: str) -> None:
    """Each host is asked once for each name that it has, and sshd drops nobody."""
    server = hosts.servers[0]
    names = ",".join(f"{server.user}@127.0.0.{number}:{server.port}" for number in range(1, 2))
    aliases = "".join(f"Host m{number}\n HostName 127.0.0.1\n Port {server.port}\n" for number in range(12))
    config = home.write("ssh_config", aliases.encode())
    args = hosts.options[3].replace(f"-F {os.devnull}", f"-F {config}")

    done = home.run("hs-cluster", "--ssh", f"{names},m[0-11]", "--ssh-args", args, stdin=b"true\n" * 40)

    assert done.returncode == 0, done.stderr
    assert b"going on without" not in done.stderr
    assert b"drop connection" not in server.log()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ssh", "tasks"], "put FILE first, or --ssh=NAME"),
        (["--ssh"], "no hosts"),
        (["--ssh-group", "fast"], "has no groups"),
        (["--ssh", "a", "--mpi"], "exclude each other"),
        (["--ssh", "a", "--launcher", "true"], "exclude each other"),
        (["--ssh", "a", "-o", "out"], "exclude each other"),
        (["--ssh", "a[1-"], "brackets do not match"),
        (["--ssh", "a", "--ssh-args", "-X"], "-X: cannot be honoured"),
        (["--ssh-args", "-v"], "only for --ssh"),
        (["--ssh-tunnel"], "only for --ssh"),
        (["-E"], "only for --ssh"),
        (["--remote-exe", "/x"], "only for --ssh"),
    ],
)
def test_misuse_is_refused_before_anything_starts(home: Home, options: list[str], said: str) -> None:
    """One line that says what."""
    home.write("tasks", b"true\n")

    done = home.run("hs-cluster", *options, stdin=b"true\n")

    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert said in line
    assert not os.path.exists(home.path("site", "runs"))


def test_nobody_there_ends_the_run_within_seconds(home: Home, client: str) -> None:
    """A port where nobody listens; the reason of each host is said."""
    home.write("tasks", b"true\n")

    # Ours, so nobody else listens there meanwhile.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        done = home.run("hs-cluster", "--ssh", f"127.0.0.1:{deaf.getsockname()[1]}", "tasks")

    assert done.returncode == 3
    assert b"Connection refused" in done.stderr
    assert b"to go on: hs-cluster --restart" in done.stderr


@pytest.mark.skipif(not may_make() and not os.environ.get("CI"), reason="needs root and network namespaces")
def test_hosts_that_cannot_reach_back_are_named_with_what_they_tried(home: Home, hosts: Hosts) -> None:
    """The run goes on with the others; where there is none it ends with status 3. Both at once, for they are given time."""
    # Given a host whose commands have no network
    lonely, other = hosts.servers
    with open(f"{lonely.key}.pub", encoding="ascii") as key:
        command = 'exec unshare -n /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
        Path(lonely.folder, "authorized_keys").write_text(f'command="{command}" {key.read()}')
    home.write("tasks", b"until [ -e go ]; do sleep 0.1; done\n" * 2)

    # When it is one of two, and when there is no other
    nodes = (f"{lonely.host},{other.host}", lonely.host)
    two, alone = (
        home.start("hs-cluster", "--ssh", node, *hosts.options[2:], "-H", "127.0.0.1", "tasks", stderr=subprocess.PIPE)
        for node in nodes
    )
    assert two.stderr is not None
    named = next(line for line in two.stderr if b"going on without it" in line).decode()
    home.write("go", b"")

    # Then
    assert re.search(rf"{lonely.host}: .*not reached.*tcp://127.0.0.1:\d+: Network is unreachable", named), named
    assert two.wait(60) == 0
    _, said = alone.communicate(timeout=60)
    assert alone.returncode == 3
    assert re.search(rf"no host is left to run tasks \({lonely.host}: .*Network is unreachable".encode(), said), said
    assert home.leftovers() == []


def test_a_host_behind_another_is_reached_through_it(home: Home, hosts: Hosts, client: str) -> None:
    """-J, whose own login takes address, key and known hosts from the configuration."""
    jump, behind = hosts.servers
    keys = "".join(f" IdentityFile {server.key}\n" for server in hosts.servers)
    text = f"Host jump\n HostName {jump.address}\n Port {jump.port}\n User {jump.user}\nHost *\n"
    text += f" UserKnownHostsFile {home.path('.ssh/known_hosts')}\n{keys}"
    args = f"-F {home.write('ssh_config', text.encode())} -J jump"

    done = home.run("hs-cluster", "--ssh", behind.host, "--ssh-args", args, stdin=b"echo $SSH_CONNECTION\n")

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[3] == str(behind.port).encode()
    assert b"Accepted publickey" in jump.log()


def jumping(home: Home, hosts: Hosts, *lines: str) -> str:
    """Return the path of a configuration: of the host `jump`, then these lines, which are about all."""
    there = [
        f"Host {name}\n HostName {server.address}\n Port {server.port}"
        for name, server in zip(("jump", "behind"), hosts.servers, strict=True)
    ]
    keys = [f" IdentityFile {server.key}" for server in hosts.servers]
    known = home.path(".ssh/known_hosts")
    text = "\n".join(
        [*there, "Host *", f" User {hosts.servers[0].user}", f" UserKnownHostsFile {known}", *keys, *lines, ""]
    )
    return home.write("ssh_config", text.encode())


def test_a_host_that_a_wildcard_makes_its_own_jump_is_reached_directly(home: Home, hosts: Hosts) -> None:
    """`Host *` is about the jump, too: fabric would look for the way to it without end."""
    args = f"-F {jumping(home, hosts, ' ProxyJump jump')}"

    done = home.run("hs-cluster", "--ssh", "behind", "--ssh-args", args, stdin=b"echo $SSH_CONNECTION\n")

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[3] == str(hosts.servers[1].port).encode()
    assert b"Accepted publickey" in hosts.servers[0].log()


def test_jumps_that_lead_in_a_circle_are_said(home: Home, hosts: Hosts) -> None:
    """In one line, by their names."""
    circle = ("Host far", " ProxyJump near", "Host near", " ProxyJump far")
    args = f"-F {jumping(home, hosts, *circle)}"

    done = home.run("hs-cluster", "--ssh", "far", "--ssh-args", args, stdin=b"true\n")

    assert done.returncode == 3, done.stderr
    assert b"far: ProxyJump leads from near back to far" in done.stderr


def test_a_key_that_only_the_agent_has_is_used(home: Home, hosts: Hosts, client: str) -> None:
    """There is no file of it any more."""
    args = f"-F {os.devnull} -o UserKnownHostsFile={home.path('.ssh/known_hosts')}"
    home.env["SSH_AUTH_SOCK"] = home.path("agent")
    agent = home.start("ssh-agent", "-D", "-a", home.path("agent"), stdout=subprocess.DEVNULL)
    assert until(lambda: os.path.exists(home.path("agent")))
    for server in hosts.servers:
        assert home.run("ssh-add", "-q", server.key).returncode == 0
        os.unlink(server.key)

    done = home.run("hs-cluster", *hosts.options[:2], "--ssh-args", args, stdin=FOR_TWO)

    kill(agent.pid)
    assert done.returncode == 0, done.stderr


def test_the_first_signal_while_hosts_are_asked_ends_the_run(home: Home, hosts: Hosts, client: str) -> None:
    """Nobody is asked any more, and nothing stays."""
    for server in hosts.servers:
        os.kill(server.process.pid, signal.SIGSTOP)
    home.write("tasks", b"true\n")
    cluster = home.start("hs-cluster", *hosts.options, "tasks", stderr=subprocess.PIPE)
    assert until(lambda: any("launchers.ssh" in line for line in home.alive().values()))
    assert until(lambda: list(Path(home.site, "runs").glob("*/connect/worker.json")))

    cluster.send_signal(signal.SIGINT)
    cluster.send_signal(signal.SIGTERM)
    status = cluster.wait(60)
    for server in hosts.servers:
        os.kill(server.process.pid, signal.SIGCONT)

    assert status in (130, 143)
    assert home.leftovers() == []
