"""Templates: how the args of a task become its command line. Compiled once; filling one in is one call per task. No IO.

    {}  the args      {q}  as one word for the shell      {.} {..} {/} {/-} {-} {+} {++}  the args as a path
    {[i]} {[a:b:c]}  of the words in the args             {slot} {id} {attempt}  of the task
    {% command %}  output of a shell command              {= expression =}  value of a Python expression

Blanks inside the braces are ignored. A group after `$` is never ours, `{{X}}` is a literal `{X}` where `{X}` would be ours, and
every other brace stays as it is. What was inserted is not looked at again. docs/templates.md has examples.
"""

import os.path
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from hs_common import limits
from hs_common.errors import ExpansionError, RefusedError
from hs_common.expression import compiled, evaluate
from hs_common.quoting import quote, with_args

TEMPLATE_BYTES_MAX = 64 * limits.KIB
"""Of a template; a longer one is bad. It has to fit into an argument of a command line."""

OfArgs = Callable[[bytes], bytes]
"""args -> what takes the place of a form."""


class TemplateError(RefusedError):
    """A bad template: no args would help."""


class OfTask(NamedTuple):
    """`{slot}`, `{id}` or `{attempt}`."""

    text: bytes
    name: str


class Question(NamedTuple):
    """`{% %}` or `{= =}`: answered by a process, for it may take any time."""

    text: bytes
    """The whole group as it stands in the template."""
    kind: bytes
    """b"%": a shell command, b"=": a Python expression."""
    body: bytes

    def of(self, args: bytes) -> bytes:
        """Return the kind and what is to be executed for these args."""
        return self.kind + (with_args(self.body, args) if self.kind == b"%" else self.body)


Form = OfArgs | OfTask | Question


class Template:
    """One template.

    Args:
        source: As the user wrote it.

    Raises:
        TemplateError: It is bad; says why.

    """

    __slots__ = ("_parts", "of_task", "plain", "questions")

    def __init__(self, source: bytes) -> None:
        self._parts = _parse(source)
        self.of_task = tuple(part for part in self._parts if isinstance(part, OfTask))
        self.questions = tuple(part for part in self._parts if isinstance(part, Question))
        self.plain: OfArgs | None = None
        """args -> command, where that is all it takes: the way of nearly all tasks. Raises ExpansionError."""
        if not self.of_task and not self.questions:
            self.plain = _plain([part for part in self._parts if isinstance(part, bytes) or callable(part)])

    def fill(self, args: bytes, task: Mapping[str, bytes], answers: Sequence[bytes]) -> bytes:
        """Return the command line.

        Args:
            args: Of the task.
            task: Its slot, id and attempt, by name.
            answers: To `questions`, in their order.

        Raises:
            ExpansionError: A form has no value for these args.

        """
        rest = iter(answers)
        return b"".join([_value(part, args, task, rest) for part in self._parts])

    def preview(self, args: bytes) -> bytes:
        """Return the command line as far as it can be known without a slot: the forms in `needs_slot` stay as they stand.

        Not for a daemon: expressions are evaluated here, which may take any time.

        Raises:
            ExpansionError: A form has no value for these args.

        """
        task = {form.name: form.text for form in self.of_task} | {"attempt": b"1"}
        return self.fill(args, task, [_answer(question, args) for question in self.questions])

    @property
    def needs_slot(self) -> tuple[bytes, ...]:
        """The groups that only a task in its slot can expand, as they stand."""
        return tuple(
            part.text
            for part in self._parts
            if isinstance(part, OfTask) or (isinstance(part, Question) and part.kind == b"%")
        )


def _answer(question: Question, args: bytes) -> bytes:
    if question.kind == b"%":
        return question.text
    try:
        return evaluate(question.body, args)
    except ValueError as exc:
        raise ExpansionError(f"{_shown(question.text)}: {exc}") from exc


def _value(part: bytes | Form, args: bytes, task: Mapping[str, bytes], answers: Iterator[bytes]) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, OfTask):
        return task[part.name]
    if isinstance(part, Question):
        return next(answers)
    return part(args)


# --- Reading a template ---

