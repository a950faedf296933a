"""The templates that a worker meets."""

import re

import pytest
from tests.worker.building import a_detail, a_task

from hs_common.errors import REASON_CHARS_MAX, ExpansionError
from hs_common.tasks import Task
from hs_worker.tasks.template import Expansion, Templates

TWO = Templates(b"{% a @ %} {= x =} {slot}")


def brings(template: bytes, args: bytes = b"x", row: int = 1) -> Task:
    return a_task(row, args=args, detail=a_detail(template=template))


def test_a_task_brings_its_own_template_or_gets_ours() -> None:
    """However many there are, the right one is used."""
    templates = Templates(b"own {}")

    assert templates.expand(brings(b""), 0) == Expansion(b"own x", ())
    assert [templates.expand(brings(b"%d {}" % n), 0).command for n in range(100)] == [b"%d x" % n for n in range(100)]


def test_a_task_is_named_as_its_environment_names_it() -> None:
    """Slots are counted from 1 for people."""
    expansion = Templates(b"{slot} {id} {attempt}").expand(a_task(7), 4)

    assert expansion == Expansion(b"5 00000000-0000-0000-0000-000000000007 1", ())


def test_what_has_to_be_asked_is_asked_first() -> None:
    """The answers, each with a NUL, make the command."""
    assert TWO.expand(a_task(1, args=b"5"), 0) == Expansion(b"", (b'%__hs_args=5; a "${__hs_args}"', b"=x"))
    assert TWO.finish(a_task(1, args=b"5"), 0, 0, b"A\0B\0") == b"A B 1"


@pytest.mark.parametrize(
    ("status", "answer", "reason"),
    [
        (0x100, b"1 NameError: no x", "template: {= x =}: NameError: no x"),
        (0x100, b"0 exit status 2", "template: {% a @ %}: exit status 2"),
        (0x100, b"9 none of ours", "template: its process ended with wait status 256 before it had answered"),
        (0x100, b"", "template: its process ended with wait status 256 before it had answered"),
        (9, b"", "template: its process ended with wait status 9 before it had answered"),
        (0, b"", "template: its process ended with wait status 0 before it had answered"),
        (0, b"A\0", "template: its process ended with wait status 0 before it had answered"),
        (0, b"A\0B", "template: its process ended with wait status 0 before it had answered"),
        (0, b"A\0B\0C\0", "template: its process ended with wait status 0 before it had answered"),
    ],
)
def test_an_answer_that_is_none_is_not_believed(status: int, answer: bytes, reason: str) -> None:
    """Whatever ended the process, half an answer is never run."""
    with pytest.raises(ExpansionError) as found:
        TWO.finish(a_task(1), 0, status, answer)

    assert found.value.reason == reason


@pytest.mark.parametrize("template", [b"{% %}", b"{= ) =}", b"{[::0]}", b"{[7]}"])
def test_a_task_with_a_bad_template_says_which(template: bytes) -> None:
    """It came from elsewhere, so nobody has refused it."""
    with pytest.raises(ExpansionError, match=re.escape(template.decode())) as found:
        Templates(b"{}").expand(brings(template), 0)

    assert found.value.reason.startswith("template: {")


def test_a_reason_is_short() -> None:
    """It has to fit beside many others."""
    assert len(ExpansionError("x" * 1000).reason) == REASON_CHARS_MAX
