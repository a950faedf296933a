"""Builds a scheduler out of its parts: store, input, core, link."""

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from hs_common import __version__, limits
from hs_common.clock import monotonic, wall
from hs_common.config import load_settings
from hs_common.errors import RefusedError
from hs_common.lifeline import Lifeline
from hs_common.logs import get_logger
from hs_common.printable import printable
from hs_common.security import Connection, read_connection
from hs_common.signals import SignalPipe
from hs_common.site import connection_file
from hs_common.sockets import Link, new_context
from hs_common.values import dataclass
from hs_scheduler.control import Control
from hs_scheduler.conversation import Identity
from hs_scheduler.core import SchedulerCore
from hs_scheduler.input.feed import Feed
from hs_scheduler.input.groups import ALL_SHOWN, NONE_SHOWN
from hs_scheduler.input.input_file import open_file, resume
from hs_scheduler.input.source import FileSource, Source, StreamSource
from hs_scheduler.patience import Patience, until_told
from hs_scheduler.report import JobLog, Report
from hs_scheduler.serving.desk import Desk
from hs_scheduler.serving.rate import Rate
from hs_scheduler.serving.status import status
from hs_scheduler.stores.memory import MemoryStore
from hs_scheduler.stores.queue_store import QueueStore
from hs_scheduler.stores.recent import Recent
from hs_scheduler.stores.store import InputState, Retry, Store, StoreBusyError

if TYPE_CHECKING:
    from hs_scheduler.halt import Halt
    from hs_scheduler.input.once import Missing
    from hs_scheduler.ordering import Ordering

log = get_logger("scheduler")

IN_DOCUMENT = "-"
"""The start document says where the tasks are: a URL may have a password in it, which has no place on a command line."""

NAME_CHARS_MAX = limits.NAME_BYTES_MAX // 4
"""Of a database that the broker is told of."""

AHEAD_IN_MEMORY = 100_000
"""NEW tasks that a store in memory reads ahead; the producer waits beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `hs-scheduler` was asked for."""

    file: str | None
    connection: str
    report_fd: int | None
    database: str | None
    """A path, a URL, or `IN_DOCUMENT`."""
    no_db: bool
    bundlesize: int
    bundlewait: float
    max_retries: int
    eager: bool
    failures: str | None
    joblog: str | None
    halt: str | None
    once: bool
    forever: bool
    restart: bool
    initdb: bool
    """Make missing tables on a server; a SQLite file gets them whenever it is opened for writing."""
    input_fd: int | None
    spool: str | None
    order_file: str | None
    """Where to say in which order outputs are to be printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a scheduler is made of."""

    store: Store
    core: SchedulerCore
    feed: Feed
    desk: Desk
    rate: Rate
    recent: Recent | None
    """None: nobody scales the cluster."""
    link: Link
    report: Report
    joblog: JobLog | None
    ordering: "Ordering | None"
    control: Control
    signals: SignalPipe
    lifeline: Lifeline | None
    retry: Retry
    run_id: bytes
    """16 bytes; zero where the database is not of one run."""
    forever: bool
    """Whether to wait for more when everything is finished."""
    halt: "Halt | None"
    failed_before: int
    """Tasks whose failure does not count for `halt`: of before hs-cluster was started."""


def assemble(options: Options, report: Report, signals: SignalPipe) -> Parts:
    """Open the store, take its epoch, find the input and the broker.

    The store comes first: whoever starts us makes the keys meanwhile, and the document arrives when we are ready for it.

    Raises:
        RefusedError: An option, the document or the connection file is of no use.
        StoppedError: The store is owned by another, or cannot be opened.

    """
    halt = _halt(options)
    patience = Patience(until_told(signals))
    if options.database != IN_DOCUMENT:
        store, queue = _open_store(options, options.database, patience, new=False)
        document, lifeline = _read_document(options)
    else:
        document, lifeline = _read_document(options)
        store, queue = _open_store(options, document.get("database"), patience, new=not document.get("again"))
    connection = _connection(options, document)
    run = document.get("run", {})
    run_id = bytes.fromhex(run.get("id", "")) or bytes(16)
    patience.carry_out(lambda: store.open_run(run_id, run.get("settings", {}), wall(), whole=run.get("whole", False)))
    if others := store.others():
        log.warning(
            "tasks.of_other_runs", unfinished=others, then="hs-cluster --restart --database continues the last one"
        )
    state = None if options.once else store.input_state()
    source = _open_source(options, state)
    now = monotonic()
    core = SchedulerCore(
        identity=Identity(
            scheduler=os.urandom(16),
            version=__version__,
            host=os.uname().nodename,
            pid=os.getpid(),
            epoch=patience.carry_out(lambda: store.take_epoch(connection.cluster)),
            store=store.uid(),
            database=printable(os.fsencode(queue.name))[:NAME_CHARS_MAX] if queue is not None else "",
        ),
        bundlesize=options.bundlesize,
        grace_s=_grace_s(connection, remote=bool(document.get("remote"))),
        now=now,
    )
    core.restore(store.held(), store.workers())
    feed = Feed(
        store=store,
        source=_missing(source, store) if options.once and source is not None else source,
        core=core,
        cwd=os.fsencode(run["cwd"]) if "cwd" in run else os.getcwdb(),
        bundlesize=options.bundlesize,
        bundlewait_s=options.bundlewait,
        ahead_max=AHEAD_IN_MEMORY if options.no_db else None,
        shown=NONE_SHOWN if state is None else ALL_SHOWN,
        adopts=queue is not None and queue.whole,
        late_retries=bool(options.max_retries) and not options.eager,
    )
    rate = Rate()
    recent = Recent() if document.get("scaled") else None
    if queue is not None and (control := _control(options, document)):
        patience.carry_out(lambda: queue.announce(control))
    return Parts(
        store=store,
        core=core,
        feed=feed,
        desk=Desk(
            store=queue,
            feed=feed,
            status=lambda: status(
                store=store,
                core=core,
                feed=feed,
                rate=rate,
                recent=recent,
                database=queue.name if queue is not None else "",
                now=monotonic(),
            ),
        ),
        rate=rate,
        recent=recent,
        link=Link(new_context(), connection, _connection_path(options)),
        report=report,
        joblog=JobLog(options.joblog, store) if options.joblog else None,
        ordering=_ordering(options, store),
        control=Control(source),
        signals=signals,
        lifeline=lifeline,
        retry=Retry(options.max_retries, options.eager),
        run_id=run_id,
        forever=options.forever,
        halt=halt,
        failed_before=0 if halt is None else store.failures_before(run.get("began", 0.0)),
    )


