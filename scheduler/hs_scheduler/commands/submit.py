"""`hs submit`: tasks into a database that nobody owns at this moment. Accepted means committed."""

import os
import select
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from hs_common import limits
from hs_common.errors import ExpansionError, RefusedError

if TYPE_CHECKING:
    from hs_common.template import Template
    from hs_scheduler.source import Source
    from hs_scheduler.sql import SqlStore
    from hs_scheduler.store import NewTask
    from hs_scheduler.tags import Tags

LINES_AT_ONCE = 10_000
BYTES_AT_ONCE = 4 * limits.MIB

REASON_CHARS_MAX = 240
"""Of what is told about a line that cannot be expanded."""

PAUSE_MS = 100
"""A stream that pauses longer gives the database free until more comes."""

EXAMPLES = """\b
Examples:
  hs submit -- convert a.png a.jpg        prints the id of the task
  hs submit -f tasks.txt -t kind:train    prints how many there were
  seq 100 | hs submit -f - --template 'echo {}'
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.argument("args", nargs=-1, metavar="[-- ARGS...]")
@click.option("-f", "--file", metavar="FILE", help="Lines of this file; - is stdin.")
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="TAG", help="KEY:VALUE for each task; a line's own tags win."
)
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
@click.option("--database", metavar="PATH", help="Into this SQLite file or postgresql:// URL.  [the standing queue]")
@click.option("--initdb", is_flag=True, help="Create missing tables first (SQLite: always done).")
def submit(args: tuple[str, ...], file: str | None, tags: tuple[str, ...], template: str | None,
           database: str | None, initdb: bool, **fields: str | None) -> None:  # noqa: FBT001 # fmt: skip
    """Add tasks: the lines of a file or of stdin, or one command (one ARG as it stands, several quoted and joined)."""
    if bool(args) == bool(file):
        raise RefusedError("what is to be submitted? Give either -f FILE or -- ARGS...")
    # Only now: --help needs none of this.
    from hs_scheduler.commands.location import to_write  # noqa: PLC0415

    given = _given(tags, fields)
    line = _line(args) if args else b""
    source = _source(file, given) if file else None
    location, standing = to_write(database)
    submission = Submission(location, _template(template), create=initdb)
    if source is None:
        answer = submission.one(line, given)
    else:
        answer = str(submission.all_of(source))
    if standing:
        from hs_common import site  # noqa: PLC0415

        site.set_latest(os.path.dirname(location))
    click.echo(answer)


class Submission:
    """What goes into one database, with one template.

    Args:
        location: The database: a path, or the URL of a server.
        create: Whether to make the tables on a server where they are missing.
        template: Expanded now; None: the workers expand their own.

    """

    def __init__(self, location: str, template: "Template | None", *, create: bool) -> None:
        self._location = location
        self._create = create
        self._template = template
        self._cwd = os.getcwdb()
        self._rejected = 0

    def one(self, args: bytes, tags: "Tags") -> str:
        """Add a single task and return its id.

        Raises:
            RefusedError: The template cannot be expanded for it.
            StoppedError: The database is owned by another process, or cannot be written.

        """
        from hs_scheduler.fields import uuid_text  # noqa: PLC0415
        from hs_scheduler.store import NewTask  # noqa: PLC0415
        from hs_scheduler.tags import resolve  # noqa: PLC0415

        task = self._expanded(NewTask(args, *resolve(tags), ""))
        if task.rejected:
            raise RefusedError(task.rejected)
        store = self._open()
        try:
            with store.transaction():
                (uid,) = self._add(store, [task])
        finally:
            store.close()
        return uuid_text(uid)

    def all_of(self, source: "Source") -> int:
        """Add every line, and return how many there were: those of a file together or not at all, a stream's as they come.

        Raises:
            StoppedError: As above; how many of a stream were accepted is said on stderr.

        """
        count = 0
        try:
            if source.state() is not None:
                count = self._batch(source, whole=True)
            while not source.ended:
                select.select([source.fd], [], [])
                count += self._batch(source, whole=False)
        except BaseException:
            if count:
                click.echo(f"{count} tasks were accepted before it ended", err=True)
            raise
        if self._rejected:
            click.echo(f"{self._rejected} of {count} lines can never run: they are recorded as REJECTED", err=True)
        return count

    def _batch(self, source: "Source", *, whole: bool) -> int:
        """Open the database for what can be read now; `whole`: in one transaction, to the end."""
        lines = self._read(source)
        if not lines:
            return 0
        store = self._open()
        count = 0
        try:
            while lines:
                with store.transaction():
                    while lines:
                        count += len(self._add(store, lines))
                        lines = self._read(source) if whole else []
                if not whole and select.select([source.fd], [], [], PAUSE_MS / 1000)[0]:
                    lines = self._read(source)
        finally:
            store.close()
        return count

    def _read(self, source: "Source") -> list["NewTask"]:
        lines = source.read(LINES_AT_ONCE, BYTES_AT_ONCE)
        return lines if self._template is None else [self._expanded(line) for line in lines]

    def _expanded(self, task: "NewTask") -> "NewTask":
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

    def _open(self) -> "SqlStore":
        from hs_scheduler.engines import open_store  # noqa: PLC0415

        return open_store(self._location, program="hs submit", brief=True, create=self._create)

    def _add(self, store: "SqlStore", lines: list[Any]) -> list[bytes]:
        from hs_common.clock import wall  # noqa: PLC0415

        self._rejected += sum(bool(line.rejected) for line in lines)
        return [task.uid for task in store.add(lines, [0] * len(lines), self._cwd, wall())]


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


def _given(tags: tuple[str, ...], fields: dict[str, str | None]) -> "Tags":
    """Return the tags and fields that the options set for every task.

    Raises:
        RefusedError: One of them makes no sense.

    """
    from hs_scheduler.tags import TagError, parse_tag  # noqa: PLC0415

    texts = [*tags, *(f"{name}:{value}" for name, value in fields.items() if value is not None)]
    try:
        return tuple(dict(parse_tag(text) for text in texts).items())
    except TagError as exc:
        raise RefusedError(str(exc)) from exc


def _line(args: tuple[str, ...]) -> bytes:
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
    from hs_scheduler.input_file import check_file, is_regular  # noqa: PLC0415
    from hs_scheduler.source import FileSource, StreamSource  # noqa: PLC0415

    if file == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise RefusedError("stdin is closed: nothing to submit")
        return StreamSource(0, tags)
    check_file(file)
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    return FileSource(fd, file, tags=tags) if is_regular(fd) else StreamSource(fd, tags)
