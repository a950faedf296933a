"""`hs task update`: change, cancel, retry, hold or remove the tasks that a filter finds."""

from typing import TYPE_CHECKING, Any

import click

from hs_common.errors import RefusedError, StoppedError
from hs_scheduler.commands.asking import agreed, tasks_text
from hs_scheduler.commands.filtering import filter_of, filter_options

if TYPE_CHECKING:
    from hs_scheduler.changes import Change, Changed

EXAMPLES = """\b
Examples:
  hs task update --cancel -t kind:train -R        stop what is left of them, also what runs
  hs task update --retry -F -y                    try what failed once more
  hs task update memory=8G --retry -w 'exit_status == 137'
  hs task update --hold -g 3                      group 3 has to wait; --release lets it go
  hs task update priority=5 color:red -w 'args ~ urgent'
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.argument("assignments", nargs=-1, metavar="[FIELD=VALUE|KEY:VALUE]...")
@click.option(
    "--cancel", "action", flag_value="cancel", help="Those that have not ended never run; what runs is stopped."
)
@click.option("--revert", "action", flag_value="revert", help="What has ended is new again, as it was submitted.")
@click.option("--retry", "action", flag_value="retry", help="Another attempt of what failed or was cancelled.")
@click.option("--delete", "action", flag_value="delete", help="Remove them, and all that is known of them.")
@click.option("--hold", "action", flag_value="hold", help="What waits has to wait until it is released.")
@click.option("--release", "action", flag_value="release", help="What is on hold may go.")
@click.option("--remove-tag", "removed_tags", multiple=True, metavar="KEY", help="Take this tag off.")
@filter_options
@click.option("--all", "everything", is_flag=True, help="Every task: instead of a filter.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--database", metavar="PATH", help="In this one.  [the one used last]")
def update(**asked: Any) -> int:  # noqa: ANN401 - click gives what is declared above
    """Change tasks, as many as the filters find. The table of what applies to which state is in docs/queries.md."""
    # Only now: --help needs none of this.
    from hs_scheduler import engines  # noqa: PLC0415
    from hs_scheduler.changes import Action, Change  # noqa: PLC0415
    from hs_scheduler.commands.location import to_read  # noqa: PLC0415
    from hs_scheduler.questions import Question, number_of  # noqa: PLC0415

    change = Change(
        filter=filter_of(asked),
        action=Action(asked["action"] or ""),
        assignments=asked["assignments"],
        removed_tags=asked["removed_tags"],
    )
    change.plan()  # refuses what makes no sense, before anything is opened
    if change.filter.everything != asked["everything"]:
        raise RefusedError(
            "--all and a filter exclude each other"
            if asked["everything"]
            else "which tasks? Give a filter (-w, -t, -g, -F, -S, -C, -R), or --all for every one"
        )
    location = to_read(asked["database"])
    name = engines.shown(location)
    count = number_of(location, Question(filter=change.filter, fields=(), archived=False))
    if count and not agreed(f"{_what(change)} {tasks_text(count)} in {name}?", yes=asked["yes"]):
        return 1
    for line in _lines(_apply(location, change), name):
        click.echo(line)
    return 0


def _apply(location: str, change: "Change") -> "Changed":
    """Change the tasks in a database that nobody owns at this moment."""
    from hs_common.clock import wall  # noqa: PLC0415
    from hs_scheduler.changes import Changed  # noqa: PLC0415
    from hs_scheduler.engines import open_store  # noqa: PLC0415
    from hs_scheduler.store import StoreBusyError  # noqa: PLC0415

    done = Changed()
    store = open_store(location, program="hs task update", brief=True)
    try:
        plan = store.plan(change)
        for first, last in store.pieces():
            with store.transaction():
                done = done.plus(store.change(plan, first, last, wall()))
    except StoreBusyError as exc:
        raise StoppedError(f"{exc} ({tasks_text(done.count)} changed before)") from exc
    finally:
        store.close()
    return done


def _what(change: "Change") -> str:
    return change.action.capitalize() or "Change"


def _lines(done: "Changed", name: str) -> list[str]:
    """Return what is said at the end: how many were changed, and how many were not and why."""
    lines = [f"{tasks_text(done.count)} changed in {name}"]
    lines += [f"{tasks_text(count)} left as they are: {why}" for why, count in sorted(done.left.items())]
    return lines
