"""`hs-worker`: which way its arguments ask for.

hs-cluster starts a worker with options that it has checked, and everybody waits for it: those are read without a command line
parser. What that does not understand goes through `hs_worker.command`, which explains itself.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

from hs_common.errors import RefusedError
from hs_common.garbage import search_seldom
from hs_common.incarnation import origin_of
from hs_common.quick import Declared, read
from hs_worker.options import Options
from hs_worker.program import leave, run

_DECLARED = Declared(
    options={
        "--connection": ("connection", str),
        "-N": ("num_tasks", int),
        "-t": ("template", str),
        "--shell": ("shell", str),
        "-b": ("bundlesize", int),
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
        "--reader-wait": ("reader_wait_s", float),
        "--map": ("map", str),
        "--origin": ("origin", origin_of),
    },
    flags={
        "--no-confirm": ("confirm", False),
        "--relay": ("relay", True),
        "--frames": ("frames", True),
        "--capture": ("capture", True),
        "--wake": ("wakes", True),
        "--judged": ("judged", True),
        "--tells-end": ("tells_end", True),
    },
)


def main() -> NoReturn:
    """Run the program."""
    search_seldom()  # what is loaded from now on stays
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
    given = read(arguments, _DECLARED)
    if given is None or given[1]:
        return None
    found, _ = given
    found.pop("bundlesize", None)  # the scheduler's business; the same options may be given to all
    return Options(**found)
