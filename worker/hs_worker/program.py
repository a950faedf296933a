"""A worker as a program: options and settings to objects, errors to exit statuses."""

import contextlib
import os
from math import inf
from typing import NoReturn

from hs_common.clock import monotonic, wall
from hs_common.config import Settings, load_settings
from hs_common.errors import HSError, RefusedError
from hs_common.logs import configure_by, get_logger
from hs_common.notify import Notifier, of_service
from hs_common.prctl import protect_secrets, set_process_name
from hs_common.values import replace
from hs_worker.guardian import Start, close_on_exec, guard
from hs_worker.options import Options
from hs_worker.settings import AREA_BYTES
from hs_worker.shared_map import SharedMap

_JOBS = ("SLURM_JOB_ID", "PBS_JOBID")
_BATCH = (*_JOBS, "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
"""One of these says: a batch system or launcher will not wait long."""
_BATCH_GRACE_S = 10.0
_BATCH_STOP_WAIT_S = 5.0
"""With the grace and a farewell, less than the 30 s after which Slurm and PBS kill (KillWait)."""


def run(options: Options) -> NoReturn:
    """Be the guardian, and in the child the worker; end as that ends."""
    try:
        set_process_name("hs-worker")
        protect_secrets(starts_tasks=True)
        settings = load_settings()
        options = _complete(options, settings)
        options.check()
        close_on_exec()
        log_fd = _direct_streams(options)
        configure_by(settings, stream=log_fd)
        options = replace(options, ends_at=_ends_at(options))
        lifeline = 0 if options.connection == "-" else None
        notifier = of_service() if lifeline is None else Notifier()
        shared = _shared(options)
        status = guard(
            lambda start: _work(options, start),
            shared,
            lifeline,
            notifier,
            silence_s=options.silence_s,
            origin=options.origin,
            tells_end=options.tells_end,
        )
        leave(status)
    except HSError as exc:
        leave(_status(exc), str(exc))


def leave(status: int, reason: str = "") -> NoReturn:
    """End now: there is nothing in this process that would have to be torn down."""
    if reason:
        with contextlib.suppress(OSError):
            os.write(2, f"hs-worker: {reason}\n".encode(errors="backslashreplace"))
    os._exit(status)


def _shared(options: Options) -> SharedMap:
    """Return the map of guardian and worker: without its file where that cannot be made, for most deaths need none."""
    try:
        return SharedMap(options.slots(), AREA_BYTES, options.map)
    except OSError as exc:
        get_logger("worker").warning("map.anonymous", path=options.map, reason=exc.strerror)
        return SharedMap(options.slots(), AREA_BYTES)


def _work(options: Options, start: Start) -> int:
    from hs_worker.work import work  # noqa: PLC0415 - ZeroMQ: never in the guardian

    try:
        return work(options, start)
    except HSError as exc:
        leave(_status(exc), str(exc))


def _status(error: HSError) -> int:
    return 2 if isinstance(error, RefusedError) else 3


def _complete(options: Options, settings: Settings) -> Options:
    grace_s = settings.get("worker.grace")
    batch = any(name in os.environ for name in _BATCH)
    if grace_s is None and batch:
        grace_s = _BATCH_GRACE_S
    hurried = batch or options.walltime_s or options.until
    return replace(
        options,
        grace_s=grace_s,
        margin_s=settings.get("worker.margin"),
        stop_wait_s=min(options.signalwait_s, _BATCH_STOP_WAIT_S) if hurried else options.signalwait_s,
        null=os.environ.get("HYPERSHELL_WORKER_EXECUTOR") == "null",
    )


def _ends_at(options: Options) -> float:
    """Return when this worker must end, monotonic seconds: as it was told, else as its batch system says."""
    if options.walltime_s:
        return monotonic() + options.walltime_s
    until = options.until or None
    if until is None and any(name in os.environ for name in _JOBS):
        from hs_worker.walltime import end_of_job  # noqa: PLC0415 - only in a batch job

        try:
            until = end_of_job(os.environ, wall())
        except RefusedError as exc:
            get_logger("worker").warning("walltime.unknown", reason=str(exc), advice="give --walltime")
    return inf if until is None else monotonic() + until - wall()


def _direct_streams(options: Options) -> int:
    """Put the tasks' streams on 1 and 2, where they inherit them; return the descriptor of our own log."""
    if options.output:
        _put(_open(options.output), 1)
    if options.errors_fd == 2 and not options.errors:  # noqa: PLR2004 - stderr
        return 2
    import fcntl  # noqa: PLC0415 - rarely needed

    log_fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 10)
    try:
        _put(_open(options.errors) if options.errors else options.errors_fd, 2)
    except OSError as exc:
        raise RefusedError(f"--errors-fd {options.errors_fd}: {exc.strerror}") from exc
    return log_fd


def _put(fd: int, number: int) -> None:
    os.dup2(fd, number)
    os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as exc:
        raise RefusedError(f"{path}: {exc.strerror}") from exc
