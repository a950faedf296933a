"""`hs-scheduler`: options to objects, exit statuses from errors."""

import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from hs_common import limits
from hs_common.errors import RefusedError, StoppedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    file: str | None
    connection: str
    report_fd: int | None
    database: str | None
    no_db: bool
    bundlesize: int
    bundlewait: float
    max_retries: int
    eager: bool
    failures: str | None
    joblog: str | None
    input_fd: int | None
    spool: str | None


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", required=False)
@click.option("--connection", metavar="FILE", required=True, help="Connection file of the role scheduler; - reads it from stdin.")
@click.option("--database", metavar="PATH", help="SQLite file with the tasks.")
@click.option("--no-db", is_flag=True, help="Keep tasks in memory only.")
@click.option("-b", "--bundlesize", type=click.IntRange(1, limits.BUNDLE_TASKS_MAX), default=1, show_default=True, metavar="SIZE",
              help="At most so many tasks are leased to one worker as a unit.")  # fmt: skip
@click.option("-w", "--bundlewait", type=click.FloatRange(0, 86_400), default=5.0, show_default=True, metavar="SEC",
              help="Longest wait for a part-filled bundle.")  # fmt: skip
@click.option("-r", "--max-retries", type=click.IntRange(0, 1_000), default=0, show_default=True, metavar="NUM",
              help="More attempts for a task that failed.")  # fmt: skip
@click.option("--eager", is_flag=True, help="Retries go first.")
@click.option("-f", "--failures", metavar="PATH", help="Write the args of finally failed tasks there (default: stdout).")
@click.option("--joblog", metavar="PATH", help="A TSV row for each finished attempt.")
@click.option("--report-fd", type=int, hidden=True)
@click.option("--input-fd", type=int, hidden=True)
@click.option("--spool", hidden=True)
def main(**given: Any) -> None:  # noqa: ANN401 - click gives what Options declares
    """Read task lines from FILE (or stdin), hand them to workers through a broker, record the results."""
    options = Options(**given)
    try:
        status = _run(options)
    except RefusedError as exc:
        _fail(2, exc)
    except StoppedError as exc:
        _fail(3, exc)
    _leave(status)


def _run(options: Options) -> int:
    if options.no_db and options.database:
        raise RefusedError("--no-db and --database exclude each other")
    if not options.no_db and not options.database:
        raise RefusedError("name the tasks' place: --database PATH, or --no-db")
    # Only now: --help and a mistyped option need none of this.
    from hs_common.logs import configure_from_settings  # noqa: PLC0415
    from hs_common.prctl import protect_secrets, set_process_name  # noqa: PLC0415
    from hs_scheduler.report import Report  # noqa: PLC0415

    set_process_name("hs-scheduler")
    protect_secrets()
    configure_from_settings("scheduler")
    report = Report(options.report_fd)
    try:
        return _serve(options, report)
    except StoppedError as exc:
        report.stopped(str(exc))
        raise


def _serve(options: Options, report: Any) -> int:  # noqa: ANN401 - imported late
    """Build the parts, run, close in order."""
    from hs_common.signals import SignalPipe  # noqa: PLC0415
    from hs_scheduler.assemble import assemble  # noqa: PLC0415
    from hs_scheduler.daemon import SchedulerDaemon  # noqa: PLC0415
    from hs_scheduler.report import write_failures  # noqa: PLC0415

    signals = SignalPipe([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
    parts = assemble(options, report, signals)
    try:
        end = SchedulerDaemon(parts).run()
        if options.failures:
            write_failures(parts.store, options.failures)
        elif options.report_fd is None:
            write_failures(parts.store, "/dev/stdout")
        if parts.joblog is not None:
            parts.joblog.close()
        parts.finish(end.status)
        counts = parts.store.counts
        # The last acknowledgements leave before we say that we are done: then everybody may end at once.
        parts.link.close(linger_ms=500)
        report.end(end, counts)
        parts.store.close()
    except OSError as exc:
        raise StoppedError(f"cannot write {exc.filename}: {exc.strerror}") from exc
    return end.status


def _fail(status: int, error: Exception) -> NoReturn:
    sys.stderr.write(f"hs-scheduler: {error}\n")
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End without the interpreter's teardown: everything that matters is closed already."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def read_document(options: Options) -> tuple[dict[str, Any], Any]:
    """Return the start document and the lifeline it came by (None with a connection file)."""
    if options.connection == "-":
        from hs_common.lifeline import Lifeline  # noqa: PLC0415

        lifeline = Lifeline(0)
        return json.loads(lifeline.first_line(limits.SILENCE_S)), lifeline
    return {}, None
