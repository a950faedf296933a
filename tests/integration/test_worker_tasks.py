"""What a task meets when a real hs-worker runs it."""

import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.processes import ended_within, state, until
from tests.integration.worker_harness import House, a_house, a_task, children, gone

from hs_common import messages
from hs_common.tasks import Detail, OutcomeKind, exit_status
from hs_worker.execution.direct import split_direct

pytestmark = pytest.mark.system


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as house:
        yield house


def test_every_exit_status_is_told(house: House) -> None:
    """J1: 0 to 255, through the shell."""
    house.welcome("-N", "2")

    outcomes = house.run(*(b"exit %d" % status for status in range(256)))

    assert [exit_status(outcome.status) for outcome in outcomes] == list(range(256))


def test_every_signal_is_told(house: House) -> None:
    """J2: a task that a signal ended says which; those that only stop it are left out."""
    ends = [number for number in range(1, 32) if number not in {17, 18, 19, 20, 21, 22, 23, 28}]
    house.welcome("-N", "2")

    outcomes = house.run(*(b"kill -%d $$" % number for number in ends))

    assert [exit_status(outcome.status) for outcome in outcomes] == [-number for number in ends]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (b"no-such-program-at-all a b", 127),
        (b"./plain", 126),
        (b"./no-interpreter", 127),
        (b"./no-shebang", 5),  # the shell runs it as a script
        (b"-dash first", 127),
        (b"/", 126),
    ],
)
def test_a_line_without_syntax_fails_as_in_a_shell(house: House, command: bytes, status: int) -> None:
    """Any spawn error of the task's own falls back to the shell, which says and returns what a shell does."""
    (house.folder / "plain").write_text("echo hi\n")
    (house.folder / "no-interpreter").write_text("#!/no/such/interpreter\n")
    (house.folder / "no-shebang").write_text("exit 5\n")
    for name in ("no-interpreter", "no-shebang"):
        (house.folder / name).chmod(0o755)
    house.welcome()

    (outcome,) = house.run(command, cwd=os.fsencode(house.folder))

    assert exit_status(outcome.status) == status


def test_a_task_knows_who_it_is_and_no_launcher(house: House) -> None:
    """Its ids, its tags, its folder; nothing of MPI, of the Slurm step or of systemd; the user's own settings stay."""
    house.welcome(
        "-t", "{} # x", SLURM_STEP_ID="0", OMPI_COMM_WORLD_RANK="1", NOTIFY_SOCKET="/x", SLURM_JOB_ID="7", KEPT="yes"
    )
    detail = Detail(
        0.0,
        0,
        0,
        (("colour", "red"), ("n-1", 2), ("on", True), ("a=b", "c=d"), ("", 1), ("x\0y", "u\0v"), ("é\n", "")),
        b"",
    )
    house.broker.assign(
        a_task(9, b"env | sort; pwd", attempt=3, dispatch=4, detail=detail), cwd=os.fsencode(house.folder)
    )
    (outcome,) = house.broker.outcomes(1)
    house.workers[0].hang_up()
    assert house.workers[0].process.stdout is not None
    *lines, folder = house.workers[0].process.stdout.read().decode().splitlines()
    environment = dict(line.split("=", 1) for line in lines)

    assert exit_status(outcome.status) == 0
    assert outcome.command == b"env | sort; pwd # x"
    assert {key: value for key, value in environment.items() if key.startswith("TASK_")} == {
        "TASK_ID": "00000000-0000-0000-0000-000000000009",
        "TASK_ATTEMPT": "3",
        "TASK_DISPATCH": "4",
        "TASK_SLOT": "1",
        "TASK_ARGS": "env | sort; pwd",
        "TASK_COMMAND": "env | sort; pwd # x",
        "TASK_TAG_COLOUR": "red",
        "TASK_TAG_N_1": "2",
        "TASK_TAG_ON": "true",
        # What no tag of a user can be called, but a peer may say (H22).
        "TASK_TAG_A_B": "c=d",
        "TASK_TAG_": "1",
        "TASK_TAG_X_Y": "uv",
        "TASK_TAG___": "",
    }
    assert {"SLURM_STEP_ID", "OMPI_COMM_WORLD_RANK", "NOTIFY_SOCKET"}.isdisjoint(environment)
    assert (environment["SLURM_JOB_ID"], environment["KEPT"]) == ("7", "yes")
    assert folder == environment["PWD"] == str(house.folder)


