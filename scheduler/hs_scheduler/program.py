"""A scheduler as a program: options and settings to objects, errors to exit statuses."""

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

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


def run(given: dict[str, Any]) -> NoReturn:
    """Be a scheduler with these options, as `command` declares them; end as it ends."""
    from hs_scheduler.assemble import Options  # noqa: PLC0415 - settings that make no sense come first

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
    if options.report_fd is None:  # hs-cluster has looked at what it names
        check_named(options)
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
    report.counts = parts.store.counts
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
        patience = Patience(until_told(signals))
        patience.carry_out(parts.feed.close)
        patience.carry_out(lambda: parts.store.close_run(parts.run_id, wall(), end.status))
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


def check_named(options: "Options") -> None:
    """Look at what is named, before a broker is waited for, and a run is over whose failures cannot be written down.

    Raises:
        RefusedError: It cannot be used.

    """
    from hs_common import site  # noqa: PLC0415 - hs-cluster's needs none of this
    from hs_scheduler.halt import parse_halt  # noqa: PLC0415
    from hs_scheduler.input.input_file import check_file  # noqa: PLC0415
    from hs_scheduler.stores.locations import NAME, is_url  # noqa: PLC0415

    if options.halt is not None:
        parse_halt(options.halt)
    if options.file not in (None, "-"):
        check_file(options.file)
    for option, path in (("-f", options.failures), ("--joblog", options.joblog)):
        if path is not None:
            _check_folder(option, path)
            if os.path.isdir(path):
                raise RefusedError(f"{option} {path}: is a folder, expected the path of a file")
    database = options.database
    # The folder of the standing queue is made when it is missing.
    if database is not None and not is_url(database) and database != os.path.join(site.main(), NAME):
        _check_folder("database", database)


def _check_folder(name: str, path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise RefusedError(f"{name} {path}: there is no folder {folder}")


def _fail(status: int, error: Exception) -> NoReturn:
    sys.stderr.write(f"hs-scheduler: {error}\n")
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End without the interpreter's teardown: everything that matters is closed already."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
