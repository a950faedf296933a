"""`hs task update`: change, cancel, retry, hold or remove the tasks that a filter finds."""

from typing import TYPE_CHECKING, Any

import click

from hs_common.command_line import SETTINGS, one_of
from hs_common.ending import say
from hs_common.errors import RefusedError
from hs_scheduler.commands.asking import agreed, tasks_text
from hs_scheduler.commands.filtering import filter_options

if TYPE_CHECKING:
    from hs_scheduler.stores.changes import Change, Changed

EXAMPLES = """\b
Examples:
  hs task update --cancel -t kind:train -R        stop what is left of them, also what runs
  hs task update --retry -F -y                    try what failed once more
  hs task update memory=8G --retry -w 'exit_status == 137'
  hs task update --hold -g 3                      group 3 has to wait; --release lets it go
  hs task update priority=5 color:red -w 'args ~ urgent'
"""

ARCHIVED = "in an archive, which is only read"
"""Why these tasks are left as they are."""


@click.command(context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("assignments", nargs=-1, metavar="[FIELD=VALUE|KEY:VALUE]...")
@one_of(
    "action",
    "cancel",
    "--cancel",
    help="Those that have not ended never run; what runs is stopped; with -F, what failed is given up.",
)
@one_of("action", "revert", "--revert", help="What has ended is new again, as it was submitted.")
@one_of("action", "retry", "--retry", help="Another attempt of what failed or was cancelled.")
@one_of("action", "delete", "--delete", help="Remove them, and all that is known of them.")
@one_of("action", "hold", "--hold", help="What waits has to wait until it is released.")
@one_of("action", "release", "--release", help="What is on hold may go.")
@click.option("--remove-tag", "removed_tags", multiple=True, metavar="KEY", help="Take this tag off.")
@filter_options
@click.option("--all", "everything", is_flag=True, help="Every task: instead of a filter.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--database", metavar="PATH|URL", help="In this one.  [the one used last]")
def update(**asked: Any) -> int:  # noqa: ANN401 - click gives what is declared above
    """Change tasks, as many as the filters find. The table of what applies to which state is in docs/queries.md."""
    # Only now: --help needs none of this.
    from hs_scheduler.commands.changing import carry_out  # noqa: PLC0415
    from hs_scheduler.commands.location import not_the_cluster, to_read  # noqa: PLC0415
    from hs_scheduler.commands.looking import archived, spans  # noqa: PLC0415
    from hs_scheduler.stores import locations  # noqa: PLC0415
    from hs_scheduler.stores.changes import Action, Change, Changed  # noqa: PLC0415
    from hs_scheduler.tasks.filters import filter_of  # noqa: PLC0415

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
    name = locations.shown(location)
    found = spans(location, change.filter)
    count = sum(span.tasks for span in found)
    if note := not_the_cluster(asked["database"], location):
        say(f"{name}: {note}")
    if count and not agreed(f"{_what(change)} {tasks_text(count)} in {name}?", yes=asked["yes"]):
        return 1
    done = carry_out(location, change, found) if found else Changed()
    if kept := archived(location, change.filter):
        done.left[ARCHIVED] = kept
    for line in _lines(done, name):
        click.echo(line)
    return 0


def _what(change: "Change") -> str:
    return change.action.capitalize() or "Change"


def _lines(done: "Changed", name: str) -> list[str]:
    """Return what is said at the end: how many were changed, and how many were not and why."""
    lines = [f"{tasks_text(done.count)} changed in {name}"]
    lines += [
        f"{tasks_text(count)} left as {'it is' if count == 1 else 'they are'}: {why}"
        for why, count in sorted(done.left.items())
    ]
    return lines
