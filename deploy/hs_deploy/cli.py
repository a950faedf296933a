"""`hs-cluster`, and the umbrella `hyper-shell` (`hs`): options to objects, errors to exit statuses. Nothing is imported early."""

from typing import Any

import click

from hs_common.command_line import SETTINGS, OneLine, version_option
from hs_common.errors import RefusedError

LAZY = {
    "cluster": "hs_deploy.cli:cluster",
    "broker": "hs_broker.command:broker",
    "scheduler": "hs_scheduler.command:scheduler",
    "worker": "hs_worker.command:worker",
    "submit": "hs_scheduler.commands.submit:submit",
    "task": "hs_deploy.cli:task",
    "status": "hs_scheduler.commands.status:status",
    "doctor": "hs_deploy.commands.doctor:doctor",
    "initdb": "hs_scheduler.commands.initdb:initdb",
    "config": "hs_deploy.commands.config:config",
    "completion": "hs_deploy.commands.completion:completion",
}
"""Subcommand of `hs` -> where it is. Imported when it is used: a worker never loads what only a database needs."""

LAZY_TASK = {
    "info": "hs_scheduler.commands.info:info",
    "run": "hs_scheduler.commands.run:run",
    "search": "hs_scheduler.commands.search:search",
    "update": "hs_scheduler.commands.update:update",
    "wait": "hs_scheduler.commands.wait:wait",
}
"""Likewise of `hs task`."""

LAZY_WORKER = {
    "list": "hs_scheduler.commands.status:workers",
    "drain": "hs_scheduler.commands.status:drain",
    "stop": "hs_scheduler.commands.status:stop",
}
"""Likewise of `hs worker`: what is asked of running workers. Without one of these it is a worker itself."""

ALSO = {"worker": "hs_deploy.cli:workers"}
"""Command of `hs` that is no group, and has others below it all the same -> their group."""

HELP = {
    "cluster": "Run task lines here and exit when all are finished.",
    "broker": "The daemon between schedulers and workers.",
    "scheduler": "The daemon that owns the tasks.",
    "worker": "The daemon that runs tasks. Or list, drain, stop: those of a running cluster.",
    "submit": "Add tasks to a database.",
    "task": "Look at tasks, and change them.",
    "status": "Show what a running cluster does.",
    "list": "Show the workers of a running cluster.",
    "drain": "Let a worker finish what it runs, and leave.",
    "stop": "Stop what a worker runs, and have it leave.",
    "doctor": "Find out why a cluster is not reached.",
    "initdb": "Make a database of tasks, and look after it.",
    "config": "Read and write settings.",
    "completion": "Make bash, zsh or fish complete the commands.",
    "info": "Show one task, and what it printed.",
    "run": "Run a command on a cluster as if it ran here.",
    "search": "List, count and filter tasks.",
    "update": "Change, cancel, retry, hold or remove tasks.",
    "wait": "Wait until tasks have ended.",
}
"""One line for each, so that `hs --help` imports none of them."""

OLDER_COMMANDS = {
    "client": "hs worker",
    "server": "hs broker and hs scheduler",
    "list": "hs task search",
    "search": "hs task search",
    "run": "hs cluster",
    "hsx": "hs cluster",
    "workers": "hs worker",
    "jobs": "hs task search",
}
"""Names of older and similar tools -> ours."""

EXAMPLES = """\b
Examples:
  hs-cluster tasks.txt -N8                     the lines of a file, eight at a time
  seq 100 | hs-cluster -N0 -t 'convert {}.png {}.jpg'     on all cores, from a pipe
  hs-cluster tasks.txt -r2 -f failed.txt       try failures twice more, keep what failed for good
  hs task search -F                            look at what failed in the run before
  hs-cluster --restart                         go on with what is left of it
"""


class _Defects(OneLine):
    """Mixed into commands whose status 1 would say that only some tasks failed."""

    reports_defects = True


class _Command(_Defects, click.Command):
    pass


