"""What happens in a worker process from its fork to its end: document, keys, core, executor, loop."""

import json
import os
import random
import select
from math import inf
from typing import TYPE_CHECKING

from hs_common import __version__
from hs_common.clock import monotonic
from hs_common.errors import RefusedError
from hs_common.garbage import search_seldom
from hs_common.lifeline import Lifeline
from hs_common.logs import get_logger
from hs_common.prctl import become_subreaper, set_process_name
from hs_common.priority import wake_promptly
from hs_common.rendezvous import await_connection
from hs_common.security import Connection, read_connection
from hs_common.site import connection_file, site
from hs_common.sockets import Link, new_context
from hs_worker.contact import Contact
from hs_worker.core import WorkerCore
from hs_worker.daemon import WorkerDaemon
from hs_worker.execution.executor import Executor, NullExecutor
from hs_worker.execution.processes import Processes
from hs_worker.guardian import Start
from hs_worker.host import cores_usable, memory_usable
from hs_worker.options import Options
from hs_worker.output.frames import Kind
from hs_worker.output.outputs import Outputs, Piped
from hs_worker.output.relay import Relay
from hs_worker.output.streams import FramedStream, Stream
from hs_worker.settings import AREA_BYTES, Identity, Rules
from hs_worker.shared_map import settle
from hs_worker.vigil import Vigil

if TYPE_CHECKING:
    from hs_worker.output.capture import Capture

_DOCUMENT_WAIT_S = 60.0
"""For the line with the connection; who started us is making the keys at this moment."""

log = get_logger("worker")


def work(options: Options, start: Start) -> int:
    """Be the worker; return the exit status for the guardian.

    Raises:
        RefusedError: There is no connection, or it makes no sense.
        StoppedError: This host cannot do it.

    """
    set_process_name("hs-worker")
    become_subreaper()
    context = new_context()
    wake_promptly()
    pipe = Lifeline(start.pipe)
    connection = _connection(options, pipe)
    if connection is None or not _delay(options.delay_start_s, pipe):
        return 0
    shared = start.shared
    slots = options.slots()
    poller = select.epoll()
    relay = _relay(options, poller, shared.incarnation)
    capture = _capture() if options.capture else None
    outputs: Outputs | None = relay or capture
    rules = Rules(
        slots=slots,
        template=os.fsencode(options.template),
        bundlewait_s=options.bundlewait_s,
        task_timeout_s=options.task_timeout_s,
        signalwait_s=options.signalwait_s,
        stop_wait_s=options.stop_wait_s,
        ends_at=options.ends_at,
        margin_s=options.margin_s,
        timeout_s=options.timeout_s,
        judged=options.judged,
        confirms=options.confirm,
        cores=options.cores or cores_usable(),
        memory=options.memory or memory_usable(),
        path_bytes=capture.path_bytes_max if capture is not None else 0,
        # Without processes nothing is recorded, and nothing need fit.
        area_bytes=AREA_BYTES,
    )
    identity = Identity(
        worker=shared.incarnation,
        replaces=shared.replaces,
        version=__version__,
        host=os.uname().nodename,
        pid=os.getpid(),
    )
    executor: Executor
    if options.null:
        executor = NullExecutor()
    else:
        executor = Processes(shared, options.shell, os.environb, outputs, log.warning)
    core = WorkerCore(rules, identity, settle(shared), monotonic())
    contact = Contact(
        Link(context, connection, _connection_path(options)),
        poller,
        Vigil(_connection_path(options) if options.connection == _connection_path(options) else ""),
        # The successor of one that was known has something to tell.
        patience_s=options.patience_s if not shared.replaces else inf,
    )
    daemon = WorkerDaemon(
        core,
        contact,
        executor,
        poller,
        pipe,
        shared=None if options.null else shared,
        relay=relay,
        grace_s=options.grace_s,
    )
    search_seldom()
    return daemon.run(options.reader_wait_s, shared.beat if start.beat_s < inf else None, start.beat_s)


def _relay(options: Options, poller: select.epoll, incarnation: bytes) -> Piped | None:
    stdout = Stream(1)
    if options.frames:
        stdout = FramedStream(1, incarnation, Kind.SPOOL if options.spool else Kind.LINES)
        stdout.write()
    if options.relay:
        return Relay(poller, stdout, Stream(2))
    if not options.spool:
        return None
    from hs_worker.output.spooled import SentWriter, Spooled, SpoolWriter  # noqa: PLC0415 - few ask for it

    writer = SentWriter(stdout) if options.spool == "-" else SpoolWriter(options.spool)
    return Spooled(poller, writer, 1 if options.wakes else None)


def _capture() -> "Capture":
    from hs_worker.output.capture import Capture  # noqa: PLC0415 - few ask for it

    return Capture(os.fsencode(os.path.join(site(), "tasks")))


def _connection_path(options: Options) -> str:
    """Return the file that the connection comes from; "": it comes on stdin."""
    return "" if options.connection == "-" else connection_file(options.connection, "worker")


def _connection(options: Options, pipe: Lifeline) -> Connection | None:
    """Return the connection, or None if whoever started us has gone already.

    Raises:
        RefusedError: There is none, or it makes no sense.

    """
    if options.connection != "-":
        if not await_connection(options.connection, "worker", pipe.wait, "worker"):
            return None
        path = _connection_path(options)
        if not os.path.exists(path):
            raise RefusedError(
                f"{path}: no such file on {os.uname().nodename}: is its folder one that all hosts share?"
            )
        return read_connection(path)
    try:
        line = pipe.first_line(_DOCUMENT_WAIT_S)
    except RefusedError:
        if pipe.ended:
            return None
        raise
    try:
        return Connection.from_json(json.loads(line)["connection"])
    except (ValueError, KeyError, TypeError) as exc:
        raise RefusedError("stdin: the first line is no JSON object with a connection") from exc


def _delay(delay_s: float, pipe: Lifeline) -> bool:
    """Wait as -d asks; return whether we are still wanted then."""
    if delay_s < 0:
        delay_s = random.uniform(0, -delay_s)  # noqa: S311 - spreads a burst of workers, no more
    return not delay_s or not pipe.wait(delay_s)
