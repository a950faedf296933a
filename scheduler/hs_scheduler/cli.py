"""`hs-scheduler`: options to objects, exit statuses from errors."""

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from hs_common import limits
from hs_common.command_line import SETTINGS, Program, version_option
from hs_common.errors import RefusedError, StoppedError
from hs_common.setting import require_text

if TYPE_CHECKING:
    from hs_scheduler.assemble import Options
    from hs_scheduler.report import Report

SETTINGS_OF = {
    "bundlesize": "scheduler.bundlesize",
    "bundlewait": "scheduler.bundlewait",
    "max_retries": "scheduler.max_retries",
    "eager": "scheduler.eager",
}
"""Option -> the setting that holds where it is not typed."""

LAST_WORDS_MS = 500
"""How long the last acknowledgements may take to leave; a broker that is there takes them in one."""


@click.command(cls=Program, context_settings=SETTINGS)
@click.argument("file", required=False)
@click.option(
    "--connection",
    metavar="FILE|NAME|-",
    required=True,
    help="Connection file of the role scheduler, or the name of a cluster of this site; -: from stdin.",
)
@click.option(
    "--database",
    metavar="PATH",
    help="SQLite file with the tasks, or a postgresql:// URL.  [database.url, database.file, else the standing queue]",
)
@click.option("--no-db", is_flag=True, help="Keep tasks in memory only.")
@click.option("-b", "--bundlesize", type=click.IntRange(1, limits.BUNDLE_TASKS_MAX), metavar="SIZE",
              help="At most so many tasks are leased to one worker as a unit.  [scheduler.bundlesize, else 1]")  # fmt: skip
@click.option("-w", "--bundlewait", type=click.FloatRange(0, 86_400), metavar="SEC",
              help="Longest wait for a part-filled bundle.  [scheduler.bundlewait, else 5]")  # fmt: skip
@click.option("-r", "--max-retries", type=click.IntRange(0, 1_000), metavar="NUM",
              help="More attempts for a task that failed.  [scheduler.max_retries, else 0]")  # fmt: skip
@click.option("--eager", is_flag=True, help="Retries go first.  [scheduler.eager]")
@click.option(
    "-f", "--failures", metavar="PATH", help="Write the args of finally failed tasks there (default: stdout)."
)
@click.option("--joblog", metavar="PATH", help="A TSV row for each finished attempt.")
@click.option("--halt", metavar="WHEN", help="Stop after so many failures: N, N%, or now,N to stop running tasks too.")
@click.option("--once", is_flag=True, help="Add only the lines that the database does not hold yet.")
@click.option("--forever", is_flag=True, help="Keep waiting for new tasks until told to stop.")
@click.option("--restart", is_flag=True, help="No input: continue the database.")
@click.option("--initdb", is_flag=True, help="Create missing tables first (SQLite: always done).")
@click.option("--report-fd", type=int, hidden=True)
@click.option("--input-fd", type=int, hidden=True)
@click.option("--spool", hidden=True)
@click.option("--order-file", hidden=True)
@version_option
def main(**given: Any) -> None:  # noqa: ANN401 - click gives what Options declares
    """Read task lines from FILE (or stdin), hand them to workers through a broker, record the results."""
    # Only now: --help and a mistyped option need none of this.
    from hs_scheduler.assemble import Options  # noqa: PLC0415

    try:
        _leave(_run(Options(**completed(given))))
    except RefusedError as exc:
        _fail(2, exc)
    except StoppedError as exc:
        _fail(3, exc)


