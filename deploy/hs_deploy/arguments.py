"""What each daemon is given when it starts: its command line, and the settings that the run records."""

import os
from typing import Any

from hs_deploy.launchers.local import CHILD_ERRORS_FD, CHILD_INPUT_FD, CHILD_REPORT_FD
from hs_deploy.options import Options
from hs_deploy.runs.folders import ORDER_NAME, Run, is_server
from hs_deploy.runs.spool import KeptSpool, Spool


def broker_arguments() -> list[str]:
    """Return the command line of the broker, without the program."""
    return ["--connection", "-"]


def scheduler_arguments(
    options: Options, *, run: Run, file: str | None, spool: Spool | KeptSpool | None, stream: bool
) -> list[str]:
    """Return the command line of the scheduler, without the program; the same for each start, so that it goes on.

    Args:
        options: What was asked for.
        run: Where things are.
        file: Path of the input that it reads by itself, or None.
        spool: The copy of a stream that it reads, or None.
        stream: Whether there is a stream, which it reads itself where there is no copy.

    """
    arguments = ["--connection", "-", "--report-fd", str(CHILD_REPORT_FD)]
    arguments += ["-b", str(options.bundlesize), "-w", str(options.bundlewait_s), "-r", str(options.retries_max)]
    arguments += ["--eager"] if options.eager else []
    arguments += ["--no-db"] if run.database is None else ["--database", _named(run.database)]
    arguments += ["--initdb"] if options.initdb else []
    arguments += ["-f", options.failures] if options.failures is not None else []
    arguments += ["--joblog", options.joblog] if options.joblog is not None else []
    if options.keep_order:
        arguments += ["--order-file", os.path.join(run.outputs, ORDER_NAME)]
    arguments += ["--halt", options.halt] if options.halt is not None else []
    arguments += ["--once"] if options.once else []
    arguments += ["--forever"] if options.forever else []
    arguments += ["--restart"] if options.restart else []
    if spool is not None:
        return [*arguments, "--spool", spool.path]
    if file is not None:
        return [*arguments, "--", file]
    return [*arguments, "--input-fd", str(CHILD_INPUT_FD)] if stream else arguments


def worker_arguments(options: Options, run: Run, *, relays: bool) -> list[str]:
    """Return the command line of a worker that we start ourselves, without the program."""
    arguments = ["--connection", "-", "--errors-fd", str(CHILD_ERRORS_FD), *tasks_arguments(options)]
    arguments += ["--tells-end", *(["--map", run.map] if run.map else [])]
    if options.spools:
        return [*arguments, "--spool", run.outputs, *([] if options.keep_order else ["--wake"])]
    if options.capture:
        return [*arguments, "--capture"]
    return [*arguments, "--relay"] if relays else arguments


def tasks_arguments(options: Options) -> list[str]:
    """Return what every worker is told about its tasks, wherever it is."""
    arguments = ["-N", str(options.slots), "-t", options.template, "--shell", options.shell]
    arguments += ["-b", str(options.bundlesize), "-w", str(options.bundlewait_s), "-d", str(options.delay_s)]
    arguments += ["-S", str(options.signalwait_s)]
    arguments += ["-W", str(options.task_timeout_s)] if options.task_timeout_s else []
    arguments += [] if options.confirm else ["--no-confirm"]
    arguments += ["--judged"] if options.halt is not None else []
    arguments += ["--cores", str(options.cores)] if options.cores else []
    arguments += ["--memory", str(options.memory)] if options.memory else []
    arguments += ["-T", str(options.timeout_s)] if options.timeout_s else []
    # An instant, not a duration: the same for a worker that is started again.
    return arguments + (["--until", str(options.until)] if options.until else [])


def settings_of(options: Options, run: Run, *, spooled: bool) -> dict[str, Any]:
    """Return what the run records of its options, by the names of `cli`: all that is needed to continue it from anywhere."""
    return {
        "num_tasks": options.slots,
        "template": options.template,
        "shell": options.shell,
        "bundlesize": options.bundlesize,
        "bundlewait": options.bundlewait_s,
        "max_retries": options.retries_max,
        "eager": options.eager,
        "no_confirm": not options.confirm,
        "delay_start": options.delay_s,
        "task_timeout": options.task_timeout_s,
        "signalwait": options.signalwait_s,
        "cores": options.cores or None,
        "memory": options.memory or None,
        "capture": options.capture,
        "keep_order": options.keep_order,
        "group_output": options.group_output,
        "input": _absolute(options.file),
        "output": _absolute(options.output),
        "errors": _absolute(options.errors),
        "failures": _absolute(options.failures),
        "joblog": _absolute(options.joblog),
        "halt": options.halt,
        **(options.elsewhere.record() if options.elsewhere is not None else {}),
        "cwd": os.getcwd(),
        "spool": run.spool if spooled else None,
        # Whether only those lines are tasks that are not there yet: whoever goes on must know, or adds the others again.
        "adds_missing": options.once,
        # Whether it takes care of every task of its database, not only of its own.
        "whole": options.once or options.forever,
        "database": None if run.database is None else without_password(run.database),
    }


def without_password(location: str) -> str:
    """Return the location of a database as it may be written down and shown."""
    if not is_server(location):
        return location
    from hs_scheduler.stores.locations import shown  # noqa: PLC0415 - most have none

    return shown(location)


def _named(location: str) -> str:
    """Return how a daemon is told of a database: of one on a server by its start document, for there may be a password in it."""
    return "-" if is_server(location) else location


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)