def test_a_task_inherits_what_the_user_set_and_nothing_of_ours(house: House) -> None:
    """J7, J8: default signals, the user's umask and limits, no descriptor beyond stderr, stdin is empty, a session of its own."""
    house.welcome()
    seen = house.folder / "seen"
    command = f"""exec 9>{seen}; grep -E 'SigBlk|SigIgn' /proc/self/status >&9; umask >&9; ulimit -n >&9
        ls /proc/self/fd | tr '\\n' ' ' >&9; wc -c >&9; cut -d' ' -f6 /proc/$$/stat >&9; echo $$ >&9"""

    (outcome,) = house.run(command.replace("\n", ";").encode())

    assert exit_status(outcome.status) == 0
    blocked, ignored, umask, files, *rest = seen.read_text().splitlines()
    assert int(blocked.split()[1], 16) == 0
    assert int(ignored.split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0
    assert int(umask, 8) == (os.umask(0o022), os.umask(int(umask, 8)))[0]
    assert int(files) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    descriptors, session, leader = rest[0].split()[:-1], rest[1], rest[2]
    assert descriptors == ["0", "1", "2", "3", "9"]  # 3: the folder that ls lists
    assert session == leader


@pytest.mark.parametrize(
    "folder",
    [
        b"/no/such/elsewhere",
        b"/etc/passwd/elsewhere",
        b"/" + b"elsewhere" * 100,
        b"..",  # relative to whatever the task before had
        b"elsewhere",
        b"/tmp/\0elsewhere",
        b"/proc/1/map_files/elsewhere",
    ],
)
def test_a_missing_folder_is_told_once_and_the_task_runs_in_ours(house: House, folder: bytes) -> None:
    """The worker's own folder, one warning per folder, and the worker lives on (H23)."""
    worker = house.welcome()

    outcomes = house.run(b"pwd", b"pwd", b"exit $(pwd | grep -c elsewhere)", cwd=folder)

    assert [exit_status(outcome.status) for outcome in outcomes] == [0, 0, 0]
    assert worker.line().strip() == os.fsencode(Path.cwd())
    worker.hang_up()
    assert worker.process.stderr is not None
    assert worker.process.stderr.read().count(b"folder.missing") == 1


@pytest.mark.parametrize("size", [90_000, 120_000, 1_000_000])
def test_a_long_line_runs_whole(house: House, size: int) -> None:
    """One argument has at most 128 KiB: a longer line runs from a file, without TASK_ARGS."""
    house.welcome()
    told = b'test -n "$TASK_ARGS"' if size < 100 * 1024 else b'test -z "$TASK_ARGS"'
    line = b"x=" + b"y" * size + b"; test ${#x} -eq %d && " % size + told

    (outcome,) = house.run(line)

    assert exit_status(outcome.status) == 0


def test_a_nul_and_a_hopeless_environment_are_rejected_and_the_rest_goes_on(house: House) -> None:
    """X6: what the kernel would never execute is no failure of the host."""
    house.welcome()
    big, named = (Detail(0.0, 0, 0, (tag,), b"") for tag in (("big", "x" * 140_000), ("x" * 140_000, "")))
    tasks = [
        a_task(1, b"echo \0"),
        a_task(2, b"true", detail=big),
        a_task(3, b"true", detail=named),
        a_task(4, b"true"),
    ]
    house.broker.assign(*tasks)

    outcomes = sorted(house.broker.outcomes(4), key=lambda outcome: outcome.row)

    assert [(outcome.kind, outcome.reason) for outcome in outcomes] == [
        (OutcomeKind.REJECTED, "NUL"),
        (OutcomeKind.REJECTED, "spawn:E2BIG"),
        (OutcomeKind.REJECTED, "spawn:E2BIG"),
        (OutcomeKind.FINISHED, ""),
    ]


def test_a_time_limit_ends_all_that_the_task_started(house: House) -> None:
    """J3, J10: a child in a session of its own that ignores SIGINT and SIGTERM goes too; the shorter limit counts."""
    house.welcome("-N", "1", "-W", "60", "-S", "0.2")
    command = b"trap '' INT TERM; setsid sh -c 'trap \"\" INT TERM; sleep 50' & echo $!; sleep 50; wait"
    house.broker.assign(a_task(1, command, detail=Detail(1.5, 0, 0, (), b"")))
    stranger = int(house.workers[0].line())

    (outcome,) = house.broker.outcomes(1)

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FINISHED, "timeout")
    # 1.5 s and twice 0.2; each wait begins at the time the loop took before it acted, and so may seem a little shorter.
    assert outcome.duration > 1.85
    assert gone(stranger)