def completed(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options with what the settings say where nothing was typed.

    Raises:
        RefusedError: A setting makes no sense, or two options exclude each other.

    """
    from hs_common.config import load_settings  # noqa: PLC0415

    require_text("FILE", given["file"], "a file with one task per line, or - for stdin")
    for name, option in (("failures", "-f"), ("joblog", "--joblog")):
        require_text(option, given[name], "the path of a file")
    if given["no_db"] and given["database"]:
        raise RefusedError("--no-db and --database exclude each other")
    settings = load_settings()
    found = {
        name: settings.get(key) if given[name] is None or given[name] is False else given[name]
        for name, key in SETTINGS_OF.items()
    }
    if given["eager"] and not found["max_retries"] and given.get("report_fd") is None:
        raise RefusedError("--eager: without retries nothing goes first: give -r NUM too")
    # hs-cluster has looked at what it names.
    if not given["no_db"] and (given["database"] is None or given.get("report_fd") is None):
        from hs_scheduler.commands.location import to_write  # noqa: PLC0415

        found["database"], _ = to_write(given["database"])
    return given | found


def _run(options: "Options") -> int:
    _check_exclusions(options)
    from hs_common.config import load_settings  # noqa: PLC0415
    from hs_common.logs import configure_by  # noqa: PLC0415
    from hs_common.prctl import protect_secrets, set_process_name  # noqa: PLC0415
    from hs_common.priority import yield_to_tasks  # noqa: PLC0415
    from hs_scheduler.report import Report  # noqa: PLC0415

    set_process_name("hs-scheduler")
    protect_secrets()
    yield_to_tasks()
    configure_by(load_settings())
    report = Report(options.report_fd)
    try:
        return _serve(options, report)
    except StoppedError as exc:
        report.stopped(str(exc))
        raise


def _serve(options: "Options", report: "Report") -> int:
    """Build the parts, run, write what was asked for, close in order."""
    from hs_common import site  # noqa: PLC0415
    from hs_common.clock import wall  # noqa: PLC0415
    from hs_common.garbage import search_seldom  # noqa: PLC0415
    from hs_common.notify import Notifier, of_service  # noqa: PLC0415
    from hs_common.signals import SignalPipe  # noqa: PLC0415
    from hs_scheduler.assemble import assemble  # noqa: PLC0415
    from hs_scheduler.daemon import SchedulerDaemon  # noqa: PLC0415
    from hs_scheduler.patience import Patience, until_told  # noqa: PLC0415
    from hs_scheduler.report import write_failures  # noqa: PLC0415
    from hs_scheduler.stores.locations import NAME  # noqa: PLC0415

    signals = SignalPipe([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
    by_hand = options.report_fd is None
    if options.connection != "-":
        from hs_common.rendezvous import await_connection  # noqa: PLC0415

        if not await_connection(options.connection, "scheduler", signals.wait, "scheduler"):
            return 0
    parts = assemble(options, report, signals)
    if by_hand and options.database == os.path.join(site.main(), NAME):
        site.set_latest(site.main())
    try:
        daemon = SchedulerDaemon(parts, of_service() if by_hand else Notifier())
        search_seldom()
        end = daemon.run()
        # The last acknowledgements leave before we say that we are done: then everybody else may end at once.
        parts.link.close(linger_ms=LAST_WORDS_MS)
        if options.failures or (by_hand and not options.forever):
            write_failures(parts.store, options.failures)
        if parts.joblog is not None:
            parts.joblog.close()
        if parts.ordering is not None and not (parts.lifeline is not None and parts.lifeline.ended):
            parts.ordering.close()
        Patience(until_told(signals)).carry_out(lambda: parts.store.close_run(parts.run_id, wall(), end.status))
        report.end(end, parts.store.counts)
    except OSError as exc:
        raise StoppedError(f"cannot write {exc.filename}: {exc.strerror}") from exc
    finally:
        parts.store.close()
    if end.reason and by_hand:
        sys.stderr.write(f"hs-scheduler: {end.reason}\n")
    # Nobody asks a standing queue whether every task succeeded: it was told to stop, and did.
    return 0 if by_hand and options.forever else end.status


def _check_exclusions(options: "Options") -> None:
    input_named = options.file is not None or options.spool is not None
    # hs-cluster continues a run whose input was not read to its end: it names what is left of it, and how it was read.
    by_hand = options.report_fd is None
    for refused, names in (
        (by_hand and options.restart and options.forever, "--restart and --forever"),
        (by_hand and options.restart and options.once, "--restart and --once"),
        (by_hand and options.restart and input_named, "--restart and FILE"),
        (options.no_db and options.restart, "--no-db and --restart"),
        (options.no_db and options.forever, "--no-db and --forever"),
        (options.no_db and options.once, "--no-db and --once"),
        (options.no_db and options.initdb, "--no-db and --initdb"),
    ):
        if refused:
            raise RefusedError(f"{names} exclude each other")


def _fail(status: int, error: Exception) -> NoReturn:
    sys.stderr.write(f"hs-scheduler: {error}\n")
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End without the interpreter's teardown: everything that matters is closed already."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
