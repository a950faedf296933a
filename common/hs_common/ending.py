"""How a command ends: every error of the user's is one line on stderr and status 2, what cannot go on one line and status 3."""

import contextlib
import os
import sys
from collections.abc import Callable
from errno import EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS
from typing import NoReturn

from hs_common.errors import RefusedError, StoppedError

_OF_THE_HOST = (EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS)
"""What a host is out of, or cannot do any more: no defect of ours, wherever we meet it."""


def end_as(run: Callable[[], object], name: str = "", *, reports_defects: bool = False) -> NoReturn:
    """Call it and exit: with the status that it returns, else 0.

    Args:
        run: The command.
        name: What its errors begin with; "": how it was called.
        reports_defects: Whether what nobody expected ends it with status 3, as 1 would say that only some tasks failed.

    """
    name = name or program_name()
    open_standard_streams()
    try:
        status = run()
    except RefusedError as exc:
        leave(2, f"{name}: {exc}")
    except StoppedError as exc:
        leave(3, f"{name}: {exc}")
    except KeyboardInterrupt:
        leave(130)
    except Exception as exc:
        if not reports_defects:
            raise
        if isinstance(exc, OSError) and exc.errno in _OF_THE_HOST:
            where = f"{exc.filename}: " if exc.filename else ""
            advice = ": raise ulimit -n" if exc.errno == EMFILE else ""
            leave(3, f"{name}: {where}{exc.strerror}{advice}")
        sys.excepthook(*sys.exc_info())
        leave(3, f"{name}: this is a defect of ours: please report it with the lines above")
    leave(status if isinstance(status, int) else 0)


def open_standard_streams() -> None:
    """Open what of stdin, stdout and stderr is closed: else a database or a socket would get its number, and be written to.

    `sys.stdin` stays None where it was closed, for who must know.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
            os.set_inheritable(fd, True)  # noqa: FBT003 - it takes no keyword
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115


def say(text: str) -> None:
    """Tell people on stderr what is no result and no error, in a line that begins as those of errors do."""
    with contextlib.suppress(OSError):  # nobody reads any more
        sys.stderr.write(f"{program_name()}: {text}\n")
        sys.stderr.flush()


def leave(status: int, line: str = "") -> NoReturn:
    """End without the interpreter's teardown: nothing is left to close, and it takes longer than the end of a run may."""
    if line:
        with contextlib.suppress(OSError):  # a full disk behind stderr must not change the status
            sys.stderr.write(f"{line}\n")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(status)


def program_name() -> str:
    """Return how this program was called."""
    return os.path.basename(sys.argv[0])
