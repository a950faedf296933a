"""The templates that a worker meets: its own, and those that tasks bring. What they are: `hs_common.template`.

args ──plain──▶ command                                              nearly all, at once
args ──▶ questions ──process of the slot──▶ answers ──▶ command      {% command %} and {= expression =}
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hs_common import limits
from hs_common.errors import ExpansionError, RefusedError
from hs_common.tasks import Task
from hs_worker.environment import uuid_text

if TYPE_CHECKING:  # most workers have the default template, and start without it
    from hs_common.template import Template

COMMAND_BYTES_MAX = 2 * limits.MIB
"""Of an expanded command line; a longer one is REJECTED."""

_TEMPLATES_MAX = 64
"""Compiled ones that are kept: beyond the worker's own they come with tasks."""


class Expansion(NamedTuple):
    """What a template makes of a task."""

    command: bytes
    questions: tuple[bytes, ...]
    """What a process must answer first; the command is not known yet then."""


class Templates:
    """The worker's own template, and those that tasks bring along.

    Args:
        own: For tasks that bring none.

    Raises:
        TemplateError: It is bad.

    """

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._compiled: dict[bytes, Template] = {}
        self.plain: Callable[[bytes], bytes] | None = _whole if own == b"{}" else self._compile(own).plain
        """args -> command of a task that brings no template; None: not at once, ask `expand`."""

    def expand(self, task: Task, slot: int) -> Expansion:
        """Return the command line of a task in this slot (counted from 0), or what has to be asked first.

        Raises:
            ExpansionError: There is none: it is REJECTED for that.

        """
        if self.plain is not None and not (task.detail and task.detail.template):
            return Expansion(self.plain(task.args), ())
        template = self._of(task)
        if template.plain is not None:
            return Expansion(template.plain(task.args), ())
        if template.questions:
            return Expansion(b"", tuple(question.of(task.args) for question in template.questions))
        return Expansion(template.fill(task.args, _names(task, slot), ()), ())

    def finish(self, task: Task, slot: int, status: int, answer: bytes) -> bytes:
        """Return the command line of a task whose questions were answered.

        Args:
            task: It.
            slot: Counted from 0.
            status: Raw wait status of the process that was asked.
            answer: What it left: each answer and a NUL; or, with status 1, the number of the question that failed, a blank, why.

        Raises:
            ExpansionError: There is none.

        """
        template = self._of(task)
        if status == 1 << 8:
            number, _, why = answer.decode(errors="backslashreplace").partition(" ")
            if number.isdecimal() and int(number) < len(template.questions):
                raise ExpansionError(f"{template.questions[int(number)].text.decode(errors='backslashreplace')}: {why}")
        answers = answer.split(b"\0")
        if status or answers.pop() or len(answers) != len(template.questions):
            raise ExpansionError(f"its process ended with wait status {status} before it had answered")
        return template.fill(task.args, _names(task, slot), answers)

    def _of(self, task: Task) -> "Template":
        """Return the template of a task."""
        source = (task.detail.template if task.detail else b"") or self._own
        try:
            return self._compiled.get(source) or self._compile(source)
        except RefusedError as exc:
            raise ExpansionError(str(exc).removeprefix("template: ")) from exc

    def _compile(self, source: bytes) -> "Template":
        from hs_common.template import Template  # noqa: PLC0415

        template = Template(source)
        if len(self._compiled) >= _TEMPLATES_MAX:
            self._compiled.clear()
        self._compiled[source] = template
        return template


def _whole(args: bytes) -> bytes:
    return args


def never_runs(command: bytes) -> str:
    """Return why a command line can never run, or ""."""
    if b"\0" in command:
        return "NUL"
    if len(command) > COMMAND_BYTES_MAX:
        return "too long"
    return ""


def _names(task: Task, slot: int) -> dict[str, bytes]:
    """Return what `{slot}`, `{id}` and `{attempt}` are; slots are counted from 1 for people."""
    return {"slot": b"%d" % (slot + 1), "id": uuid_text(task.uid), "attempt": b"%d" % task.attempt}
