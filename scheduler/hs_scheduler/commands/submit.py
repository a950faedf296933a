"""`hs submit`: tasks into a database, through the scheduler that owns it where there is one. Accepted means committed."""

import os
import select
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from hs_common import limits
from hs_common.clock import monotonic
from hs_common.command_line import say
from hs_common.errors import ExpansionError, RefusedError
from hs_common.setting import require_text

if TYPE_CHECKING:
    from hs_common.template import Template
    from hs_scheduler.commands.sink import Sink
    from hs_scheduler.input.once import Missing
    from hs_scheduler.input.source import Source
    from hs_scheduler.stores.store import NewTask
    from hs_scheduler.tasks.tags import Tags

    Input = Source | Missing

LINES_AT_ONCE = 10_000
BYTES_AT_ONCE = 4 * limits.MIB

REASON_CHARS_MAX = 240
"""Of what is told about a line that cannot be expanded."""

PAUSE_S = 0.1
"""A stream that pauses longer gives the database free until more comes."""

FIELDS = {"-g": "group", "--priority": "priority", "--cores": "cores", "--memory": "memory", "-W": "timeout"}
"""Option -> the field of a task that it sets."""

NO_FIELDS: Mapping[str, tuple[str, str | None]] = MappingProxyType({})

EXAMPLES = """\b
Examples:
  hs submit -- convert a.png a.jpg        prints the id of the task
  hs submit -f tasks.txt -t kind:train    prints how many there were
  seq 100 | hs submit -f - --template 'echo {}'
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.argument("args", nargs=-1, metavar="[-- ARGS...]")
@click.option("-f", "--file", metavar="FILE", help="Lines of this file; - is stdin.")
@click.option("-t", "--tag", "tags", multiple=True, metavar="TAG", help="KEY:VALUE for each task.")
@click.option(
    "--template",
    metavar="CMD",
    help="What to run for the args. Expanded now; the worker's own template is not applied.",
)
@click.option("-g", "--group", metavar="GROUP", help="A group is run after those with a lower number.  [0]")
@click.option("--priority", metavar="INT", help="Higher goes first inside its group.  [0]")
@click.option("--cores", metavar="NUM", help="Cores that each task needs.")
@click.option("--memory", metavar="SIZE", help="Memory that each task needs, as 512M or 4G.")
@click.option("-W", "--task-timeout", "timeout", metavar="SEC", help="Time limit of each task, seconds.")
@click.option(
    "-b",
    "--bundlesize",
    type=click.IntRange(1, LINES_AT_ONCE),
    metavar="SIZE",
    default=LINES_AT_ONCE,
    show_default=True,
    help="Lines of a stream that are handed on together, at most.",
)
@click.option(
    "-w",
    "--bundlewait",
    type=click.FloatRange(0, 86_400),
    metavar="SEC",
    default=0.0,
    show_default=True,
    help="How long fewer lines may be held back, for more to come, seconds.",
)
@click.option("--once", is_flag=True, help="Only those lines of FILE that the database does not hold yet.")
@click.option("--initdb", is_flag=True, help="Create missing tables first (SQLite: always done).")
@click.option("--database", metavar="PATH", help="Into this SQLite file or postgresql:// URL.  [the standing queue]")
@click.option(
    "--connection", metavar="FILE|NAME", help="To the scheduler of this cluster, by its submit or control connection."
)
def submit(args: tuple[str, ...], **asked: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """Add tasks: the lines of a file or of stdin, or one command (one ARG as it stands, several quoted and joined).

    What the options say holds for each task; a line's own tags win.
    """
    _check(args, asked)
    # Only now: --help needs none of this.
    from hs_scheduler.commands.location import to_write  # noqa: PLC0415
    from hs_scheduler.commands.sink import Sink  # noqa: PLC0415

    given = given_tags(asked["tags"], {option: (name, asked[name]) for option, name in FIELDS.items()})
    line = one_line(args) if args else b""
    source = _source(asked["file"], given) if asked["file"] else None
    template = _template(asked["template"])
    location, standing = ("", False) if asked["connection"] is not None else to_write(asked["database"])
    sink = Sink(location, asked["connection"], create=asked["initdb"])
    try:
        submission = Submission(sink, template)
        if source is None:
            answer = submission.one(line, given)
        else:
            lines = _missing(sink, location, source, submission.expanded) if asked["once"] else source
            answer = str(submission.all_of(lines, Pace(asked["bundlesize"], asked["bundlewait"])))
    finally:
        sink.close()
    if standing:
        from hs_common import site  # noqa: PLC0415

        site.set_latest(os.path.dirname(location))
    click.echo(answer)


def _check(args: tuple[str, ...], asked: dict[str, Any]) -> None:
    """Check what was typed.

    Raises:
        RefusedError: It makes no sense.

    """
    require_text("-f", asked["file"], "a file with one task per line, or - for stdin")
    require_text("--template", asked["template"], "a command, as 'process {}'")
    if bool(args) == bool(asked["file"]):
        both = "-f FILE and a command exclude each other: give" if args else "what is to be submitted? Give"
        raise RefusedError(f"{both} either -f FILE or -- ARGS...")
    if asked["once"] and not asked["file"]:
        raise RefusedError("--once compares the lines of a file: give it with -f FILE")
    if asked["connection"] is not None and (asked["database"] is not None or asked["once"] or asked["initdb"]):
        raise RefusedError(
            "--connection leaves the database to the scheduler: it excludes --database, --once, --initdb"
        )


class Pace(NamedTuple):
    """How a stream is handed on."""

    lines_max: int
    wait_s: float
    """How long fewer than `lines_max` may be held back."""


class Submission:
    """What goes into one database, with one template.

    Args:
        sink: Takes the tasks.
        template: Expanded now; None: the workers expand their own.

    """

    def __init__(self, sink: "Sink", template: "Template | None") -> None:
        self._sink = sink
        self._template = template
        self._rejected = 0

    def one(self, args: bytes, tags: "Tags") -> str:
        """Add a single task and return its id.

        Raises:
            RefusedError: The template cannot be expanded for it.
            StoppedError: The database is owned by a process that takes none, or cannot be written.

        """
        from hs_scheduler.stores.store import NewTask  # noqa: PLC0415
        from hs_scheduler.tasks.tags import resolve  # noqa: PLC0415

        task = self.expanded(NewTask(args, *resolve(tags), ""))
        if task.rejected:
            raise RefusedError(task.rejected)
        (accepted,) = self._sink.add([[task]], whole=True)
        return accepted.id

    def all_of(self, source: "Input", pace: Pace) -> int:
        """Add every line, and return how many there were, as they come.

        Those of a file go into a database that nobody owns together or not at all.

        Raises:
            StoppedError: As above; how many were accepted is said on stderr.

        """
        count = 0
        try:
            if source.state() is not None:
                for accepted in self._sink.add(self._batches(source), whole=True):
                    count += accepted.count
            while not source.ended:
                select.select([source.fd], [], [])
                for accepted in self._sink.add(self._burst(source, pace), whole=False):
                    count += accepted.count
        except BaseException:
            if count:
                # What was under way when we were interrupted may have been accepted, too.
                say(f"at least {count} tasks were accepted before it ended")
            raise
        if self._rejected:
            say(f"{self._rejected} of {count} lines can never run: they are recorded as REJECTED")
        return count

    def _batches(self, source: "Input") -> Iterator[list["NewTask"]]:
        """Yield what can be read without waiting."""
        while source.available():
            if batch := self._read(source, LINES_AT_ONCE):
                yield batch

    def _burst(self, source: "Input", pace: Pace) -> Iterator[list["NewTask"]]:
        """Yield what comes, until nothing does for a moment."""
        batch: list[NewTask] = []
        since = monotonic()
        while not source.ended:
            batch += self._read(source, pace.lines_max - len(batch))
            if source.available() and len(batch) < pace.lines_max:
                continue
            left_s = since + pace.wait_s - monotonic()
            if batch and len(batch) < pace.lines_max and not source.ended and left_s > 0:
                select.select([source.fd], [], [], left_s)
                continue
            if batch:
                yield batch
            batch, since = [], monotonic()
            if not (source.ended or source.available() or select.select([source.fd], [], [], PAUSE_S)[0]):
                return

    def _read(self, source: "Input", lines_max: int) -> list["NewTask"]:
        lines = source.read(lines_max, BYTES_AT_ONCE)
        if self._template is not None:
            lines = [self.expanded(line) for line in lines]
        self._rejected += sum(bool(line.rejected) for line in lines)
        return lines

    def expanded(self, task: "NewTask") -> "NewTask":
        """Return a task whose args are what its command will be: no other template is applied to them."""
        from hs_common.tasks import Detail  # noqa: PLC0415

        if self._template is None or task.rejected:
            return task
        try:
            args = self._template.preview(task.args)
        except ExpansionError as exc:
            return task._replace(rejected=f"template: {exc}"[:REASON_CHARS_MAX])
        if b"\0" in args or len(args) > limits.LINE_BYTES_MAX:
            why = "has a NUL" if b"\0" in args else f"has {len(args)} bytes, over {limits.LINE_BYTES_MAX}"
            return task._replace(rejected=f"template: the expanded line {why}")
        detail = (task.detail or Detail(0.0, 0, 0, (), b""))._replace(template=b"{}")
        return task._replace(args=args, detail=detail)


def _missing(sink: "Sink", location: str, source: "Source", as_held: Callable[["NewTask"], "NewTask"]) -> "Missing":
    """Return the input without the lines that the database, or an archive of it, holds already."""
    from hs_scheduler.commands.looking import asking  # noqa: PLC0415
    from hs_scheduler.input.once import Missing  # noqa: PLC0415
    from hs_scheduler.search.questions import Question  # noqa: PLC0415
    from hs_scheduler.stores.locations import is_url  # noqa: PLC0415
    from hs_scheduler.stores.statements import detail_of  # noqa: PLC0415
    from hs_scheduler.tasks.fields import BY_NAME  # noqa: PLC0415
    from hs_scheduler.tasks.filters import Filter  # noqa: PLC0415

    sink.settle()
    if not is_url(location) and not os.path.exists(location):
        return Missing(source, ())
    names = ("args", "timeout", "cores", "memory", "tag", "group", "priority")
    submitted = Question(
        filter=Filter(conditions=("previous_id == null",)), fields=tuple(BY_NAME[name] for name in names)
    )
    with asking(location, submitted) as rows:
        held = (
            (args, detail_of(timeout, cores, memory, None if tag == "{}" else tag, None), group, priority)
            for args, timeout, cores, memory, tag, group, priority in rows
        )
        return Missing(source, held, as_held)


def _template(source: str | None) -> "Template | None":
    """Return the template that is expanded here.

    Raises:
        RefusedError: It is bad, or needs what only a task in its slot has.

    """
    if not source:
        return None
    from hs_common.template import Template  # noqa: PLC0415

    template = Template(os.fsencode(source))
    if template.needs_slot:
        groups = " ".join(group.decode(errors="backslashreplace") for group in template.needs_slot)
        raise RefusedError(
            f"--template is expanded now: {groups} is known only when a task runs; give that to hs-cluster -t or hs worker -t"
        )
    return template


def given_tags(tags: tuple[str, ...], fields: Mapping[str, tuple[str, str | None]] = NO_FIELDS) -> "Tags":
    """Return the tags and fields that the options set for every task.

    Args:
        tags: As they were typed, KEY:VALUE.
        fields: Option -> the field that it sets, and what was typed for it or None.

    Raises:
        RefusedError: One of them makes no sense, or a tag and an option do not agree on a field.

    """
    from hs_scheduler.tasks.tags import TagError, parse_field, parse_tag  # noqa: PLC0415

    try:
        found = dict(map(parse_tag, tags))
    except TagError as exc:
        raise RefusedError(f"-t {exc}") from exc
    for option, (name, text) in fields.items():
        if text is None:
            continue
        try:
            value = parse_field(name, text)
        except ValueError as exc:
            raise RefusedError(f"{option} {text!r} {exc}") from exc
        if found.setdefault(name, value) != value:
            raise RefusedError(f"-t {name}:{found[name]} and {option} {text} do not agree: give one of them")
    return tuple(found.items())


def one_line(args: tuple[str, ...]) -> bytes:
    """Return the command line of a single task.

    Raises:
        RefusedError: It has no place on one line.

    """
    line = os.fsencode(args[0] if len(args) == 1 else shlex.join(args))
    if b"\n" in line:
        raise RefusedError("a task is one line: put a command of several lines into a script")
    if not line.strip():
        raise RefusedError("an empty command is no task")
    if len(line) > limits.LINE_BYTES_MAX:
        raise RefusedError(f"a command of {len(line)} bytes is over {limits.LINE_BYTES_MAX}: put it into a script")
    return line


def _source(file: str, tags: "Tags") -> "Source":
    """Open the input.

    Raises:
        RefusedError: It cannot be read, or has a bad tag.

    """
    from hs_scheduler.input.input_file import check_file, is_regular  # noqa: PLC0415
    from hs_scheduler.input.source import FileSource, StreamSource  # noqa: PLC0415

    if file == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise RefusedError("stdin is closed: nothing to submit")
        return StreamSource(0, tags)
    check_file(file)
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    return FileSource(fd, file, tags=tags) if is_regular(fd) else StreamSource(fd, tags)
