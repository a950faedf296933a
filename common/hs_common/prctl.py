"""What Linux lets a process say about itself. Through ctypes, which costs 2 ms: only for programs, never for a core."""

import ctypes
import resource

from hs_common.errors import StoppedError

# Numbers of the kernel's own header for prctl.
_SET_DUMPABLE = 4
_SET_NAME = 15
_SET_CHILD_SUBREAPER = 36


def set_process_name(name: str) -> None:
    """Let `ps` and `top` show this name; the kernel keeps its first 15 bytes."""
    _prctl(_SET_NAME, ctypes.c_char_p(name.encode()))


def become_subreaper() -> None:
    """Adopt every orphan among our descendants, so that none escapes when we sweep."""
    _prctl(_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))


def protect_secrets(*, starts_tasks: bool = False) -> None:
    """Keep our memory out of core dumps and of other processes' sight.

    `starts_tasks`: leave the limit on core files alone, for a task inherits it; not being dumpable ends at its execve.
    """
    _prctl(_SET_DUMPABLE, ctypes.c_ulong(0))
    if not starts_tasks:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _prctl(option: int, argument: "ctypes.c_char_p | ctypes.c_ulong") -> None:
    zero = ctypes.c_ulong(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(ctypes.c_int(option), argument, zero, zero, zero) != 0:
        raise StoppedError(f"prctl {option} failed with errno {ctypes.get_errno()}: Linux only")
