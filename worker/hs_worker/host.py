"""What this process may use of its host: cores by affinity, both by the cgroups that it is in.

Source: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, scheduler/sched-bwc.rst.
"""

import contextlib
import os
from collections.abc import Iterator

_QUOTA_AND_PERIOD = 2
_NO_LIMIT_BYTES = 1 << 60
"""cgroup v1 says a number near the largest one where there is no limit."""


def cores_usable(root: str = "") -> int:
    """Return how many cores this process may use, at least 1. `root`: stands before /proc and /sys (tests)."""
    cores = len(os.sched_getaffinity(0))
    for folder in _groups(root, "cpu"):
        words = _words(f"{folder}/cpu.max") or _words(f"{folder}/cpu.cfs_quota_us") + _words(
            f"{folder}/cpu.cfs_period_us"
        )
        if len(words) == _QUOTA_AND_PERIOD and all(word.isdigit() and int(word) for word in words):
            cores = min(cores, int(words[0]) // int(words[1]))
    return max(1, cores)


def memory_usable(root: str = "") -> int:
    """Return how many bytes of memory this process may use. `root`: as above."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            for word in _words(f"{folder}/{name}"):
                if word.isdigit() and int(word) < _NO_LIMIT_BYTES:
                    memory = min(memory, int(word))
    return memory


def _groups(root: str, controller: str) -> Iterator[str]:
    """Yield the folders of our group and of all above it, in the hierarchy of this controller and in the unified one."""
    for line in _read(f"{root}/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = f"{root}/sys/fs/cgroup/{controllers}" if controllers else f"{root}/sys/fs/cgroup"
        parts = [part for part in path.split("/") if part not in ("", "..")]
        # In a container the path may be that of the host: then only its root is there, and has our limits.
        for count in range(len(parts), -1, -1):
            yield "/".join((mount, *parts[:count]))


def _words(path: str) -> list[str]:
    return _read(path).split()


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
        return file.read()
    return ""
