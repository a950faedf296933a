"""A broker as a program: settings and server to objects, errors to exit statuses."""

import contextlib
import json
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from hs_broker.authenticator import Authenticator
from hs_broker.core import BrokerCore
from hs_broker.daemon import BrokerDaemon
from hs_broker.router import Router, router
from hs_common import limits, site
from hs_common.config import Settings, load_settings
from hs_common.descriptors import raise_descriptor_limit
from hs_common.errors import RefusedError, StoppedError
from hs_common.garbage import search_seldom
from hs_common.lifeline import Lifeline
from hs_common.logs import configure_by, get_logger
from hs_common.notify import Notifier
from hs_common.prctl import protect_secrets, set_process_name
from hs_common.priority import yield_to_tasks
from hs_common.private_files import write_private
from hs_common.security import Server
from hs_common.signals import SignalPipe
from hs_common.sockets import new_context

DOCUMENT_WAIT_S = 60.0
"""How long hs-cluster may take to say which server we are."""

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = get_logger("broker")


def run(serve: Callable[..., None], *arguments: object) -> NoReturn:
    """Call `serve` with settings and arguments, and end as it ends."""
    try:
        set_process_name("hs-broker")
        protect_secrets()
        yield_to_tasks()
        settings = load_settings()
        configure_by(settings)
        serve(settings, *arguments)
    except RefusedError as exc:
        leave(2, str(exc))
    except StoppedError as exc:
        leave(3, str(exc))
    except Exception:
        # The top of the daemon: said once, with the traceback.
        # Status 1, not 3: the next one has a clean memory, and that loses nothing.
        log.exception("broker.crashed")
        leave(1)
    leave(0)


def serve_lifeline(settings: Settings) -> None:
    """Be the broker of a local cluster: the server comes on stdin, and hs-cluster lives as long as stdin does.

    Raises:
        RefusedError: No such document.
        StoppedError: An endpoint is taken.

    """
    lifeline = Lifeline()
    try:
        document = json.loads(lifeline.first_line(DOCUMENT_WAIT_S))
        server = Server.from_json(document["server"])
        control = document.get("control")
    except (ValueError, KeyError, TypeError) as exc:
        raise RefusedError("stdin: its first line is no JSON object with a server") from exc
    for path in _sockets(server.endpoints):
        site.make_runtime(os.path.dirname(path))
    context = new_context()
    authenticator = Authenticator(context, server)
    bound = router(context, server)
    files = [] if control is None else [_write_control(control)]
    serve(settings, bound, authenticator, signals=SignalPipe(STOPS), lifeline=lifeline)
    if lifeline.ended:
        _remove_sockets([*files, *_sockets(server.endpoints)])


def serve(
    settings: Settings,
    bound: Router,
    authenticator: Authenticator,
    *,
    signals: SignalPipe,
    lifeline: Lifeline | None = None,
    reload: Callable[[], Server] | None = None,
    notifier: Notifier | None = None,
) -> None:
    """Serve until told to stop, or until the lifeline has ended and everybody has left."""
    raise_descriptor_limit()
    core = BrokerCore(
        broker=os.urandom(16),
        make_token=lambda: os.urandom(16),
        lease_s=settings.get("worker.lease"),
        margin_s=settings.get("worker.margin"),
        reach_s=limits.GRACE_LOCAL_S if all(endpoint.startswith("ipc:") for endpoint in bound.bound) else None,
    )
    log.info("broker.started", endpoints=" ".join(bound.bound))
    daemon = BrokerDaemon(
        core, bound, authenticator, signals=signals, lifeline=lifeline, reload=reload, notifier=notifier
    )
    search_seldom()
    daemon.run()


def _write_control(asked: dict[str, Any]) -> str:
    """Write the connection by which commands reach the scheduler beside the socket, and return its path."""
    path: str = asked["path"]
    try:
        write_private(path, json.dumps(asked["connection"]).encode(), lasting=False)
    except OSError as exc:
        raise StoppedError(f"{path}: {exc.strerror}") from exc
    return path


def _remove_sockets(paths: list[str]) -> None:
    """Remove the folder that we made to listen in: hs-cluster, which removes it in the end, may have been killed."""
    for path in paths:
        with contextlib.suppress(OSError):  # it was not killed, and was faster
            os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))


def _sockets(endpoints: tuple[str, ...]) -> list[str]:
    return [endpoint.removeprefix("ipc://") for endpoint in endpoints if endpoint.startswith("ipc://")]


def leave(status: int, line: str = "") -> NoReturn:
    """End without the interpreter's teardown: we hold nothing."""
    if line:
        with contextlib.suppress(OSError):
            os.write(2, f"hs-broker: {line}\n".encode())
    os._exit(status)
