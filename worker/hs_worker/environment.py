"""What a task finds in its environment: the user's own, who it is, and nothing of ours or of a launcher."""

import re
from collections.abc import Mapping

from hs_common import limits
from hs_common.tasks import Tag, Task

_LAUNCHER = re.compile(
    # An MPI task that saw these would wait for the launcher's daemon for ever. Source: RELIABILITY X18.
    rb"(OMPI|PMI|PMI2|PMIX|PRTE|PALS|MPIEXEC|HYDRA|HYDI|MPIR)_.*|MPI_LOCAL.*"
    rb"|PMI_RANK|PMI_SIZE|PMI_FD"
    # The step that started the worker is not the task's own.
    rb"|SLURM_(STEP.*|STEPID|PROCID|LOCALID|NODEID|GTIDS|TASK_PID|SRUN_.*|LAUNCH_NODE_IPADDR|UMASK|PTY_.*|CPU_BIND.*|MEM_BIND.*"
    rb"|DISTRIBUTION|NTASKS_PER_.*|TASKS_PER_NODE|STEP_.*)"
    # systemd's: a task must neither notify for us nor take our sockets. Source: RELIABILITY X20.
    rb"|NOTIFY_SOCKET|WATCHDOG_(PID|USEC)|LISTEN_(PID|FDS|FDNAMES)|JOURNAL_STREAM|INVOCATION_ID"
    # A worker inside a task is nobody's test.
    rb"|HYPERSHELL_CRASH_AT|HYPERSHELL_WORKER_EXECUTOR"
    rb"|TASK_(ID|ARGS|COMMAND|ATTEMPT|DISPATCH|SLOT|TAG_.*)"
)
_ODD = re.compile(r"[^A-Za-z0-9_]")


def base_environment(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return what all tasks have in common."""
    return {key: value for key, value in environment.items() if not _LAUNCHER.fullmatch(key)}


def task_variables(task: Task, command: bytes, slot: int) -> list[bytes]:
    """Return what one task in this slot (counted from 0 here, from 1 for people) has beyond the base: `NAME=value` each."""
    own = [
        b"TASK_ID=" + uuid_text(task.uid),
        b"TASK_ATTEMPT=%d" % task.attempt,
        b"TASK_DISPATCH=%d" % task.dispatch,
        b"TASK_SLOT=%d" % (slot + 1),
    ]
    # The kernel limits each string to 128 KiB.
    if len(command) < limits.SCRIPT_BYTES_MIN > len(task.args):
        own += (b"TASK_ARGS=" + task.args, b"TASK_COMMAND=" + command)
    if task.detail is not None and task.detail.tags:
        tags = {_ODD.sub("_", key).upper().encode(): value for key, value in task.detail.tags}
        own += [
            b"TASK_TAG_%b=%b" % (name, tag_text(value).encode("utf-8", "surrogateescape").replace(b"\0", b""))
            for name, value in tags.items()
        ]
    return own


def uuid_text(uid: bytes) -> bytes:
    """Return a UUID as people write it."""
    text = uid.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode()


def tag_text(value: Tag) -> str:
    """Return a tag's value as it was written."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
