"""The process that answers the questions of a template: it is all that waits for them. Started in the slot of the task.

    python -I -S expander.py FOLDER-OF-hs_common SHELL FD

FD is a file in memory. In it: the args, then the questions (`%` and a shell command, `=` and a Python expression), a NUL after
each. Afterwards: the answers, a NUL after each, and status 0; or status 1, the number of the question that failed, and why.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

ANSWER_BYTES_MAX = 2 * 1024 * 1024
"""Of one answer: a command line that is longer can never run."""
SCRIPT_BYTES_MIN = 100 * 1024
"""From this length on a command runs from a file: one argument has at most 128 KiB."""
_READ_BYTES = 1 << 16


def main(folder: str, shell: str, file: str) -> int:
    """Answer what is asked in a file; return the exit status."""
    sys.path.insert(0, folder)
    from hs_common.expression import evaluate  # noqa: PLC0415 - from the folder that was given

    fd = int(file)
    os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword
    args, *questions = os.pread(fd, os.fstat(fd).st_size, 0).split(b"\0")[:-1]
    # From now on an end without an answer shows as such.
    os.ftruncate(fd, 0)
    status, answer = answers(questions, lambda text: output_of(shell, text), lambda text: evaluate(text, args))
    at = 0
    while at < len(answer):
        at += os.pwrite(fd, answer[at:], at)
    return status


def answers(
    questions: Sequence[bytes], command: Callable[[bytes], bytes], expression: Callable[[bytes], bytes]
) -> tuple[int, bytes]:
    """Return the exit status and what is to be written; each answer is asked of one of the two functions."""
    found = []
    for number, question in enumerate(questions):
        try:
            answer = (command if question[:1] == b"%" else expression)(question[1:])
            if b"\0" in answer:
                raise ValueError("a NUL in it")
            if len(answer) > ANSWER_BYTES_MAX:
                raise ValueError(f"over {ANSWER_BYTES_MAX} bytes")
        except (OSError, ValueError) as exc:
            return 1, f"{number} {exc}".encode(errors="backslashreplace")
        found.append(answer + b"\0")
    return 0, b"".join(found)


def output_of(shell: str, command: bytes) -> bytes:
    """Return what a shell command writes to its stdout, without the newlines at its end.

    Raises:
        ValueError: It did not succeed, or wrote too much.
        OSError: It could not be started.

    """
    script = -1
    argv: list[str | bytes] = [os.path.basename(shell), "-c", command]
    if len(command) >= SCRIPT_BYTES_MIN:
        script = os.memfd_create("hs-template")
        with open(script, "wb", closefd=False) as file:
            file.write(command + b"\n")
        os.set_inheritable(script, True)  # noqa: FBT003
        argv = [os.path.basename(shell), f"/dev/fd/{script}"]
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, write_end, 1)]
    # What Python ignores, the command would inherit as ignored.
    defaults = [signal.SIGPIPE, signal.SIGXFSZ]
    pid = os.posix_spawn(shell, argv, os.environ, file_actions=actions, setsigdef=defaults)
    os.close(write_end)
    output = b""
    while len(output) <= ANSWER_BYTES_MAX and (part := os.read(read_end, _READ_BYTES)):
        output += part
    os.close(read_end)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if script >= 0:
        os.close(script)
    if len(output) > ANSWER_BYTES_MAX:
        raise ValueError(f"over {ANSWER_BYTES_MAX} bytes")
    if status:
        raise ValueError(f"exit status {status}" if status > 0 else f"ended by signal {-status}")
    return output.rstrip(b"\n")


if __name__ == "__main__":
    # When its task is stopped it ends as any program does: Python's own handler would tell where it was. So SIGINT was blocked.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os._exit(main(*sys.argv[1:]))
