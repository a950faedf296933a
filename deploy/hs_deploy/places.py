"""What a cluster needs before it starts: its input, its outputs, a port, the folders of its run.

Everything that can be refused is refused before the first folder is made and the first daemon is started.
"""

import contextlib
import os
import select
import stat
from typing import TYPE_CHECKING, Any

from hs_common import site
from hs_common.clock import wall
from hs_common.errors import RefusedError
from hs_common.values import dataclass
from hs_deploy import arguments
from hs_deploy.launchers import local
from hs_deploy.named_files import check_apart, check_database, check_failures, open_output, open_stream, regular_file
from hs_deploy.options import Options
from hs_deploy.runs import folders
from hs_deploy.runs.folders import Run
from hs_deploy.runs.spool import KeptSpool, Spool

if TYPE_CHECKING:
    from hs_deploy.runs.past import Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What was opened before the start."""

    run: Run
    port: int | None
    """Where others may join, or None."""
    file: str | None
    """The input where it is a file that the scheduler reads itself."""
    source: int | None
    """The input where it is a stream."""
    spool: Spool | KeptSpool | None
    """Its copy."""
    printing: int | None
    """The lock of whoever prints the outputs, or None: the tasks write by themselves."""
    output: int | None
    errors: int | None
    record: dict[str, Any]
    """What the scheduler is told of the run: its id, its settings, and what does not change when a scheduler is started anew."""


def open_places(asked: Options, past: "Past | None") -> Places:
    """Open what was named, make the folders of the run, and empty the outputs.

    Raises:
        RefusedError: Something that was named cannot be used; nothing was made.
        StoppedError: The port is taken, or another hs-cluster prints what this run has left.

    """
    file, source = _input(asked) if past is None else (past.file, None)
    named = {"-o": asked.output, "-e": asked.errors, "-f": asked.failures, "--joblog": asked.joblog}
    if asked.database is not None and not folders.is_server(asked.database):
        check_database(asked.database, {"FILE": file, **named})
    paths = {option: path for option, path in named.items() if path is not None}
    taken = os.stat(file) if file is not None else None if source is None else os.fstat(source)
    opened = {option: open_output(path, option, taken) for option, path in paths.items()}
    check_apart(opened)
    if asked.failures is not None and asked.file is None and source is not None:
        check_failures(asked.failures, os.fstat(source))
    port = None
    if asked.listens:
        from hs_deploy.joining import free_port  # noqa: PLC0415 - few listen

        port = free_port(asked.bind, asked.port, exactly=asked.port_typed)
    run = _make_run(asked, past, file)
    printing = folders.make_outputs(run, in_order=asked.keep_order) if asked.spools else None
    spooled = run.database is not None and (source is not None if past is None else past.spool is not None)
    record = _record(asked, run, past, spooled=spooled)
    spool: Spool | KeptSpool | None = None
    if past is not None and past.spool is not None:
        from hs_deploy.runs.past import whole_bytes  # noqa: PLC0415 - loaded long ago

        spool = KeptSpool(past.spool, whole_bytes(past.spool))
    elif source is not None and run.database is not None:
        if asked.once:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(run.spool)  # of an earlier start: what it held is read anew
        spool = Spool(source, run.spool, whole=asked.once)
    # Tasks of earlier starts have written there, and do not run again.
    goes_on = past is not None or asked.once
    for option, fd in opened.items():
        of_tasks = option in ("-o", "-e")
        if not (of_tasks and goes_on):
            with contextlib.suppress(OSError):  # a pipe or a terminal cannot be emptied
                os.ftruncate(fd, 0)
        if not of_tasks:
            os.close(fd)  # the scheduler's to write
    return Places(
        run=run,
        port=port,
        file=file,
        source=source,
        spool=spool,
        printing=printing,
        output=opened.get("-o"),
        errors=opened.get("-e"),
        record=record,
    )


def clean_up(places: Places) -> None:
    """Remove what nobody needs after the end."""
    folders.remove_runtime(places.run)
    if places.port is not None:
        from hs_deploy.joining import remove_connections  # noqa: PLC0415

        assert places.run.folder is not None
        remove_connections(places.run.folder)
    if places.run.database is None and places.run.folder is not None:
        os.rmdir(places.run.folder)


def unread(asked: Options) -> list[str]:
    """Return what to say where somebody has filled stdin, and it is not read: a cluster that stays is told to by name."""
    if asked.file is not None or asked.reads_stdin or not asked.forever or asked.restart:
        return []
    status = os.fstat(0)
    if stat.S_ISFIFO(status.st_mode):
        poll = select.poll()
        poll.register(0, select.POLLIN)
        filled = any(happened & select.POLLIN for _, happened in poll.poll(0))
    else:
        filled = stat.S_ISREG(status.st_mode) and os.lseek(0, 0, os.SEEK_CUR) < status.st_size
    return ["stdin is not read: a cluster that stays reads it first where FILE is -"] if filled else []


def _input(asked: Options) -> tuple[str | None, int | None]:
    """Return the input: a path that the scheduler reads itself, or a descriptor of a stream, or neither."""
    if asked.file is None:
        return None, local.copy_out_of_the_way(0) if asked.reads_stdin else None
    file = regular_file(asked.file)
    if file is None:
        # A FIFO: this waits until somebody writes to it. Nothing has been started yet, so any signal ends us.
        return None, local.out_of_the_way(open_stream(asked.file))
    from hs_scheduler.input.input_file import check_file  # noqa: PLC0415 - a stream needs none of it

    check_file(asked.file)
    return file, None


def _make_run(asked: Options, past: "Past | None", file: str | None) -> Run:
    """Make the folders of a run, or find those of the run that is continued."""
    uid = folders.uuid7(wall(), os.urandom(10))
    if past is not None:
        return folders.make_run(past.uid or uid, no_db=False, database=past.database, keep_folder=True, known=True)
    database = asked.database
    if asked.forever and database is None:
        database = os.path.join(site.main(), folders.DATABASE_NAME)
    if asked.once and database is None:
        if file is None:
            raise RefusedError("--once without a FILE: say which database with --database")
        return folders.make_run(folders.uid_of(file), no_db=False, database=None, keep_folder=True, known=True)
    return folders.make_run(uid, no_db=asked.no_db, database=database, keep_folder=asked.listens or asked.spools)


def _record(asked: Options, run: Run, past: "Past | None", *, spooled: bool) -> dict[str, Any]:
    """Return what the scheduler is told of the run; write down what a restart needs before there is a scheduler."""
    if past is not None and past.uid:
        settings = dict(past.settings)
    else:
        settings = arguments.settings_of(asked, run, spooled=spooled)
        settings["whole"] |= past is not None
    if asked.forever or (run.map and os.path.exists(run.map)):
        from hs_deploy.runs import recovery  # noqa: PLC0415 - everybody was killed
        from hs_scheduler.stores.store import Retry  # noqa: PLC0415

        retry = Retry(asked.retries_max, asked.eager)
        recovery.take_up(run, settings, retry)
        if asked.forever and run.database is not None:
            recovery.take_up_before(run.database, retry)
    if run.database is not None:
        if past is not None and run.folder is not None:
            folders.remove_remains(run.folder)
        folders.record(run, settings)
    return {
        "id": run.uid.hex(),
        "settings": settings,
        "whole": settings.get("whole", False),
        "cwd": settings["cwd"],
        "began": wall(),
    }
