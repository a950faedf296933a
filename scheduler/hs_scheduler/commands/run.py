"""`hs task run`: one command on a cluster as if it ran here: its output, its status."""

import sys
from typing import TYPE_CHECKING

import click

from hs_common.command_line import SETTINGS
from hs_common.ending import say
from hs_common.errors import StoppedError
from hs_scheduler.commands.printing import print_bytes

if TYPE_CHECKING:
    from hs_scheduler.commands.sink import Sink
    from hs_scheduler.tasks.tags import Tags

EXAMPLES = """\b
Examples:
  hs task run -- nproc
  hs task run -t cores:4 -- make -j4
"""


@click.command(context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("args", nargs=-1, required=True, metavar="-- ARGS...")
@click.option(
    "-t", "--tag", "tags", multiple=True, metavar="TAG", help="KEY:VALUE; cores, memory, timeout, group, priority too."
)
@click.option("--database", metavar="PATH|URL", help="In this database.  [the standing queue]")
def run(args: tuple[str, ...], tags: tuple[str, ...], database: str | None) -> int:
    """Submit a command, wait for its end, print what its worker captured of it, and end with its status.

    Status: the command's; 128 + n for signal n; 125 if it has none; 3 without a scheduler.
    """
    # Only now: --help needs none of this.
    from hs_scheduler.commands.finding import uid_of  # noqa: PLC0415
    from hs_scheduler.commands.location import to_write  # noqa: PLC0415
    from hs_scheduler.commands.sink import Sink  # noqa: PLC0415
    from hs_scheduler.commands.submission import given_tags, one_line  # noqa: PLC0415
    from hs_scheduler.commands.waiting import ended, returned  # noqa: PLC0415
    from hs_scheduler.stores.locations import shown  # noqa: PLC0415
    from hs_scheduler.tasks.state import State  # noqa: PLC0415

    line, given = one_line(args), given_tags(tags)
    location, _ = to_write(database)
    sink = Sink(location, patient=True)
    try:
        if not sink.live:
            raise StoppedError(
                f"no scheduler takes care of {shown(location)}: start one, as hs-cluster --forever --capture"
            )
        uid = uid_of(_submitted(sink, line, given))
    finally:
        sink.close()
    (found,) = ended([uid], location)
    task = found.shown()
    if task["state"] == State.CANCELLED.name:
        click.echo("it was cancelled", err=True)
    else:
        _print_output(task["outpath"], task["errpath"], task["worker_host"])
    if task["reason"]:
        say(f"{task['state']}: {task['reason']}")
    return returned(task)


def _submitted(sink: "Sink", line: bytes, tags: "Tags") -> str:
    from hs_scheduler.stores.store import NewTask  # noqa: PLC0415
    from hs_scheduler.tasks.tags import resolve  # noqa: PLC0415

    (accepted,) = sink.add([[NewTask(line, *resolve(tags), "")]], whole=True)
    return accepted.id


def _print_output(outpath: bytes | None, errpath: bytes | None, host: str | None) -> None:
    """Print what was captured.

    Raises:
        StoppedError: It is out of reach.

    """
    from hs_scheduler.search.captured import output_of  # noqa: PLC0415

    if outpath is None and errpath is None:
        if host is not None:
            say("its output was not captured, it went where that of its worker goes: --capture keeps it")
        return
    if errpath is not None:
        for piece in output_of(errpath, host):
            sys.stderr.buffer.write(piece)
        sys.stderr.buffer.flush()
    if outpath is not None:
        print_bytes(output_of(outpath, host))
