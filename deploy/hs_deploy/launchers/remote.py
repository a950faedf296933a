"""Workers that are not ours: what takes the place of the worker here, and what it is handed over its lifeline."""

import sys
from collections.abc import Mapping
from typing import Any

from hs_common.security import Connection
from hs_deploy.arguments import tasks_arguments
from hs_deploy.daemons import Daemon
from hs_deploy.launchers import local
from hs_deploy.options import Options


def program() -> list[str]:
    """Return the command line of what holds them. All that it needs comes over its lifeline."""
    return [sys.executable, "-m", "hs_deploy.launchers.command"]


def document(options: Options, connections: Mapping[str, Connection], worker_file: str) -> dict[str, Any]:
    """Return what it reads first.

    Args:
        options: What was asked for.
        connections: By role.
        worker_file: Path of the connection file of the workers.

    """
    worker = [options.remote_exe] if options.remote_exe else local.program(Daemon.WORKER)
    return {
        "control": connections["control"].to_json(),
        "launcher": list(options.launcher),
        "worker": [*worker, "--connection", worker_file, *worker_arguments(options)],
    }


def worker_arguments(options: Options) -> list[str]:
    """Return what a remote worker is told, its connection apart. It relays the lines of its tasks, so that they stay whole."""
    return [*tasks_arguments(options), "--capture" if options.capture else "--relay"]
