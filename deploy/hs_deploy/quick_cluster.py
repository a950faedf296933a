"""The command line of `hs-cluster` without click: everybody waits for its daemons, which are started when it has been read."""

from collections.abc import Sequence
from typing import Any

from hs_common.quick import Declared, read

DECLARED = Declared(
    options={
        "-N": ("num_tasks", str),
        "--num-tasks": ("num_tasks", str),
        "-t": ("template", str),
        "--template": ("template", str),
        "--shell": ("shell", str),
        "-b": ("bundlesize", str),
        "--bundlesize": ("bundlesize", str),
        "-w": ("bundlewait", str),
        "--bundlewait": ("bundlewait", str),
        "-r": ("max_retries", str),
        "--max-retries": ("max_retries", str),
        "-f": ("failures", str),
        "--failures": ("failures", str),
        "--joblog": ("joblog", str),
        "-o": ("output", str),
        "--output": ("output", str),
        "-e": ("errors", str),
        "--errors": ("errors", str),
        "-W": ("task_timeout", str),
        "--task-timeout": ("task_timeout", str),
        "-S": ("signalwait", str),
        "--signalwait": ("signalwait", str),
        "--cores": ("cores", str),
        "--memory": ("memory", str),
        "--walltime": ("walltime", str),
        "--halt": ("halt", str),
        "--database": ("database", str),
        "-d": ("delay_start", str),
        "--delay-start": ("delay_start", str),
    },
    flags={
        "--eager": ("eager", True),
        "-c": ("capture", True),
        "--capture": ("capture", True),
        "-k": ("keep_order", True),
        "--keep-order": ("keep_order", True),
        "--group-output": ("group_output", True),
        "--restart": ("restart", True),
        "--retry-failed": ("retry_failed", True),
        "--once": ("once", True),
        "--forever": ("forever", True),
        "--initdb": ("initdb", True),
        "--no-db": ("no_db", True),
        "--no-confirm": ("no_confirm", True),
        "--dry-run": ("dry_run", True),
        "-q": ("quiet", True),
        "--quiet": ("quiet", True),
    },
)
"""All but those of workers elsewhere and -v: who has these waits longer anyway."""

_ELSEWHERE = (
    *("bind", "port", "ssh", "ssh_group", "ssh_args", "launcher", "remote_exe", "autoscaling"),
    *("factor", "period", "init_size", "min_size", "max_size", "timeout"),
)
_ABSENT: dict[str, Any] = {
    **{name: None for name, _ in DECLARED.options.values()},
    **{name: False for name, _ in DECLARED.flags.values()},
    **dict.fromkeys(_ELSEWHERE),
    **dict.fromkeys(("ssh_tunnel", "env", "mpi"), False),
    "verbose": 0,
    "file": None,
}


def read_quickly(words: Sequence[str]) -> dict[str, Any] | None:
    """Return what was typed, as `cluster` gets it from click; None: click is to read these words."""
    found = read(words, DECLARED)
    if found is None or len(found[1]) > 1:
        return None
    given, files = found
    return _ABSENT | given | ({"file": files[0]} if files else {})
