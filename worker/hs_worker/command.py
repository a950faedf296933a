"""The command line of `hs-worker` as people type it."""

import os
from math import inf
from typing import Any

import click

from hs_common import limits
from hs_common.command_line import SETTINGS, Program, Seconds, version_option
from hs_common.config import Settings, load_settings
from hs_common.errors import RefusedError
from hs_common.incarnation import origin_of
from hs_common.programs import find_program
from hs_common.setting import MEMORY, require_text, size
from hs_worker import program
from hs_worker.options import Options

EXAMPLES = """\b
Examples:
  hs-worker --connection main -N0         on all cores of this host, until told to stop
  hs-worker --connection main -N8 -T 600  eight at a time; leaves when there was no task for ten minutes
  hs worker list                          the workers of a running cluster; also: drain ID, stop ID
"""


@click.command(cls=Program, context_settings=SETTINGS, epilog=EXAMPLES)
@click.option("--connection", required=True, metavar="FILE|NAME|-",
              help="Connection file of the role worker, or the name of a cluster of this site; -: from stdin.")  # fmt: skip
@click.option("-N", "--num-tasks", type=click.IntRange(0, limits.SLOTS_MAX), metavar="NUM",
              help="Tasks at once; 0: the cores this process may use.  [worker.num_tasks, else 1]")  # fmt: skip
@click.option(
    "-t",
    "--template",
    metavar="CMD",
    help="Expanded for each task: {} its args, {q} quoted.  [worker.template, else {}]",
)
@click.option("--shell", metavar="PATH", help="For lines that need one.  [worker.shell, else /bin/sh]")
@click.option("-b", "--bundlesize", type=click.IntRange(1, limits.BUNDLE_TASKS_MAX), expose_value=False, hidden=True)
@click.option("-w", "--bundlewait", type=Seconds(0, 86_400), metavar="SEC",
              help="Longest wait before results are sent.  [scheduler.bundlewait, else 5]")  # fmt: skip
@click.option("-d", "--delay-start", type=Seconds(-86_400, 86_400), metavar="SEC",
              help="Wait before connecting; negative: a random wait up to that.  [worker.delay_start, else 0]")  # fmt: skip
@click.option("-c", "--capture", is_flag=True, help="Each task's stdout and stderr into files of its own, in the site.")
@click.option("-o", "--output", metavar="PATH", help="All tasks' stdout in one file.")
@click.option("-e", "--errors", metavar="PATH", help="All tasks' stderr in one file.")
@click.option("-W", "--task-timeout", type=Seconds(0, 1e9), metavar="SEC",
              help="Wall time limit of a task; 0: none.  [worker.task_timeout]")  # fmt: skip
@click.option("-S", "--signalwait", type=Seconds(0, 86_400), default=10.0, show_default=True, metavar="SEC",
              help="Between SIGINT, SIGTERM and SIGKILL.")  # fmt: skip
@click.option("--cores", type=click.IntRange(1, limits.ID_MAX), metavar="NUM",
              help="That running tasks may ask for by their tag.  [what this process may use]")  # fmt: skip
@click.option("--memory", metavar="SIZE", help="Likewise, bytes or 512K, 10M, 2G.  [what this process may use]")
@click.option("-T", "--timeout", type=Seconds(0, 1e9), metavar="SEC",
              help="Leave after so long without a task; 0: never.  [worker.timeout, else 0]")  # fmt: skip
@click.option("--walltime", type=Seconds(1, 1e9), metavar="SEC",
              help="When this worker must end.  [what Slurm or PBS says of the job that it is in]")  # fmt: skip
@click.option("--until", type=Seconds(0, 1e12), default=0.0, hidden=True)
@click.option("--no-confirm", is_flag=True, help="Do not confirm bundles: fewer messages.")
@click.option("--relay", is_flag=True, hidden=True)
@click.option("--spool", default="", hidden=True)
@click.option("--wake", "wakes", is_flag=True, hidden=True)
@click.option("--judged", is_flag=True, hidden=True)
@click.option("--map", default="", hidden=True)
@click.option("--origin", default="", hidden=True)
@click.option("--patience", type=Seconds(0), default=inf, hidden=True)
@click.option("--errors-fd", type=click.IntRange(2, 1023), default=2, hidden=True)
@version_option
def worker(**given: Any) -> None:  # noqa: ANN401 - click gives what is declared above
    """Run tasks that a broker hands out, until told to stop."""
    try:
        settings = load_settings()
        options = _options(given, settings)
    except RefusedError as exc:
        program.leave(2, str(exc))
    program.run(options)


def _options(given: dict[str, Any], settings: Settings) -> Options:
    def either(name: str, key: str) -> Any:  # noqa: ANN401 - of the kind that the setting has
        return settings.get(key) if given[name] is None else given[name]

    for name, option in (("output", "-o"), ("errors", "-e")):
        require_text(option, given[name], "the path of a file")
    shell = either("shell", "worker.shell")
    return Options(
        connection=given["connection"],
        num_tasks=either("num_tasks", "worker.num_tasks"),
        template=either("template", "worker.template"),
        shell=shell if os.path.isabs(shell) else find_program(shell, "--shell"),
        bundlewait_s=either("bundlewait", "scheduler.bundlewait"),
        delay_start_s=either("delay_start", "worker.delay_start"),
        capture=given["capture"],
        output=given["output"] or "",
        errors=given["errors"] or "",
        errors_fd=given["errors_fd"],
        cores=given["cores"] or 0,
        memory=size(MEMORY, given["memory"], "--memory"),
        task_timeout_s=either("task_timeout", "worker.task_timeout"),
        signalwait_s=given["signalwait"],
        walltime_s=given["walltime"] or 0.0,
        until=given["until"],
        timeout_s=either("timeout", "worker.timeout"),
        confirm=not given["no_confirm"],
        relay=given["relay"],
        spool=given["spool"],
        wakes=given["wakes"],
        judged=given["judged"],
        map=given["map"],
        origin=_origin(given["origin"]),
        patience_s=given["patience"],
    )


def _origin(text: str) -> bytes:
    try:
        return origin_of(text) if text else b""
    except ValueError as exc:
        raise RefusedError(f"--origin {text}: {exc}") from exc
