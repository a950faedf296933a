"""`hs submit`: tasks into a database, through the scheduler that owns it where there is one. Accepted means committed."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hs_common import limits
from hs_common.errors import RefusedError
from hs_common.setting import require_text
from hs_scheduler.commands.additions import Additions, Pace
from hs_scheduler.commands.printing import print_texts

if TYPE_CHECKING:
    from hs_common.template import Template
    from hs_scheduler.commands.sink import Sink
    from hs_scheduler.input.once import Missing
    from hs_scheduler.input.source import Source
    from hs_scheduler.stores.store import NewTask
    from hs_scheduler.tasks.tags import Tags

FIELDS = {"-g": "group", "--priority": "priority", "--cores": "cores", "--memory": "memory", "-W": "timeout"}
"""Option -> the field of a task that it sets."""

NO_FIELDS: Mapping[str, tuple[str, str | None]] = MappingProxyType({})


def submit_tasks(args: tuple[str, ...], asked: dict[str, Any]) -> None:
    """Add what was asked for, and print what became of it.

    Args:
        args: A command.
        asked: The options, by the names of their parameters.

    Raises:
        RefusedError: They make no sense, or the input cannot be read.
        StoppedError: The database cannot be written.

    """
    _check(args, asked)
    # Only now: a mistake needs none of this.
    from hs_scheduler.commands.location import to_write  # noqa: PLC0415
    from hs_scheduler.commands.sink import Sink  # noqa: PLC0415

    given = given_tags(asked["tags"], {option: (name, asked[name]) for option, name in FIELDS.items()})
    line = one_line(args) if args else b""
    source = _source(asked["file"], given) if asked["file"] else None
    template = _template(asked["template"])
    location, standing = ("", False) if asked["connection"] is not None else to_write(asked["database"])
    sink = Sink(location, asked["connection"], create=asked["initdb"])
    try:
        additions = Additions(sink, template)
        if source is None:
            answer = additions.one(line, given)
        else:
            lines = _missing(sink, location, source, additions.expanded) if asked["once"] else source
            answer = str(additions.all_of(lines, Pace(asked["bundlesize"], asked["bundlewait"])))
    finally:
        sink.close()
    # First of all: they are committed, and the link may be refused.
    print_texts([f"{answer}\n"])
    if standing:
        from hs_common import site  # noqa: PLC0415

        site.set_latest(os.path.dirname(location))


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
    from hs_scheduler.tasks.tags import TAGS_MAX, TagError, parse_field, parse_tag  # noqa: PLC0415

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
    if len(found) > TAGS_MAX:
        raise RefusedError(f"-t: {len(found)} tags, at most {TAGS_MAX} are allowed")
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