@pytest.mark.parametrize("way", ["signal", "lifeline"])
def test_a_worker_that_is_told_to_stand_still_stops_its_tasks(house: House, way: str) -> None:
    """Its guardian is; the limit stands still as well, and what was told meanwhile is done after."""

    def tell(signum: int, word: bytes) -> None:
        if way == "signal":
            os.kill(worker.process.pid, signum)
        else:
            assert worker.process.stdin is not None
            worker.process.stdin.write(word)

    # Given a task that runs, with a limit
    worker = house.welcome("-N", "2", "-W", "4")
    gate = house.folder / "gate"
    os.mkfifo(gate)
    # (One process: a shell whose child is stopped right after its vfork is no less still, but shows as D.)
    house.broker.assign(a_task(1, b"echo $$; exec cat %s" % os.fsencode(gate)))
    pid = int(worker.line())

    # When the worker is told to stand still
    tell(signal.SIGTSTP, b"\npause\n")
    assert until(lambda: state(pid) == "T")

    # Then nothing starts, and it goes on where it was
    house.broker.assign(a_task(2, b"echo second"))
    house.broker.wait_for(messages.Received, lambda message: message.bundles == (2,))
    assert not until(lambda: state(pid) != "T", 4.5)
    assert worker.written(worker.process.stdout) == b""
    tell(signal.SIGCONT, b"resume\n")
    assert until(lambda: state(pid) == "S")
    os.close(os.open(gate, os.O_WRONLY))
    outcomes = sorted(house.broker.outcomes(2), key=lambda outcome: outcome.row)
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [(0, ""), (0, "")]
    assert worker.line() == b"second\n"


def test_a_cancelled_task_is_stopped_and_a_waiting_one_never_starts(house: House) -> None:
    """J11: running and assigned."""
    worker = house.welcome("-N", "1")
    house.broker.assign(a_task(1, b"echo $$; sleep 50"), a_task(2, b"echo never"))
    pid = int(worker.line())

    house.broker.say(messages.Cancel(session=house.broker.session, worker=house.broker.worker, tasks=((1, 1), (2, 1))))

    outcomes = house.broker.outcomes(2)
    assert {outcome.row: OutcomeKind(outcome.kind) for outcome in outcomes} == {
        1: OutcomeKind.CANCELLED,
        2: OutcomeKind.CANCELLED,
    }
    assert gone(pid)


def test_what_a_task_left_in_the_background_lives_until_the_worker_ends(house: House) -> None:
    """A task is over when its first process ends; the worker takes everything with it when it goes."""
    worker = house.welcome()
    (outcome,) = house.run(b"setsid sleep 50 >/dev/null 2>&1 & echo $!")
    left = int(worker.line())
    assert exit_status(outcome.status) == 0
    assert os.path.exists(f"/proc/{left}")

    os.kill(worker.process.pid, signal.SIGINT)

    assert worker.wait() == 0
    assert gone(left)


def test_a_task_that_kills_its_group_or_closes_its_streams_harms_nobody(house: House) -> None:
    """J5, J17: the next tasks run as if nothing had been."""
    worker = house.welcome("-N", "2")

    outcomes = house.run(b"kill -9 0", b"exec >&- 2>&-; exit 3", b"kill -9 -$$", b"echo fine")

    assert [exit_status(outcome.status) for outcome in outcomes] == [-9, 3, -9, 0]
    assert worker.line() == b"fine\n"


def test_memory_and_cpu_time_are_told(house: House) -> None:
    """J12: a task bigger than the worker says how big; one that is smaller says nothing."""
    house.welcome()

    outcomes = house.run(
        b"python3 -c 'b = bytearray(100 << 20); sum(range(3000000))'",
        b"true",
    )

    assert 100 << 20 < outcomes[0].memory_max < 200 << 20
    assert 0.01 < outcomes[0].cpu_user < outcomes[0].duration
    assert outcomes[1].memory_max == 0


def test_the_relay_waits_for_a_slow_reader_at_the_end(house: House) -> None:
    """Outputs stand in a queue of ours when the worker has said farewell; as long as somebody holds us, he may want them."""
    worker = house.welcome("--relay")
    house.run(b"yes | head -c 600000")
    os.kill(worker.process.pid, signal.SIGINT)
    house.broker.wait_for(messages.Bye)

    assert not ended_within(worker.process.pid, 1)
    out, _ = worker.process.communicate(timeout=60)

    assert out == b"y\n" * 300_000
    assert worker.process.returncode == 0


def test_the_relay_waits_for_nobody_who_is_gone(house: House) -> None:
    """Then the guardian gives all of us two seconds, and so much is not needed."""
    worker = house.welcome("--relay")
    house.run(b"yes | head -c 600000")
    os.kill(worker.process.pid, signal.SIGINT)
    house.broker.wait_for(messages.Bye)

    worker.hang_up()

    assert worker.wait() == 0