def _halt(options: Options) -> "Halt | None":
    if options.halt is None:
        return None
    from hs_scheduler.halt import parse_halt  # noqa: PLC0415 - few ask for it

    return parse_halt(options.halt)


def _missing(source: Source, store: Store) -> "Missing":
    from hs_scheduler.input.once import Missing  # noqa: PLC0415 - few ask for it

    return Missing(source, store.submitted())


def _open_store(
    options: Options, location: str | None, patience: Patience, *, new: bool
) -> tuple[Store, QueueStore | None]:
    """Return the store, and it again where it has a database that commands can work with.

    new: whether somebody waits to hear whether this begins at all; else a server that does not answer is waited for.
    """
    if location is None:
        return MemoryStore(keeps_order=options.order_file is not None), None
    from hs_scheduler.stores.engines import open_now  # noqa: PLC0415 - a run without a database need not load one

    awaited = not new

    def open_it() -> QueueStore:
        nonlocal awaited
        try:
            return open_now(location, create=options.initdb, awaited=awaited)
        except StoreBusyError:
            awaited = True  # we were connected: there is a server, and it may be starting again
            raise

    store = patience.carry_out(open_it)
    return store, store


def _ordering(options: Options, store: Store) -> "Ordering | None":
    if options.order_file is None:
        return None
    from hs_scheduler.ordering import Ordering  # noqa: PLC0415 - few ask for it

    try:
        return Ordering(options.order_file, store)
    except OSError as exc:
        raise RefusedError(f"{options.order_file}: {exc.strerror}") from exc


def _read_document(options: Options) -> tuple[dict[str, Any], Lifeline | None]:
    """Return the start document and the lifeline it came by ({}, None with a connection file)."""
    if options.connection != "-":
        return {}, None
    lifeline = Lifeline(0)
    try:
        document = json.loads(lifeline.first_line(limits.SILENCE_S))
    except ValueError as exc:
        raise RefusedError("the document on stdin is no JSON") from exc
    if not isinstance(document, dict):
        raise RefusedError("the document on stdin is no JSON object")
    return document, lifeline


def _connection(options: Options, document: dict[str, Any]) -> Connection:
    if options.connection == "-":
        return Connection.from_json(document.get("connection", {}))
    return read_connection(_connection_path(options))


def _connection_path(options: Options) -> str:
    """Return the file that the connection comes from; "": it comes on stdin."""
    return "" if options.connection == "-" else connection_file(options.connection, "scheduler")


def _control(options: Options, document: dict[str, Any]) -> str:
    """Return the path of the connection file by which commands reach us, or "": hs-cluster says it, or it lies beside ours."""
    if options.connection == "-":
        return str(document.get("control", ""))
    path = os.path.join(os.path.dirname(os.path.abspath(_connection_path(options))), "control.json")
    return path if os.path.exists(path) else ""


def _grace_s(connection: Connection, *, remote: bool) -> float:
    """Return how long to wait for workers that are not back: in a local cluster they are back at once or never."""
    if not remote and all(endpoint.startswith("ipc:") for endpoint in connection.endpoints):
        return limits.GRACE_LOCAL_S
    return float(load_settings().get("worker.lease"))


def _open_source(options: Options, state: InputState | None) -> Source | None:
    """Return the input, where an earlier scheduler of this run left it; None: there is none."""
    if options.input_fd is not None:
        return StreamSource(options.input_fd, asks=True)
    path = options.spool or options.file
    if path is None and (options.restart or options.forever):
        return None
    if path is None or path == "-":
        return StreamSource(0) if options.connection != "-" else None
    if state is not None and os.path.realpath(path) == os.path.realpath(state.path):
        return resume(state, grows=options.spool is not None)
    if options.spool is not None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return FileSource(fd, path, limit=0, grows=True)
    if not stat.S_ISREG(os.stat(path).st_mode):
        # Not blocking: nobody may write to a FIFO for long, and meanwhile we are told to stop.
        return StreamSource(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    return open_file(os.path.abspath(path))
