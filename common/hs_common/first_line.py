"""What a command prints: the first line for settings such as `url_eval = "pass show database"`, all of it for us."""

import contextlib
import os
import select
import signal

from hs_common.clock import monotonic
from hs_common.errors import RefusedError

WAIT_MAX_S = 60.0
"""Somebody may have to type a passphrase."""
BYTES_MAX = 64 * 1024


def first_line(command: str, where: str, wait_max_s: float = WAIT_MAX_S) -> str:
    """Run a command as `printed` does; return the first line of its output, without the newline.

    Raises:
        RefusedError: As there, or it printed nothing.

    """
    output = printed(command, where, wait_max_s)
    if not output:
        raise RefusedError(f"{where}: the command printed nothing")
    return os.fsdecode(output.splitlines()[0])


def printed(command: str, where: str, wait_max_s: float = WAIT_MAX_S) -> bytes:
    """Run a command in a shell, to its end; return what it printed.

    Its stdin is empty, for ours may hold tasks; its stderr is ours.

    Args:
        command: What the shell runs.
        where: What to name in an error; the output is never named, it may be a secret.
        wait_max_s: How long it may take, seconds.

    Raises:
        RefusedError: It failed, printed too much, or took too long; nothing of it is left running.

    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, write_end, 1),
    ]
    try:
        argv = ["/bin/sh", "-c", command]
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setpgroup=0)
    except (OSError, ValueError) as exc:
        os.close(read_end)
        raise RefusedError(f"{where}: the command cannot be run: {exc}") from exc
    finally:
        os.close(write_end)
    watch = os.pidfd_open(pid)
    try:
        output = _read(read_end, watch, monotonic() + wait_max_s)
    finally:
        os.close(watch)
        os.close(read_end)
        # It and what it left in the background; before it is reaped, so that the number is still its own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if output is None:
        raise RefusedError(f"{where}: the command did not end in {wait_max_s:.10g} seconds, or printed too much")
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise RefusedError(f"{where}: the command failed: {f'signal {-code}' if code < 0 else f'exit status {code}'}")
    return output


def _read(fd: int, watch: int, until: float) -> bytes | None:
    """Return all that is written until the process ends; None: too much, or too late."""
    os.set_blocking(fd, False)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    poll.register(fd, select.POLLIN)
    output = b""
    while len(output) <= BYTES_MAX:
        ready = dict(poll.poll(max(0, int((until - monotonic()) * 1000) + 1)))
        if not ready:
            return None
        if fd in ready:
            if part := os.read(fd, BYTES_MAX):
                output += part
            else:
                poll.unregister(fd)
        elif watch in ready:
            return output
    return None