def test_outputs_that_nobody_reads_end_the_worker_with_status_3(house: House) -> None:
    """The tasks have succeeded, but who asked for their outputs has not got them."""
    worker = house.welcome("--relay", "--reader-wait", "0.5")
    house.run(b"yes | head -c 600000")
    os.kill(worker.process.pid, signal.SIGINT)

    assert worker.wait() == 3
    log = worker.written(worker.process.stderr)
    assert re.search(
        rb"hs-worker: the tasks' output cannot be written: nobody reads it, \d{6} bytes are lost\n$", log
    ), log


def test_a_word_that_comes_with_the_document_is_heard(house: House) -> None:
    """The worker has read both before it waits for words."""
    worker = house.start()
    assert worker.process.stdin is not None
    worker.process.stdin.write(b"stop\n")

    assert worker.wait() == 0


def test_the_relay_keeps_lines_whole_and_bytes_as_they_are(house: House) -> None:
    """J13: binary and large; a background writer holds nobody up."""
    worker = house.welcome("-N", "2", "--relay")
    line = b"printf '%0500d\\n' $(seq 1 400)"
    house.broker.assign(
        a_task(1, line),
        a_task(2, line),
        a_task(3, b"sleep 50 & printf 'caf\\351\\000!'"),
        a_task(4, b"echo on stderr >&2"),
    )
    house.broker.outcomes(4)
    os.kill(worker.process.pid, signal.SIGINT)
    assert worker.process.stdout is not None
    assert worker.process.stderr is not None

    written = worker.process.stdout.read()

    assert worker.wait() == 0
    assert written.count(b"caf\xe9\0!") == 1
    lines = written.replace(b"caf\xe9\0!", b"").splitlines()
    assert sorted(map(int, lines)) == sorted([*range(1, 401)] * 2)
    assert all(len(one) == 500 for one in lines)
    assert worker.process.stderr.read() == b"on stderr\n"


_LINES = Path(__file__).with_name("equivalent_lines.txt").read_bytes().splitlines()


def _prepare(folder: Path) -> None:
    """Make what the lines speak of."""
    (folder / "a.txt").write_text("b\na\n")
    (folder / "b.txt").write_text("c\n")
    (folder / "a.sh").write_text("echo script $1 $2; exit 4\n")
    (folder / "sourced.sh").write_text("echo sourced; false\n")
    (folder / "plain").write_text("echo plain\n")
    (folder / "noexec").write_text("#!/bin/sh\n")
    for name, text in (
        ("tool", "#!/bin/sh\nprintf '[%s]' \"$@\"; exit 4\n"),
        ("no-shebang", "echo no shebang $1; exit 5\n"),
        ("bad-interpreter", "#!/no/such/interpreter\n"),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_lines_do_the_same_with_and_without_a_shell(house: House, shell: str) -> None:
    """Direct execution is not observable: same output, same status, same complaints."""
    assert len(_LINES) >= 200
    assert sum(split_direct(line) is not None for line in _LINES) >= 80
    _prepare(house.folder)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HYPERSHELL_")}
    expected = []
    for line in _LINES:
        # At the same place as the worker has it: some complaints name the shell as it was called.
        done = subprocess.run(
            [os.path.basename(shell), "-c", *([b"--"] if line[:1] in b"-+" else []), line],
            executable=shell, stdin=subprocess.DEVNULL, capture_output=True, cwd=house.folder,
            env=environment | {"PWD": str(house.folder)}, start_new_session=True, check=False,
        )  # fmt: skip
        expected.append((line, done.returncode, done.stdout, done.stderr))

    worker = house.welcome("--shell", shell)
    outcomes = []
    outputs = []
    for row, line in enumerate(_LINES, 1):
        house.broker.assign(a_task(row, line), cwd=os.fsencode(house.folder))
        outcomes += house.broker.outcomes(1)
        outputs.append((worker.written(worker.process.stdout), worker.written(worker.process.stderr)))

    ran = [
        (line, exit_status(outcome.status), *output)
        for line, outcome, output in zip(_LINES, outcomes, outputs, strict=True)
    ]
    assert [one for one in zip(ran, expected, strict=True) if one[0] != one[1]] == []


def test_nothing_is_left_of_ten_thousand_children(house: House) -> None:
    """J9: neither of tasks nor of what they left behind is a zombie kept."""
    worker = house.welcome("-N", "2")

    house.run(*([b"true & true &"] * 300))
    house.broker.assign(a_task(301, b"sleep 0.2"))
    house.broker.outcomes(1)

    assert until(lambda: "Z" not in map(state, children(worker.worker)))