class LazyGroup(_Defects, click.Group):
    """A group whose commands are imported when they are used."""

    def __init__(self, *args: Any, places: dict[str, str], **keys: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **keys)
        self._places = places

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return them in the order of their table."""
        return list(self._places)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import one."""
        return _imported(self._places[name]) if name in self._places else None

    def below(self, name: str) -> click.Group | None:
        """Return the group of what is below a command that is none itself."""
        group = _imported(ALSO[name]) if self._places is LAZY and name in ALSO else None
        assert group is None or isinstance(group, click.Group)
        return group

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Answer the name of an older tool with ours."""
        if args and args[0] not in self._places and args[0] in OLDER_COMMANDS:
            raise RefusedError(f"there is no command {args[0]}: use {OLDER_COMMANDS[args[0]]}")
        # Itself it takes options alone: any other word is meant for one of those below it.
        if len(args) > 1 and not args[1].startswith("-") and (group := self.below(args[0])) is not None:
            return args[0], group, args[1:]
        return super().resolve_command(context, args)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, HELP[name]) for name in self._places])


@click.command(cls=_Command, context_settings=SETTINGS, epilog=EXAMPLES)
@click.argument("file", required=False)
@click.option("-N", "--num-tasks", metavar="NUM", help="Tasks at a time; 0: as many as cores may be used.  [1]")
@click.option(
    "-t",
    "--template",
    metavar="CMD",
    help="What to run for a line; {} is the line, {q} the line quoted, and more.  [{}]",
)
@click.option("--shell", metavar="PATH", help="For lines that need one.  [/bin/sh]")
@click.option("-b", "--bundlesize", metavar="SIZE", help="Tasks leased to a worker as a unit, at most.  [1]")
@click.option("-w", "--bundlewait", metavar="SEC", help="Longest wait for a part-filled bundle, seconds.  [5]")
@click.option("-r", "--max-retries", metavar="NUM", help="More attempts for a task that failed.  [0]")
@click.option("--eager", is_flag=True, help="Retries go first.")
@click.option("-f", "--failures", metavar="PATH", help="Write the args of finally failed tasks there.")
@click.option("--joblog", metavar="PATH", help="Write a TSV row for each finished attempt there.")
@click.option("-c", "--capture", is_flag=True, help="Each task's stdout and stderr into files of its own.")
@click.option("-o", "--output", metavar="PATH", help="All tasks' stdout into this file.")
@click.option("-e", "--errors", metavar="PATH", help="All tasks' stderr into this file.")
@click.option("-k", "--keep-order", is_flag=True, help="Outputs in the order of the input.")
@click.option("--group-output", is_flag=True, help="The output of each task as a whole, not mixed with others'.")
@click.option("-W", "--task-timeout", metavar="SEC", help="Time limit of each task, seconds.  [none]")
@click.option("-S", "--signalwait", metavar="SEC", help="Between the signals that stop a task, seconds.  [10]")
@click.option("--cores", metavar="NUM", help="Cores that running tasks may ask for.  [what this process may use]")
@click.option("--memory", metavar="SIZE", help="Memory likewise, as 512M or 4G.  [what this process may use]")
@click.option("--walltime", metavar="SEC", help="When the workers must end.  [what the batch system says]")
@click.option(
    "--halt", metavar="WHEN", help="Stop after so many failures: N, N%; now,N stops running tasks too.  [never]"
)
@click.option("--restart", is_flag=True, help="No input: continue what an earlier run left, with its settings.")
@click.option("--retry-failed", is_flag=True, help="As --restart, and what failed is tried once more.")
@click.option(
    "--once", is_flag=True, help="Add only those lines of FILE that were not added before; go on with what is left."
)
@click.option("--forever", is_flag=True, help="Wait for new tasks until told to stop; FILE (-: stdin) is read first.")
@click.option("--initdb", is_flag=True, help="Create missing tables first (SQLite: always done).")
@click.option(
    "--database",
    metavar="PATH|URL",
    help="Keep the tasks in this SQLite file, or on the server of this postgresql:// URL, not in a file of the run's own.",
)
@click.option("--no-db", is_flag=True, help="Keep nothing about tasks on disk.")
@click.option("-H", "--bind", metavar="ADDR", help="Let others join: listen on this address.")
@click.option("-p", "--port", metavar="NUM", help="Let others join: listen on this port.  [the first free from 50001]")
@click.option(
    "--ssh",
    metavar="HOST[,HOST]...",
    is_flag=False,
    flag_value=" ",
    help="Workers on these hosts, patterns as n[1-4] too.  [ssh.nodelist]",
)
@click.option("--ssh-group", metavar="NAME", help="Workers on the hosts of this list in [ssh.nodelist].")
@click.option("--ssh-args", metavar="ARGS", help="As for ssh: -i -p -l -J -F -o Key=Value.  [ssh.args]")
@click.option("--ssh-tunnel", is_flag=True, help="Workers come in through the sessions, where hosts cannot reach back.")
@click.option("-E", "--env", is_flag=True, help="Send HYPERSHELL_* variables to the workers of --ssh.")
@click.option("--mpi", is_flag=True, help="Workers started by mpirun: the same as --launcher=mpirun.")
@click.option("--launcher", metavar="ARGS", help="Workers started by this program and its arguments, as 'srun -N4'.")
@click.option("--remote-exe", metavar="PATH", help="The worker's program on other hosts.  [as here]")
@click.option("-A", "--autoscaling", metavar="[MODE]", is_flag=False, flag_value=" ",
              help="As many workers as there is work for: fixed or dynamic; stays until told to stop.  [fixed]")  # fmt: skip
@click.option("-F", "--factor", metavar="NUM", help="With -A dynamic: how far the work may pile up.  [1]")
@click.option("-P", "--period", metavar="SEC", help="With -A: between two decisions.  [60]")
@click.option("-I", "--init-size", metavar="NUM", help="With -A: workers to begin with.  [1]")
@click.option("-X", "--min-size", metavar="NUM", help="With -A: workers at least.  [0]")
@click.option("-Y", "--max-size", metavar="NUM", help="With -A dynamic: workers at most.  [2]")
@click.option("-T", "--timeout", metavar="SEC", help="With -A: a worker leaves after so long without work.  [never]")
@click.option("--no-confirm", is_flag=True, help="Workers do not confirm bundles: fewer messages.")
@click.option("-d", "--delay-start", metavar="SEC", help="Workers wait so long first; negative: random up to it.  [0]")
@click.option("--dry-run", is_flag=True, help="Print the expanded lines, run nothing.")
@click.option("-v", "--verbose", count=True, help="More log; twice: everything.")
@click.option("-q", "--quiet", is_flag=True, help="Less log, no progress line, no summary.")
@version_option
@click.pass_context
def cluster(context: click.Context, /, **typed: Any) -> int:  # noqa: ANN401 - click gives what is declared above
    """Run the command lines of FILE (or of stdin) and exit when all are finished.

    Status: 0 all succeeded, 1 some did not, 2 misuse, 3 it could not go on, 128 + n stopped by signal n.
    """
    # Only now: --help and a mistyped option need none of this.
    from hs_deploy.program import run  # noqa: PLC0415

    status = run(typed)
    if status is None:
        click.echo(context.get_usage(), err=True)
        return 2
    return status


@click.group(cls=LazyGroup, places=LAZY, context_settings=SETTINGS)
@version_option
def main() -> None:
    """Run thousands or millions of shell command lines, with every result recorded."""


@click.group(cls=LazyGroup, places=LAZY_TASK, context_settings=SETTINGS)
def task() -> None:
    """Look at tasks, and change them."""


@click.group("worker", cls=LazyGroup, places=LAZY_WORKER, context_settings=SETTINGS)
def workers() -> None:
    """Look at the workers of a running cluster, and send them away."""


def cluster_main() -> None:
    """Run `hs-cluster`."""
    cluster.main()


def _imported(place: str) -> click.Command:
    from importlib import import_module  # noqa: PLC0415

    module, _, attribute = place.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command
