"""How many descriptors a process may have: the soft limit of most shells, 1,024, is for programs of another kind than daemons."""

import contextlib
import resource

Limit = tuple[int, int]
"""Soft, hard."""


def raise_descriptor_limit() -> Limit:
    """Allow this process as many descriptors as it may have: each peer costs one (Z18). Return what was allowed before."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, hard = before
    # The kernel's own maximum may be below a hard limit that is infinite; what we have must do then.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return before


def limit_descriptors(pid: int, limit: Limit) -> None:
    """Allow a child what its user allowed: what it starts may look at each descriptor that there could be."""
    with contextlib.suppress(OSError):  # it is gone already
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
