"""Templates that ask a process, with a real hs-worker."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.worker_harness import House, a_house, a_task, gone

from hs_common.tasks import Detail, OutcomeKind, exit_status
from hs_worker.execution import expander

pytestmark = pytest.mark.system

NASTY = b'a\'b "c" $(echo run) `echo run` $HOME * \\ ; & \xff\ttab  two'


@pytest.fixture(name="house")
def _house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path) as house:
        yield house


def commands_of(house: House, template: str, *args: bytes) -> list[bytes]:
    """Return what the template makes of these args. None of it runs: each becomes a comment."""
    house.welcome("-t", f": # {template}")
    outcomes = house.run(*args, cwd=os.fsencode(house.folder))
    assert [(outcome.kind, outcome.reason) for outcome in outcomes] == [(OutcomeKind.FINISHED, "")] * len(args)
    return [outcome.command.removeprefix(b": # ") for outcome in outcomes]


def test_a_command_gets_the_args_as_one_word_whatever_is_in_them(house: House) -> None:
    """In any quotes; its last newlines are dropped, as a shell does."""
    template = "{% printf '%s|\\n\\n' @ \"@\" '@' %}"

    assert commands_of(house, template, NASTY, b"plain") == [
        (NASTY + b"|\n\n") * 2 + NASTY + b"|",
        b"plain|\n\n" * 2 + b"plain|",
    ]


def test_an_expression_sees_bytes_that_are_no_text(house: House) -> None:
    """They come out as they went in."""
    assert commands_of(house, "{= x =} {= type(x).__name__ =}", NASTY, b"1.5") == [NASTY + b" str", b"1.5 float"]


def test_a_command_lives_where_the_task_does(house: House) -> None:
    """Same folder, same environment, same shell, an empty stdin, default signals; its stderr is the task's."""
    house.welcome("--shell", "/bin/bash", "-t", "{% echo oops >&2; cat; [[ $TASK_SLOT = 1 ]] && pwd; echo $TASK_ID $TASK_ARGS;"
                  " grep SigIgn /proc/self/status; ls /proc/self/fd | tr '\\n' ' ' %}", HERE="yes")  # fmt: skip
    house.broker.assign(a_task(5, b"true", attempt=2), cwd=os.fsencode(house.folder))
    (outcome,) = house.broker.outcomes(1)
    worker = house.workers[0]
    worker.hang_up()
    worker.wait()

    folder, who, ignored, descriptors = outcome.command.decode().splitlines()
    assert folder == str(house.folder)
    assert who == "00000000-0000-0000-0000-000000000005 true"
    assert not int(ignored.split()[1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)
    assert descriptors.split() == ["0", "1", "2", "3"]  # 3: the folder that ls lists
    assert worker.process.stderr is not None
    assert b"oops\n" in worker.process.stderr.read()


def test_a_long_line_is_asked_and_answered_whole(house: House) -> None:
    """No argument has to hold it."""
    args = b"x" * 500_000

    assert commands_of(house, "{% printf %s @ %}", args) == [args]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% exit 3 %}", "template: {% exit 3 %}: exit status 3"),
        ("{% kill -9 $$ %}", "template: {% kill -9 $$ %}: ended by signal 9"),
        (
            "{% no-such-program-at-all 2>/dev/null %}",
            "template: {% no-such-program-at-all 2>/dev/null %}: exit status 127",
        ),
        ("{% printf 'a\\0b' %}", "template: {% printf 'a\\0b' %}: a NUL in it"),
        ("{% cat /dev/zero | tr '\\0' x %}", "template: {% cat /dev/zero | tr '\\0' x %}: over 2097152 bytes"),
        ("{= 1 / 0 =}", "template: {= 1 / 0 =}: ZeroDivisionError: division by zero"),
        ("{= os._exit(0) =}", "template: its process ended with wait status 0 before it had answered"),
        ("{= os.kill(os.getpid(), 9) =}", "template: its process ended with wait status 9 before it had answered"),
    ],
)
def test_what_cannot_be_expanded_is_rejected_with_the_reason(house: House, template: str, reason: str) -> None:
    """And the worker goes on."""
    house.welcome("-t", template)
    plain = Detail(0.0, 0, 0, (), b"{}")
    house.broker.assign(a_task(1, b"true"), a_task(2, b"exit 4", detail=plain))

    outcomes = sorted(house.broker.outcomes(2), key=lambda outcome: outcome.row)

    assert [(outcome.kind, outcome.reason) for outcome in outcomes] == [
        (OutcomeKind.REJECTED, reason),
        (OutcomeKind.FINISHED, ""),
    ]
    assert exit_status(outcomes[1].status) == 4


@pytest.mark.parametrize(
    "template", [b"{% sleep 50 & echo $! >child; wait; %}", b"{= [y for y in iter(int, 1) if y] =}"]
)
def test_one_that_never_ends_holds_nobody_up_and_ends_by_the_limit(house: House, template: bytes) -> None:
    """Its slot is taken, no more; nothing is left of it, not a word."""
    (house.folder / "child").write_text("0")
    house.welcome("-N", "2", "-S", "0.2", "-t", "true {}")
    endless = Detail(4.0, 0, 0, (), template)
    tasks = [a_task(row, b"x") for row in range(2, 12)]
    house.broker.assign(a_task(1, b"x", detail=endless), *tasks, cwd=os.fsencode(house.folder))

    outcomes = house.broker.outcomes(11)

    assert outcomes[-1].row == 1, "the others did not wait for it"
    assert (outcomes[-1].kind, outcomes[-1].reason) == (OutcomeKind.REJECTED, "template: timeout while it was expanded")
    assert gone(int((house.folder / "child").read_text()) or 2**22 + 1)
    worker = house.workers[0]
    worker.hang_up()
    worker.wait()
    assert worker.process.stderr is not None
    assert b"Traceback" not in worker.process.stderr.read()


def test_one_that_is_stopped_while_its_interpreter_starts_says_nothing(house: House) -> None:
    """Whatever the moment at which the limit ends."""
    house.welcome("-N", "4", "-S", "20")
    tasks = [a_task(row, b":", detail=Detail(row * 0.002, 0, 0, (), b"{= x =}")) for row in range(1, 49)]
    house.broker.assign(*tasks)

    outcomes = house.broker.outcomes(48)

    assert any(outcome.reason == "template: timeout while it was expanded" for outcome in outcomes)
    worker = house.workers[0]
    worker.hang_up()
    worker.wait()
    assert worker.process.stderr is not None
    assert worker.process.stderr.read() == b""


def test_the_bounds_of_the_expander_are_those_of_the_worker() -> None:
    """It imports nothing of ours, so it has them once more."""
    from hs_common import limits  # noqa: PLC0415
    from hs_worker.tasks.template import COMMAND_BYTES_MAX  # noqa: PLC0415

    assert expander.ANSWER_BYTES_MAX == COMMAND_BYTES_MAX
    assert expander.SCRIPT_BYTES_MIN == limits.SCRIPT_BYTES_MIN
