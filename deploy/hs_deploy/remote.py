"""Workers that are not ours: what takes the place of the worker here, and what it is handed over its lifeline."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hs_common.security import Connection
from hs_common.values import replace
from hs_deploy.arguments import tasks_arguments
from hs_deploy.daemons import Daemon
from hs_deploy.elsewhere import Elsewhere
from hs_deploy.launchers import local
from hs_deploy.options import Options

PREFIX = "HYPERSHELL_"
PATIENCE_S = 20.0
"""Of a worker elsewhere that has never reached the broker, which was there before it."""

NEVER_SENT = ("DATABASE_URL", "SETTINGS", "SECRET", "PASSWORD", "TOKEN", "CREDENTIAL")
"""In the name of a variable: there may be a secret in it, or it is for this host alone."""


def program(options: Options) -> list[str]:
    """Return the command line of what holds them. All that it needs comes over its lifeline."""
    holder = "scaled" if options.policy is not None else "ssh" if away(options).nodes else "command"
    return [sys.executable, "-m", f"hs_deploy.launchers.{holder}"]


def document(
    options: Options,
    connections: Mapping[str, Connection],
    *,
    outputs: str,
    worker_file: str,
    endpoints: tuple[str, ...],
    port: int,
) -> dict[str, Any]:
    """Return what it reads first.

    Args:
        options: What was asked for.
        connections: By role.
        outputs: Folder for what tasks say, where that is spooled.
        worker_file: Path of the connection file of the workers.
        endpoints: How the broker is reached from elsewhere.
        port: Where it listens.

    """
    control = {"control": connections["control"].to_json()}
    there = away(options)
    if there.nodes:
        worker = replace(connections["worker"], endpoints=endpoints).to_json()
        return control | ssh_document(options, worker, outputs, port)
    worker_program = [there.remote_exe] if there.remote_exe else local.program(Daemon.WORKER)
    return control | {
        "launcher": list(there.launcher),
        "worker": [*worker_program, *_by_file(worker_file), *worker_arguments(options)],
    }


def scaled_document(
    options: Options, connections: Mapping[str, Connection], *, worker_file: str | None
) -> dict[str, Any]:
    """Return what the holder of units is told.

    Args:
        options: What was asked for.
        connections: By role.
        worker_file: Path of the connection file of the workers, for a launcher.

    """
    from hs_deploy.launchers.launches import STAYED_S  # noqa: PLC0415 - few are scaled
    from hs_worker.host import cores_usable  # noqa: PLC0415 - likewise

    assert options.policy is not None, "it is scaled"
    there = options.elsewhere or Elsewhere()
    worker = [there.remote_exe] if there.remote_exe else local.program(Daemon.WORKER)
    if there.launcher:
        assert worker_file is not None, "who comes from elsewhere has a file"
        worker += _by_file(worker_file)
    else:
        worker += ["--connection", "-", "--errors-fd", str(local.CHILD_ERRORS_FD)]
    return {
        "control": connections["control"].to_json(),
        "launcher": list(there.launcher),
        "worker": [*worker, *worker_arguments(options)],
        "connection": connections["worker"].to_json(),
        "policy": asdict(options.policy),
        "slots": options.slots or cores_usable(),
        "stays_s": min(STAYED_S, options.timeout_s or STAYED_S) if there.launcher else 0.0,
    }


def _by_file(worker_file: str) -> list[str]:
    """Return what tells a worker of a launcher where its broker is, and when to give it up."""
    return ["--connection", worker_file, "--patience", str(PATIENCE_S)]


def ssh_document(options: Options, connection: dict[str, Any], outputs: str, port: int) -> dict[str, Any]:
    """Return what the holder of SSH sessions is told."""
    there = away(options)
    silence_s = json.loads(options.for_daemons)["worker.lease"]
    return {
        "nodes": [list(node) for node in there.nodes],
        "client": there.ssh_client,
        "args": there.ssh_args,
        "programs": [local.program(Daemon.WORKER)],
        "remote_exe": there.remote_exe,
        "arguments": [
            "--connection",
            "-",
            "--silence",
            str(silence_s),
            "--patience",
            str(PATIENCE_S),
            "--frames",
            *worker_arguments(options),
        ],
        "spool": outputs if options.spools else "",
        # In the order of the input, the scheduler says what can be printed.
        "wakes": not options.keep_order,
        "settings": options.for_daemons,
        "environ": sent_variables(os.environ) if there.sends_variables else {},
        "connection": connection,
        "silence_s": silence_s,
        "tunnel_to": port if there.tunnel else None,
    }


def away(options: Options) -> Elsewhere:
    """Return where the workers are."""
    assert options.elsewhere is not None, "they are not here"
    return options.elsewhere


def sent_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what -E sends, every value as it is."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIX) and not any(word in name for word in NEVER_SENT)
    }


def worker_arguments(options: Options) -> list[str]:
    """Return what a remote worker is told, its connection apart. It relays the lines of its tasks, so that they stay whole."""
    if options.spools:
        return [*tasks_arguments(options), "--spool", "-"]
    return [*tasks_arguments(options), "--capture" if options.capture else "--relay"]