_INT = rb"[ \t]*(-?[0-9]{1,18})?[ \t]*"
_INDEX = re.compile(rb"%b(?:(:)%b(?::%b)?)?" % (_INT, _INT, _INT))
_SIMPLE = re.compile(rb"\{[ \t]*(?:\[([^\[\]{}]*)\]|(q|\.\.?|/-?|-|\+\+?|slot|id|attempt|))[ \t]*\}")
_CLOSING = {b"%": b"%}", b"=": b"=}"}


def _parse(source: bytes) -> list[bytes | Form]:
    """Return literals and forms in turn: the first and the last are literals, maybe empty ones."""
    if len(source) > TEMPLATE_BYTES_MAX:
        raise TemplateError(f"template: {len(source)} bytes are over {TEMPLATE_BYTES_MAX}")
    parts: list[bytes | Form] = []
    literal = b""
    start = at = 0
    while (at := source.find(b"{", at)) >= 0:
        doubled = source.startswith(b"{{", at)
        end = _end(source, at + doubled)
        if end < 0 or (doubled and not source.startswith(b"}", end)):
            at += 1
        elif at and source.startswith(b"$", at - 1):
            at = end + doubled
        elif doubled:
            literal += source[start:at] + source[at + 1 : end]
            start = at = end + 1
        else:
            parts += [literal + source[start:at], _form(source[at:end])]
            literal = b""
            start = at = end
    return [*parts, literal + source[start:]]


def _end(source: bytes, at: int) -> int:
    """Return where the group ends that begins with the brace at `at`, or -1: it is not ours."""
    closing = _CLOSING.get(source[at + 1 : at + 2])
    if closing is not None:
        end = source.find(closing, at + 2)
        return end + 2 if end >= 0 else -1
    found = _SIMPLE.match(source, at)
    if found is None:
        return -1
    index = found.group(1)
    return found.end() if index is None or (index.strip() and _INDEX.fullmatch(index)) else -1


def _form(text: bytes) -> Form:
    """Return the form that a group is."""
    kind = text[1:2]
    if kind in _CLOSING:
        return _question(Question(text, kind, text[2:-2].strip()))
    name = text[1:-1].strip(b" \t")
    if name.startswith(b"["):
        return _of_words(text, name[1:-1])
    return _BY_NAME.get(name) or OfTask(text, name.decode())


def _question(question: Question) -> Question:
    if not question.body:
        raise TemplateError(f"template: {_shown(question.text)} is empty")
    if question.kind == b"=":
        try:
            compiled(question.body)
        except ValueError as exc:
            raise TemplateError(f"template: {_shown(question.text)} is no Python expression: {exc}") from exc
    return question


def _of_words(text: bytes, index: bytes) -> OfArgs:
    """Return the form of an index or a slice."""
    found = _INDEX.fullmatch(index)
    assert found is not None
    first, colon, last, step = found.groups()
    if colon is None:
        position = int(first)

        def word(args: bytes) -> bytes:
            words = args.split()
            try:
                return words[position]
            except IndexError:
                raise ExpansionError(f"{_shown(text)} is out of range: {len(words)} arguments") from None

        return word
    start, stop, stride = (None if number is None else int(number) for number in (first, last, step))
    if stride == 0:
        raise TemplateError(f"template: {_shown(text)}: the step of a slice cannot be 0")
    part = slice(start, stop, stride)
    return lambda args: b" ".join(args.split()[part])


def _shown(text: bytes) -> str:
    return text.decode(errors="backslashreplace")


def _whole(args: bytes) -> bytes:
    return args


_BY_NAME: dict[bytes, OfArgs] = {
    b"": _whole,
    b"q": quote,
    b".": os.path.dirname,
    b"..": lambda args: os.path.dirname(os.path.dirname(args)),
    b"/": os.path.basename,
    b"/-": lambda args: os.path.splitext(os.path.basename(args))[0],
    b"-": lambda args: os.path.splitext(args)[0],
    b"+": lambda args: os.path.splitext(args)[1],
    b"++": lambda args: os.path.splitext(args)[1][1:],
}


def _plain(parts: Sequence[bytes | OfArgs]) -> OfArgs:
    if len(parts) == 1 and isinstance(parts[0], bytes):
        constant = parts[0]
        return lambda _: constant
    if len(parts) == 3 and parts[1] is _whole and parts[0] == parts[2] == b"":  # noqa: PLR2004
        return _whole  # the default template
    kept = [part for part in parts if part != b""]
    return lambda args: b"".join([part if isinstance(part, bytes) else part(args) for part in kept])
