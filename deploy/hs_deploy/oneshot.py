"""`hs-cluster` from its options to its exit status: open what it needs (`places`), run the cluster, tell how it went."""

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hs_common import site
from hs_common.clock import monotonic, wall
from hs_common.config import HANDED
from hs_common.errors import StoppedError
from hs_common.signals import SignalPipe
from hs_deploy import arguments
from hs_deploy.daemons import STATUS_STOPPED, Daemon
from hs_deploy.launchers import local
from hs_deploy.options import Options
from hs_deploy.output.terminal import Terminal
from hs_deploy.places import Places, clean_up, open_places, unread
from hs_deploy.runs import folders
from hs_deploy.runs.folders import Run
from hs_deploy.supervision.launch import SIGNALS, Launcher, Streams

if TYPE_CHECKING:
    from hs_deploy.output.printing import Printer
    from hs_deploy.runs.past import Past
    from hs_deploy.supervision.cluster import Cluster
    from hs_deploy.supervision.events import Finish

LAST_WORDS_MS = 2000
"""How long our own last lines wait for somebody who reads stderr."""


def run(options: Options, past: "Past | None" = None, notes: Sequence[str] = ()) -> int:
    """Run everything; return the exit status. `past`: what is continued. `notes`: what to say first.

    Raises:
        RefusedError: Something that was named cannot be used; nothing was started.
        StoppedError: The port is taken.

    """
    began = monotonic()
    places = open_places(options, past)
    terminal = Terminal(quiet=options.quiet)
    for note in (*notes, *unread(options)):
        terminal.say(note)
    spool = places.spool
    signals, kept = SignalPipe(SIGNALS), local.children()
    launcher = _launcher(options, places, terminal)
    launcher.start_all()
    # The daemons are on their way: what follows is imported while they import what they need.
    from hs_deploy.supervision.cluster import Cluster  # noqa: PLC0415
    from hs_deploy.supervision.leaving import LEAVE_REMOTE_S, LEAVE_S  # noqa: PLC0415
    from hs_deploy.supervision.supervisor import SupervisorCore  # noqa: PLC0415

    core = SupervisorCore(
        recorded=not options.no_db,
        signalwait_s=options.signalwait_s,
        leave_s=LEAVE_REMOTE_S if options.remote else LEAVE_S,
        awaits_outputs=_relays(options, terminal) or (options.remote and not options.spools and not options.capture),
    )
    printer = _printer(options, places, terminal)
    cluster = Cluster(
        core=core,
        launcher=launcher,
        spool=spool,
        printer=printer,
        terminal=terminal,
        signals=signals,
        kept=kept,
    )

    def hand_over() -> None:
        """Do what takes its time, while the daemons do what takes theirs."""
        from hs_common.prctl import become_subreaper, protect_secrets, set_process_name  # noqa: PLC0415

        become_subreaper()
        set_process_name("hs-cluster")
        protect_secrets(starts_tasks=True)
        _give_keys(launcher, options, places, terminal)

    outputs_stay = False
    try:
        finish = cluster.run(hand_over)
    finally:
        if printer is not None:
            outputs_stay = printer.close(keep=places.run.database is not None, ordered=core.closed)
        clean_up(places)
    if spool is not None and spool.eof and finish.status in (0, 1) and not cluster.reports.totals.unread:
        spool.remove()
    if finish.status != STATUS_STOPPED:
        if cluster.reports.totals.left and places.run.database is not None:
            # Stopped, perhaps when a worker had just died, before its successor could tell what had finished.
            from hs_deploy.runs import recovery  # noqa: PLC0415 - most runs leave nothing
            from hs_scheduler.stores.store import Retry  # noqa: PLC0415

            with contextlib.suppress(StoppedError):  # then those tasks run again
                recovery.take_up(places.run, None, Retry(options.retries_max, options.eager))
        folders.remove_map(places.run)
        folders.forget_settings(places.run)  # last: as long as they are there, somebody looks for the rest
    unprinted = outputs_stay or cluster.unprinted
    _say_how_it_ended(options, places.run, cluster, finish, terminal, monotonic() - began, unprinted=unprinted)
    terminal.out.flush(LAST_WORDS_MS)
    terminal.err.flush(LAST_WORDS_MS)
    if places.run.database is not None:
        _prune()
    return finish.status


def _prune() -> None:
    """Remove old runs, some each time; nobody waits for us any more but a few milliseconds."""
    if len(os.listdir(site.runs())) > folders.KEPT_MIN:
        import random  # noqa: PLC0415 - hardly any run gets here

        from hs_deploy.runs.pruning import prune  # noqa: PLC0415

        prune(wall(), random.Random())  # noqa: S311 - which old run is looked at is no secret


