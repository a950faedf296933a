"""`hs-worker`: which way its arguments ask for.

hs-cluster starts a worker with options that it has checked, and everybody waits for it: those are read without a command line
parser. What that does not understand goes through `hs_worker.command`, which explains itself.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hs_common.errors import RefusedError
from hs_common.incarnation import origin_of
from hs_worker.options import Options
from hs_worker.program import leave, run

_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "--connection": ("connection", str),
    "-N": ("num_tasks", int),
    "-t": ("template", str),
    "--shell": ("shell", str),
    "-b": ("", int),  # the scheduler's business; the same options may be given to all
    "-w": ("bundlewait_s", float),
    "-d": ("delay_start_s", float),
    "-S": ("signalwait_s", float),
    "-W": ("task_timeout_s", float),
    "--errors-fd": ("errors_fd", int),
    "-T": ("timeout_s", float),
    "--cores": ("cores", int),
    "--memory": ("memory", int),
    "--until": ("until", float),
    "--spool": ("spool", str),
    "--silence": ("silence_s", float),
    "--patience": ("patience_s", float),
    "--map": ("map", str),
    "--origin": ("origin", origin_of),
}
_FLAGS: dict[str, tuple[str, bool]] = {
    "--no-confirm": ("confirm", False),
    "--relay": ("relay", True),
    "--frames": ("frames", True),
    "--capture": ("capture", True),
    "--wake": ("wakes", True),
    "--judged": ("judged", True),
}


def main() -> NoReturn:
    """Run the program."""
    if sys.argv[1:] == ["--remote"]:
        from hs_worker.remote import take_start  # noqa: PLC0415 - only over SSH

        try:
            take_start()
        except RefusedError as exc:
            leave(2, str(exc))
    options = read_quickly(sys.argv[1:])
    if options is not None:
        run(options)
    from hs_worker.command import worker  # noqa: PLC0415 - click costs 24 ms

    worker.main(prog_name="hs-worker")
    leave(0)


def read_quickly(arguments: Sequence[str]) -> Options | None:
    """Return the options as hs-cluster gives them, or None: then somebody else should look at them."""
    if list(arguments[:2]) != ["--connection", "-"]:
        return None
    found: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if word in _FLAGS:
            name, value = _FLAGS[word]
        elif word in _OPTIONS:
            name, kind = _OPTIONS[word]
            try:
                value = kind(next(words))
            except (ValueError, StopIteration):
                return None
        else:
            return None
        if name:
            found[name] = value
    return Options(**found)
