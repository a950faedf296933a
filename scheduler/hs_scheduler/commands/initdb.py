"""`hs initdb`: make a database, bring it up to date, and look after it."""

import os
from typing import TYPE_CHECKING, Any

import click

from hs_common.command_line import SETTINGS
from hs_common.errors import RefusedError, StoppedError
from hs_common.setting import require_text
from hs_scheduler.commands.asking import agreed, tasks_text

if TYPE_CHECKING:
    from hs_scheduler.stores.sqlite import SqliteStore

EXAMPLES = """\b
Examples:
  hs initdb                                   make the standing queue, or bring it to the schema of this program
  hs initdb --database postgresql://db/hs     likewise on a server
  hs initdb --backup queue-monday.db          a copy, also while a scheduler works on it
  hs initdb --rotate -y && hs initdb --vacuum   what is over into an archive, and the space back
"""

INSTEAD = {
    "vacuum": "a server does so by itself",
    "backup": "use pg_dump",
    "rotate": "archives are files beside a SQLite database; hs task update --delete -C removes what is over",
}
"""Of a database on a server."""


@click.command(context_settings=SETTINGS, epilog=EXAMPLES)
@click.option("--vacuum", is_flag=True, help="Give the space of removed tasks back to the file system.")
@click.option("--backup", metavar="PATH", help="Copy it, archives included, to a file that is not there yet.")
@click.option("--rotate", is_flag=True, help="Move tasks that are over into a numbered archive; searches see it.")
@click.option("--truncate", is_flag=True, help="Remove every task and run, archives too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--database", metavar="PATH|URL", help="This one.  [the configured one, else the standing queue]")
def initdb(**asked: Any) -> int:  # noqa: ANN401 - click gives what is declared above
    """Make the database, or bring it to the schema of this program; with an option, look after it."""
    actions = [name for name in ("vacuum", "backup", "rotate", "truncate") if asked[name] not in (None, False)]
    if len(actions) > 1:
        raise RefusedError(f"{' and '.join(f'--{name}' for name in actions)} exclude each other: one after the other")
    require_text("--backup", asked["backup"], "the path of the copy")
    # Only now: --help needs none of this.
    from hs_scheduler.commands.location import to_write  # noqa: PLC0415
    from hs_scheduler.stores import locations  # noqa: PLC0415
    from hs_scheduler.stores.store import StoreBusyError  # noqa: PLC0415

    location, _ = to_write(asked["database"])
    action = actions[0] if actions else ""
    if action in INSTEAD and locations.is_url(location):
        raise RefusedError(f"--{action} is not for {locations.shown(location)}: {INSTEAD[action]}")
    if action and not locations.is_url(location) and not os.path.exists(location):
        raise StoppedError(f"there is no database {location} yet")
    try:
        match action:
            case "backup":
                return _back_up(location, asked["backup"])
            case "vacuum":
                return _vacuum(location)
            case "rotate":
                return _rotate(location, yes=asked["yes"])
            case "truncate":
                return _truncate(location, yes=asked["yes"])
        return _make(location)
    except StoreBusyError as exc:
        raise StoppedError(str(exc)) from exc


def _make(location: str) -> int:
    from hs_scheduler.stores.engines import open_store  # noqa: PLC0415
    from hs_scheduler.stores.locations import shown  # noqa: PLC0415
    from hs_scheduler.stores.schema import STEPS  # noqa: PLC0415

    open_store(location, program="hs initdb", create=True).close()
    click.echo(f"database {shown(location)} is at schema {len(STEPS)}")
    return 0


def _back_up(location: str, target: str) -> int:
    from hs_scheduler.stores import archives  # noqa: PLC0415
    from hs_scheduler.stores.reader import reading  # noqa: PLC0415

    with reading(location) as reader:
        # What is moved into a new archive from now on still is in this database for us.
        reader.execute("BEGIN")
        older = archives.paths(reader, location)
        targets = [archives.path_of(target, number) for number in range(1, len(older) + 1)]
        _check_free(target, targets)
        for archive, path in zip(older, targets, strict=True):
            with reading(archive) as one:
                one.back_up(path)
        reader.back_up(target)
    for source, path in zip([location, *older], [target, *targets], strict=True):
        click.echo(f"{source} is copied to {path}")
    return 0


def _check_free(target: str, beside: list[str]) -> None:
    """Check that a copy can be made.

    Args:
        target: Where to.
        beside: Where its archives go.

    Raises:
        RefusedError: It is a folder or in none, or something is there already.

    """
    if os.path.isdir(target):
        raise RefusedError(f"--backup {target}: is a folder, expected the path of a file that is not there yet")
    folder = os.path.dirname(os.path.abspath(target))
    if not os.path.isdir(folder):
        raise RefusedError(f"--backup {target}: there is no folder {folder}")
    for path in (target, *beside):
        if os.path.lexists(path):
            what = "there is a file already" if path == target else f"an archive goes to {path}, which is there already"
            raise RefusedError(f"--backup {target}: {what}: choose another name")


def _vacuum(location: str) -> int:
    store = _owned(location)
    try:
        before = os.path.getsize(location)
        store.vacuum()
        click.echo(f"{location} has {os.path.getsize(location)} bytes, before {before}")
    finally:
        store.close()
    return 0


def _rotate(location: str, *, yes: bool) -> int:
    if not agreed(f"Move all tasks that are over out of {location} into an archive beside it?", yes=yes):
        return 1
    store = _owned(location)
    try:
        count, path = store.rotate()
    finally:
        store.close()
    click.echo(f"{tasks_text(count)} moved to {path}" if count else "no task is over: nothing was moved")
    return 0


def _truncate(location: str, *, yes: bool) -> int:
    from hs_scheduler.search.questions import Question, number_of  # noqa: PLC0415
    from hs_scheduler.stores.engines import open_store  # noqa: PLC0415
    from hs_scheduler.stores.locations import shown  # noqa: PLC0415
    from hs_scheduler.tasks.filters import Filter  # noqa: PLC0415

    count = number_of(location, Question(filter=Filter(), fields=()))
    if not agreed(f"Remove all {tasks_text(count)} of {shown(location)}, archives included?", yes=yes):
        return 1
    store = open_store(location, program="hs initdb")
    try:
        store.clear()
    finally:
        store.close()
    click.echo(f"{tasks_text(count)} removed from {shown(location)}")
    return 0


def _owned(location: str) -> "SqliteStore":
    from hs_scheduler.stores.sqlite import SqliteStore  # noqa: PLC0415

    return SqliteStore(location, program="hs initdb")