def _launcher(asked: Options, places: Places, terminal: Terminal) -> Launcher:
    relays = _relays(asked, terminal)
    # Each of them would have to look for files again, and run the same commands for their values.
    environ = os.environ | {HANDED: asked.for_daemons}
    # What is not a terminal needs no relay: the worker writes there itself.
    output = local.out_of_the_way(places.output) if places.output is not None and not asked.spools else None
    errors = local.out_of_the_way(places.errors) if places.errors is not None and not asked.spools else None
    if output is None and not (relays and terminal.out_is_terminal) and not asked.spools:
        output = local.copy_out_of_the_way(1)
    # What holds workers elsewhere has a word to say, too, whatever becomes of the outputs of tasks.
    if errors is None and not relays and not (asked.remote and terminal.wants_progress):
        errors = local.copy_out_of_the_way(2)
    return Launcher(
        arguments={
            Daemon.BROKER: local.program(Daemon.BROKER) + arguments.broker_arguments(),
            Daemon.SCHEDULER: local.program(Daemon.SCHEDULER)
            + arguments.scheduler_arguments(
                asked,
                file=places.file,
                run=places.run,
                spool=places.spool,
                stream=places.source is not None,
            ),
            Daemon.WORKER: _worker(asked, places.run, relays=relays),
        },
        environ=environ,
        streams=Streams(input=None if places.spool is not None else places.source, output=output, errors=errors),
    )


def _relays(asked: Options, terminal: Terminal) -> bool:
    """Whether tasks say through us what they say: not what is spooled, or captured where they run."""
    return terminal.wants_progress and not asked.spools and not asked.capture


def _worker(asked: Options, run: Run, *, relays: bool) -> list[str]:
    """Return the command line of the worker, or of what holds workers elsewhere in its place."""
    if not asked.remote:
        return local.program(Daemon.WORKER) + arguments.worker_arguments(asked, run, relays=relays)
    from hs_deploy import remote  # noqa: PLC0415 - most workers are here

    return remote.program(asked)


def _printer(asked: Options, places: Places, terminal: Terminal) -> "Printer | None":
    if not asked.spools:
        return None
    from hs_deploy.output.printing import Printer  # noqa: PLC0415 - few ask for it
    from hs_deploy.output.relay import Outlet  # noqa: PLC0415

    def sink(fd: int | None, outlet: Outlet, write: Callable[[bytes], None]) -> tuple[Outlet, Callable[[bytes], None]]:
        if fd is None:
            return outlet, write
        file = Outlet(fd)
        return file, file.write

    out = sink(places.output, terminal.out, terminal.write_out)
    err = sink(places.errors, terminal.err, terminal.write_err)
    return Printer(places.run.outputs, out, err, in_order=asked.keep_order)


def _give_keys(launcher: Launcher, asked: Options, places: Places, terminal: Terminal) -> None:
    from hs_deploy.documents import documents  # noqa: PLC0415 - it imports zmq, while the daemons do so themselves

    launcher.give(documents(asked, places.run, places.port, places.record, os.uname().nodename))
    if places.port is not None and not asked.remote:
        import shlex  # noqa: PLC0415 - few listen

        from hs_deploy.joining import connection_file  # noqa: PLC0415 - few listen

        assert places.run.folder is not None, "who lets others join has a folder"
        path = connection_file(places.run.folder, "worker")
        command = f"hs-worker --connection {shlex.quote(path)}"
        terminal.say(f"listening on port {places.port}; others join by: {command}")


def _say_how_it_ended(
    asked: Options,
    run: Run,
    cluster: "Cluster",
    finish: "Finish",
    terminal: Terminal,
    elapsed_s: float,
    *,
    unprinted: bool,
) -> None:
    from hs_deploy.output import summary  # noqa: PLC0415 - imported long ago, but not before the start

    if finish.reason and not cluster.said(finish.reason):
        terminal.say(finish.reason)
    database = None if run.database is None else arguments.without_password(run.database)
    reports = cluster.reports
    left = summary.left_text(reports.totals, database, unprinted=unprinted, stopped=reports.stopped)
    if left and (finish.status > 1 or not asked.quiet):
        terminal.say(left)
    if not asked.quiet:
        for block in summary.findings_text(cluster.reports.findings, columns=terminal.columns):
            terminal.say(block)
    if not asked.quiet and (finish.status <= 1 or cluster.reports.totals.done):
        slots = reports.slots or asked.slots or _own_slots(asked)
        terminal.say(summary.summary(reports.totals, elapsed_s=elapsed_s, slots=slots, before=reports.before or 0))


def _own_slots(asked: Options) -> int:
    """Return how many our worker had with -N 0: of one that came and went between two reports nobody told."""
    if asked.remote:
        return 0
    from hs_worker.host import cores_usable  # noqa: PLC0415 - most runs are longer than that

    return cores_usable()


def keep_descriptors() -> None:
    """Keep every descriptor of our caller but stdin, stdout and stderr from the daemons."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:  # noqa: PLR2004 - stderr
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)  # noqa: FBT003
